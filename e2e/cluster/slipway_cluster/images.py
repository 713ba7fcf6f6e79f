"""Images without a registry: two tiny ones made here, and the way of any archive into a cluster's containerd."""

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

from .cluster import Cluster
from .failure import Failure

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
# The namespace that kubelet looks in.
CTR = ["ctr", "--namespace", "k8s.io"]


def write_archive(archive: Path, name: str, program: Path, place: str, links: Mapping[str, str]) -> None:
    """An OCI archive of one static program at `place`, and of links to it; the program is what it runs."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as layer:
        _add(layer, place, program.read_bytes(), mode=0o755)
        for link, target in links.items():
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            layer.addfile(entry)
    packed = gzip.compress(content.getvalue(), mtime=0)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": [f"/{place}"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(content.getvalue())]},
    }
    configured = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(CONFIG, configured),
        "layers": [_descriptor(LAYER, packed)],
    }
    described = json.dumps(manifest).encode()
    named = _descriptor(MANIFEST, described) | {"annotations": {"io.containerd.image.name": name}}
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, mode="w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": [named]}).encode())
        for blob in (configured, packed, described):
            _add(tar, f"blobs/sha256/{digest(blob).removeprefix('sha256:')}", blob)


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def present(node: list[str]) -> set[str]:
    """The names of the images in the containerd of the node that the words `node` enter."""
    listed = subprocess.run([*node, *CTR, "images", "list", "-q"], capture_output=True, text=True)
    if listed.returncode:
        raise Failure(f"containerd of the node doesn't list its images: {listed.stderr.strip()}")
    return set(listed.stdout.split())


def load(cluster: Cluster, node: list[str], archive: Path) -> str:
    """Import a docker or OCI archive; what containerd says about it, with the names it took."""
    if not archive.is_file():
        raise Failure(
            f"{archive} isn't there; make an archive with `buildah push IMAGE oci-archive:FILE:IMAGE` "
            "or `docker save -o FILE IMAGE`"
        )
    with archive.open("rb") as content:
        done = subprocess.run(
            [*node, *CTR, "images", "import", "-"], stdin=content, capture_output=True, text=True
        )
    if done.returncode:
        raise Failure(f"cluster {cluster.name} can't take the image {archive}: {done.stderr.strip()}")
    if not done.stdout.strip():
        raise Failure(f"{archive} names no image; push it as `oci-archive:{archive}:localhost/NAME:TAG`")
    return done.stdout.strip()


def _descriptor(kind: str, content: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": digest(content), "size": len(content)}


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))
