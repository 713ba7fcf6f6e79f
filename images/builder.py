"""Builds every image Slipway runs on a bare Debian machine: no Docker engine, no registry. See README.md.

The Dockerfiles are ordinary ones. What this adds: a base image by mmdebstrap, buildah without a daemon, package caches
shared with the host, tags that follow the content (an unchanged image is neither built nor loaded again), and one OCI
layout for all of them (layout.py).
"""

import argparse
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from layout import INCOMING, Containerd, Layout

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("SLIPWAY_CACHE") or Path.home() / ".cache" / "slipway").resolve() / "images"
PREFIX = "localhost/slipway"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
SOURCES = ("pyproject.toml", "README.md", "operator", "jobs")
DEBIAN = (
    "deb http://deb.debian.org/debian bookworm main",
    "deb http://deb.debian.org/debian bookworm-updates main",
    "deb http://deb.debian.org/debian-security bookworm-security main",
)
BASE_OPTIONS = (
    "--variant=minbase",
    "--include=python3,python3-venv,libpython3.11,ca-certificates",
    *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "info", "locale", "man")),
    '--aptopt=Acquire::Retries "3"',
    '--customize-hook=rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/*',
)


@dataclass(frozen=True)
class Image:
    inputs: tuple[str, ...] = ()
    """Files and folders of the repository, beside its Dockerfile, that go into it."""
    extras: tuple[str, ...] = ()
    """Extras of pyproject.toml it installs as uv.lock pins them."""
    value: str = ""
    """Its name in the chart's values, `images.<value>`."""


IMAGES = {
    "base": Image(),
    "operator": Image(inputs=SOURCES, extras=("operator", "store"), value="operator"),
    "jobs": Image(inputs=SOURCES, extras=("jobs",), value="jobs"),
    "triton-cpu": Image(inputs=("images/triton-cpu",), value="triton"),
    "envoy": Image(value="router"),
    "store": Image(value="store"),
}


ONE_SHOT = ("jobs",)
"""Images whose older builds go from the node once no container has them. A serving revision, by contrast, may be
asked for again long after its pods are gone."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="images/build", description="Builds Slipway's images; see images/README.md."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"{', '.join(IMAGES)}; all of them when left out"
    )
    parser.add_argument(
        "--load", action="store_true", help="import what is new into the cluster of e2e/cluster"
    )
    parser.add_argument(
        "--ctr",
        default=f"{ROOT}/e2e/cluster/slipway-cluster enter -- ctr",
        metavar="COMMAND",
        help="with --load: how to run ctr of another cluster's containerd",
    )
    parser.add_argument("--archive", type=Path, metavar="FOLDER", help="also write NAME.tar for kind or ctr")
    arguments = parser.parse_args()
    names = arguments.names or list(IMAGES)
    for name in names:
        if name not in IMAGES:
            parser.error(f"there is no image {name!r}; there are {', '.join(IMAGES)}.")
    require("buildah", "mmdebstrap", "uv")
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        wait_for(lock)
        # What an interrupted or failed build leaves holds gigabytes; with the lock nobody else can be building.
        subprocess.run(buildah("rm", "--all"), stdout=subprocess.DEVNULL, check=True)
        layout = Layout(CACHE / "layout")
        base = reference("base", "")
        for name in dict.fromkeys(["base", *names]):
            build(name, base if name == "base" else reference(name, base), base, layout)
        built = {name: next((r for r in layout.images() if name_of(r) == name), "") for name in IMAGES}
        values = {image.value: built[name] for name, image in IMAGES.items() if built[name] and image.value}
        (CACHE / "values.json").write_text(json.dumps({"images": values}, indent=2) + "\n")
        for name in names:
            if arguments.load and built[name]:
                load_new(layout, built[name], Containerd(shlex.split(arguments.ctr)))
            if arguments.archive and built[name]:
                arguments.archive.mkdir(parents=True, exist_ok=True)
                with open(arguments.archive / f"{name}.tar", "wb") as archive:
                    layout.write(built[name], archive)
    print(f"values for the chart: {CACHE / 'values.json'}")


def require(*programs: str) -> None:
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        raise SystemExit(
            f"images/build: {', '.join(missing)} isn't installed. On Debian: apt-get install buildah mmdebstrap; "
            "uv: pip install uv. With a Docker engine, use `docker build` as each Dockerfile's first line says."
        )
    if os.geteuid() != 0:
        raise SystemExit("images/build: must run as root: mmdebstrap and buildah make files of other users.")


def wait_for(lock: TextIO) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another images/build is running; waiting for it")
        fcntl.flock(lock, fcntl.LOCK_EX)


def reference(name: str, base: str) -> str:
    """The image's name with its content as tag: whatever could change the image changes the tag."""
    image = IMAGES[name]
    content = hashlib.sha256(base.encode())
    if name == "base":
        content.update(repr((BASE_OPTIONS, DEBIAN)).encode())
    for file in sorted(files_of(ROOT / "images" / name, *(ROOT / path for path in image.inputs))):
        data = file.read_bytes()
        content.update(f"{file.relative_to(ROOT)} {len(data)}\n".encode() + data)
    if image.extras:
        # Not the whole of uv.lock: most of its changes concern other images.
        content.update(exported(image.extras))
    return f"{PREFIX}/{name}:{content.hexdigest()[:12]}"


def files_of(*paths: Path) -> set[Path]:
    found = {file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])}
    return {file for file in found if file.is_file() and "__pycache__" not in file.parts}


def exported(extras: tuple[str, ...]) -> bytes:
    command = [
        "uv",
        "export",
        "--quiet",
        "--frozen",
        "--no-dev",
        "--no-emit-project",
        "--no-header",
        "--no-annotate",
    ]
    for extra in extras:
        command += ["--extra", extra]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"images/build: uv.lock can't be read: {done.stderr.decode().strip()}")
    return done.stdout


def name_of(image: str) -> str:
    return image.removeprefix(f"{PREFIX}/").rpartition(":")[0]


def buildah(*arguments: str) -> list[str]:
    # Storage of our own: outside the checkout, and deleted with the cache.
    return [
        "buildah",
        "--root",
        str(CACHE / "storage"),
        "--runroot",
        str(CACHE / "run"),
        "--storage-driver",
        "overlay",
        *arguments,
    ]


def build(name: str, wanted: str, base: str, layout: Layout) -> None:
    stored = name == "base" or wanted in layout.images()
    if (
        stored
        and subprocess.run(
            buildah("inspect", "--type", "image", wanted), capture_output=True, check=False
        ).returncode
        == 0
    ):
        say(f"{name}: unchanged ({wanted})")
        return
    began = time.monotonic()
    if name == "base":
        context = CACHE / "base"
        context.mkdir(exist_ok=True)
        step(name, "debian", ["mmdebstrap", *BASE_OPTIONS, "bookworm", str(context / "base.tar"), *DEBIAN])
    else:
        context = ROOT
    command = buildah("bud", "--layers", "--isolation", "chroot", "--network", "host", "--tag", wanted)
    if name != "base":
        # The host's uv cache, so that nothing is downloaded twice; its certificates, for a proxy with a CA of its own.
        uv_cache = subprocess.run(
            ["uv", "cache", "dir"], capture_output=True, text=True, check=True
        ).stdout.strip()
        Path(uv_cache).mkdir(parents=True, exist_ok=True)
        command += ["--build-arg", f"BASE={base}", "--volume", f"{uv_cache}:/root/.cache/uv"]
        command += ["--ignorefile", str(ROOT / "images" / name / "Dockerfile.dockerignore")]
        if CERTIFICATES.exists():
            command += ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"]
    step(name, "build", [*command, "--file", str(ROOT / "images" / name / "Dockerfile"), str(context)])
    if name == "base":
        shutil.rmtree(context)
    else:
        push = buildah(
            "push", "--quiet", "--compression-format", "zstd", wanted, f"oci:{layout.folder}:{INCOMING}"
        )
        with layout.receive(wanted):
            step(name, "store", push)
    forget_older(name, wanted, layout)
    size = "" if name == "base" else f", {layout.size(wanted) / 1e6:,.0f} MB"
    say(f"{name}: {wanted} in {time.monotonic() - began:.0f} s{size}")


def forget_older(name: str, wanted: str, layout: Layout) -> None:
    """Older builds of an image go, with the layers only they used."""
    listed = subprocess.run(buildah("images", "--json"), capture_output=True, text=True, check=True).stdout
    tags = [tag for image in json.loads(listed) for tag in image.get("names") or []]
    older = [tag for tag in tags if name_of(tag) == name and tag != wanted]
    if older:
        step(name, "clean", buildah("rmi", "--force", *older))
    layout.forget([image for image in layout.images() if name_of(image) == name and image != wanted])


def load_new(layout: Layout, image: str, containerd: Containerd) -> None:
    if image in containerd.images():
        say(f"{name_of(image)}: already loaded")
        return
    began = time.monotonic()
    sent = containerd.load(layout, image)
    say(f"{name_of(image)}: loaded in {time.monotonic() - began:.0f} s, {sent / 1e6:,.0f} MB sent")
    if name_of(image) in ONE_SHOT:
        others = {other for other in containerd.images() if name_of(other) == name_of(image)} - {image}
        containerd.forget(others - containerd.in_use())


def step(name: str, what: str, command: list[str]) -> None:
    """Runs one command with its output in a log; shows the end of the log when it fails."""
    log = CACHE / "logs" / f"{name}-{what}.log"
    log.parent.mkdir(exist_ok=True)
    began = time.monotonic()
    with open(log, "w") as output:
        code = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, check=False
        ).returncode
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        raise SystemExit(
            f"{tail}\nimages/build: {name}: {what} failed with exit code {code}; all of its output: {log}\n"
            f"Put it right and run `images/build {name}` again: steps that were done are kept."
        )
    say(f"{name}: {what} {time.monotonic() - began:.1f} s")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
