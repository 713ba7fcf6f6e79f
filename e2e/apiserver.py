"""A real etcd and kube-apiserver on loopback, without a node: for CRDs, CEL, admission, apply and watches.

    with api_server() as kubeconfig: ...

There are no controllers behind it: no garbage collection, no service accounts, no pods that run.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "cluster"))
from slipway_cluster import certificates, paths, probe

READY_WITHIN = 30.0


class ProgramsMissingError(Exception):
    """The API server's programs aren't built on this machine; the text says which and what to run."""


@contextmanager
def api_server() -> Iterator[Path]:
    """The path of an administrator's kubeconfig of an empty API server, which ends with the block.

    The processes end with the thread that entered the block, so a killed test run leaves none behind.
    """
    etcd, apiserver = require("etcd"), require("kube-apiserver")
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="slipway-api-"))
        stack.callback(shutil.rmtree, folder)
        store, peer, secure = free_ports(3)
        server = f"https://127.0.0.1:{secure}"
        pki = make_certificates(folder / "pki")
        kubeconfig = pki.kubeconfig("admin", server, "api-server")
        stack.enter_context(running(etcd_command(etcd, folder, store, peer), folder / "etcd.log"))
        process = stack.enter_context(
            running(apiserver_command(apiserver, pki, store, secure), folder / "api.log")
        )
        wait_until_ready(process, server, pki, folder / "api.log")
        yield kubeconfig


def require(program: str) -> str:
    """The path of a program of the cluster; the sentence of the exception is meant for pytest.skip."""
    path = paths.programs() / program
    if not path.is_file():
        raise ProgramsMissingError(
            f"no {program} in {path.parent}; build it once with `e2e/cluster/slipway-cluster build`"
        )
    return str(path)


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [s.getsockname()[1] for s in sockets]


def make_certificates(path: Path) -> certificates.Folder:
    pki = certificates.Folder(path)
    pki.authority("ca", "api-server")
    pki.issue("server", "kube-apiserver", hosts=["IP:127.0.0.1", "DNS:localhost"])
    pki.issue("admin", "admin", group="system:masters")
    pki.signing_key("service-accounts")
    return pki


def etcd_command(program: str, folder: Path, port: int, peer_port: int) -> list[str]:
    url, peer_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    return [
        program,
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=default={peer_url}",
        "--unsafe-no-fsync",
    ]


def apiserver_command(program: str, pki: certificates.Folder, store: int, port: int) -> list[str]:
    return [
        program,
        f"--etcd-servers=http://127.0.0.1:{store}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        # The kubernetes Service can't have a loopback address as endpoint, and nothing here would use it.
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--authorization-mode=RBAC",
        # No controller makes the service accounts that this plugin wants every pod to have.
        "--disable-admission-plugins=ServiceAccount",
        f"--client-ca-file={pki.certificate('ca')}",
        f"--tls-cert-file={pki.certificate('server')}",
        f"--tls-private-key-file={pki.key('server')}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki.path / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={pki.key('service-accounts')}",
    ]


@contextmanager
def running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={"PATH": os.defpath},
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until_ready(
    process: subprocess.Popen[bytes], server: str, pki: certificates.Folder, log: Path
) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while said := probe.not_ready(server, pki):
        if process.poll() is not None:
            raise RuntimeError(f"kube-apiserver ended with {process.returncode}:\n{tail(log)}")
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"kube-apiserver isn't ready after {READY_WITHIN:.0f} s ({said}):\n{tail(log)}"
            )
        time.sleep(0.1)


def tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
