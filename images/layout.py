"""The OCI layout that holds the built images: one folder of blobs, so that images share the layers they share.

From it an image goes to a cluster's containerd as a stream that leaves out what is there already: after a change of our
code that is a few MB instead of the 5 GB of the jobs image.
"""

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

NAME = "org.opencontainers.image.ref.name"
INCOMING = "incoming"
CONTAINERD_NAME = "io.containerd.image.name"


class Layout:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def images(self) -> dict[str, dict[str, Any]]:
        """Reference -> descriptor of its manifest."""
        index = self.folder / "index.json"
        if not index.exists():
            return {}
        manifests = json.loads(index.read_text())["manifests"]
        images = {manifest["annotations"][NAME]: manifest for manifest in manifests}
        images.pop(INCOMING, None)  # of a run that was cut off
        return images

    def blobs(self, descriptor: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The descriptors an image consists of: manifest, configuration, layers."""
        manifest = json.loads(self.path(descriptor).read_text())
        yield descriptor
        yield manifest["config"]
        yield from manifest["layers"]

    def path(self, descriptor: dict[str, Any]) -> Path:
        return self.folder / "blobs" / str(descriptor["digest"]).replace(":", "/")

    def size(self, reference: str) -> int:
        return sum(int(blob["size"]) for blob in self.blobs(self.images()[reference]))

    @contextmanager
    def receive(self, reference: str) -> Iterator[None]:
        """Around a push of buildah to INCOMING: layers that are here aren't read and compressed again.

        Buildah finds a layer by the digest of its uncompressed form only, and so it would compress 5 GB after every
        change of our code. An empty file under that digest makes it skip the layer; the manifest that it writes is
        then made to name the compressed layer.
        """
        known: dict[str, dict[str, Any]] = {}
        for image in self.images().values():
            manifest = json.loads(self.path(image).read_text())
            layers = json.loads(self.path(manifest["config"]).read_text())["rootfs"]["diff_ids"]
            known |= dict(zip(layers, manifest["layers"], strict=True))
        placeholders = [self.path({"digest": digest}) for digest in known]
        for file in placeholders:
            file.touch()
        try:
            yield
            index = json.loads((self.folder / "index.json").read_text())
            pushed = next(image for image in index["manifests"] if image["annotations"][NAME] == INCOMING)
            manifest = json.loads(self.path(pushed).read_text())
            manifest["layers"] = [known.get(layer["digest"], layer) for layer in manifest["layers"]]
            data = json.dumps(manifest).encode()
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            image = pushed | {"digest": digest, "size": len(data), "annotations": {NAME: reference}}
            self.path(image).write_bytes(data)
            self._write_index(self.images() | {reference: image})
        finally:
            for file in placeholders:
                file.unlink()

    def _write_index(self, images: dict[str, dict[str, Any]]) -> None:
        new = self.folder / "index.json.new"
        new.write_text(json.dumps({"schemaVersion": 2, "manifests": list(images.values())}))
        new.rename(self.folder / "index.json")

    def forget(self, references: Collection[str]) -> None:
        """Drops images, and the blobs that no other image needs."""
        if not self.images():
            return
        kept = {reference: image for reference, image in self.images().items() if reference not in references}
        self._write_index(kept)
        needed = {self.path(blob) for image in kept.values() for blob in self.blobs(image)}
        for blob in (self.folder / "blobs").glob("*/*"):
            if blob not in needed:
                blob.unlink()

    def write(self, reference: str, to: IO[bytes], without: Collection[str] = ()) -> int:
        """Writes an image as an OCI archive without the blobs of these digests; returns the bytes of those written."""
        image = self.images()[reference]
        named = image | {"annotations": {NAME: reference, CONTAINERD_NAME: reference}}
        index = {"schemaVersion": 2, "manifests": [named]}
        written = 0
        with tarfile.open(fileobj=to, mode="w|", bufsize=1 << 20) as archive:
            for name, content in (("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", index)):
                data = json.dumps(content).encode()
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
            for blob in self.blobs(image):
                # The manifest always goes: it tells containerd what belongs together.
                if blob is image or blob["digest"] not in without:
                    archive.add(self.path(blob), "blobs/" + blob["digest"].replace(":", "/"))
                    written += int(blob["size"])
        return written


class Containerd:
    def __init__(self, ctr: Sequence[str]) -> None:
        self.command = [*ctr, "--namespace", "k8s.io"]
        """ctr's command line, with whatever it takes to enter the node."""

    def images(self) -> set[str]:
        return set(self._run("images", "ls", "--quiet").split())

    def load(self, layout: Layout, reference: str) -> int:
        """Imports an image; returns the bytes that had to be sent."""
        present = set(self._run("content", "ls", "--quiet").split())
        with subprocess.Popen(
            [*self.command, "images", "import", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdin is not None
            assert process.stderr is not None
            try:
                with process.stdin as to:
                    sent = layout.write(reference, to, without=present)
            except BrokenPipeError:
                sent = 0  # ctr gave up; its own words follow
            message = process.stderr.read().decode().strip()
        if process.returncode or not sent:
            raise SystemExit(f"images/build: containerd didn't take {reference}: {message}")
        return sent

    def in_use(self) -> set[str]:
        """Images that a container has, running or ended."""
        return {line.split()[1] for line in self._run("containers", "ls").splitlines()[1:]}

    def forget(self, references: Collection[str]) -> None:
        """Remove these images; containerd then drops the layers that no other one has."""
        if references:
            self._run("images", "rm", "--sync", *references)

    def _run(self, *arguments: str) -> str:
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(
                f"images/build: `{' '.join(self.command)}` doesn't reach a containerd: {done.stderr.strip()}\n"
                "Start the cluster with e2e/cluster/slipway-cluster up, or name another one's ctr with --ctr."
            )
        return done.stdout
