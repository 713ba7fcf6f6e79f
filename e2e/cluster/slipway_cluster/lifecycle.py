"""Starting, stopping and looking at a cluster, from the machine's side."""

import base64
import fcntl
import json
import os
import shutil
import signal
import string
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import components, configuration, images, machine, node, paths, probe
from .certificates import Folder
from .cluster import Cluster, existing, find_or_make
from .failure import Failure, run

UP_WITHIN = 60.0
DOWN_WITHIN = 20.0
OWN_IMAGES = {configuration.PAUSE_IMAGE: "pause.tar", configuration.BUSYBOX_IMAGE: "busybox.tar"}


def up(name: str) -> None:
    check_machine()
    with locked():
        cluster = find_or_make(name)
        if node_process(cluster):
            if trouble := unhealthy(cluster):
                raise Failure(
                    f"cluster {name} runs but isn't well: {trouble}; see {cluster.logs}, "
                    f"or start it again: `slipway-cluster down --name {name}`, then up"
                )
            print(f"cluster {name} is up and well: export KUBECONFIG={cluster.kubeconfig}")
            return
        began = time.monotonic()
        machine.clear(cluster)
        configuration.make_certificates(cluster)
        configuration.write(cluster)
        machine.connect(cluster)
        machine.make_cgroups(cluster)
        start(cluster)
        print(f"cluster {name} is up after {time.monotonic() - began:.1f} s:")
        print(f"  export KUBECONFIG={cluster.kubeconfig} PATH={paths.programs()}:$PATH")


def check_machine() -> None:
    if os.geteuid():
        raise Failure("a node needs root: it mounts, makes namespaces and cgroups; run this as root")
    if not (paths.programs() / "complete").exists():
        raise Failure(f"the programs aren't built ({paths.programs()}): run `slipway-cluster build` first")


def start(cluster: Cluster) -> None:
    """Start PID 1 and bring the API's content to what every cluster has; on failure nothing is left running."""
    (cluster.folder / "node.json").unlink(missing_ok=True)
    cluster.logs.mkdir(exist_ok=True)
    deadline = time.monotonic() + UP_WITHIN
    starter = spawn(cluster)
    try:
        wait(
            cluster,
            starter,
            deadline,
            "its API",
            lambda: probe.not_ready(cluster.server, Folder(cluster.pki)),
        )
        wait(cluster, starter, deadline, "containerd", lambda: load_own_images(cluster))
        apply_addons(cluster)
        wait(cluster, starter, deadline, "its node", lambda: node_not_ready(cluster))
    except BaseException:
        stop(cluster)
        raise


def spawn(cluster: Cluster) -> subprocess.Popen[bytes]:
    """PID 1 of new namespaces; the process in between ends it by dying, and dies with it."""
    entry = str(Path(__file__).resolve().parent.parent / "slipway-cluster")
    space = ["nsenter", f"--net={machine.NAMESPACES / cluster.network_namespace}"]
    kinds = ["--mount", "--pid", "--fork", "--uts", "--ipc", "--kill-child"]
    # As a slave the node follows the machine's unmounts, else it would hold on to file systems; nothing goes back.
    unshare = ["unshare", *kinds, "--propagation=slave"]
    command = [*space, *unshare, sys.executable, entry, "node", "--name", cluster.name]
    with node.log(cluster, "node").open("wb") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
        )


def wait(
    cluster: Cluster, starter: subprocess.Popen[bytes], deadline: float, what: str, said: Callable[[], str]
) -> None:
    """Until `said` answers with an empty text."""
    while trouble := said():
        if starter.poll() is not None:
            raise Failure(f"node {cluster.name} ended while it started: {node_log(cluster)}")
        if time.monotonic() > deadline:
            raise Failure(
                f"cluster {cluster.name} waited {UP_WITHIN:.0f} s for {what} and stopped: {trouble}\n"
                f"{node_log(cluster)}\nlogs: {cluster.logs}"
            )
        time.sleep(0.2)


def load_own_images(cluster: Cluster) -> str:
    words = inside(cluster)
    if not words:
        return "the node hasn't started"
    try:
        missing = OWN_IMAGES.keys() - images.present(words)
    except Failure as not_yet:
        return str(not_yet)
    for name in sorted(missing):
        images.load(cluster, words, paths.programs() / OWN_IMAGES[name])
    return ""


def apply_addons(cluster: Cluster) -> None:
    template = string.Template((paths.MANIFESTS / "addons.yaml").read_text())
    manifests = template.substitute(
        dns_service=cluster.dns_service,
        metrics_service=cluster.metrics_service,
        node_address=cluster.node_address,
        authority=base64.b64encode((cluster.pki / "ca.crt").read_bytes()).decode(),
    )
    kubectl(cluster, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifests)


def node_not_ready(cluster: Cluster) -> str:
    """Empty if pods can be made and kubelet itself answers: a condition Ready may be from an earlier life."""
    try:
        kubectl(cluster, "get", "serviceaccount", "default", "--namespace=default")
        kubectl(cluster, "get", "--raw", f"/api/v1/nodes/{cluster.name}/proxy/healthz")
        state = json.loads(kubectl(cluster, "get", "node", cluster.name, "-o", "json"))
    except Failure as not_yet:
        return str(not_yet)
    ready = [c for c in state["status"]["conditions"] if c["type"] == "Ready"]
    return "" if ready and ready[0]["status"] == "True" else f"node condition Ready: {ready}"


def unhealthy(cluster: Cluster) -> str:
    return probe.not_ready(cluster.server, Folder(cluster.pki)) or node_not_ready(cluster)


def down(name: str, purge: bool) -> None:
    with locked():
        cluster = existing(name)
        if cluster is None:
            print(f"there is no cluster {name}")
            return
        began = time.monotonic()
        stop(cluster)
        if purge:
            shutil.rmtree(cluster.folder)
    state = "and its state is deleted" if purge else f"its state stays in {cluster.folder}"
    print(f"cluster {name} is down after {time.monotonic() - began:.1f} s; {state}")


def stop(cluster: Cluster) -> None:
    """Kill PID 1, which ends all of the node; then take the traces back, also those of an earlier crash."""
    if pid := node_process(cluster):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + DOWN_WITHIN
    while node_process(cluster):  # PID 1 is gone only after everything in its namespace is
        if time.monotonic() > deadline:
            raise Failure(f"process {pid}, the node of cluster {cluster.name}, doesn't end: see `ps {pid}`")
        time.sleep(0.05)
    machine.clear(cluster)


def status(name: str) -> None:
    cluster = existing(name)
    if cluster is None:
        raise Failure(f"there is no cluster {name}; start one with `slipway-cluster up --name {name}`")
    pid = node_process(cluster)
    if not pid:
        raise Failure(f"cluster {name} is down; its state is in {cluster.folder}")
    trouble = unhealthy(cluster)
    print(f"cluster    {name} is up and {'not well: ' + trouble if trouble else 'well'}")
    print(f"KUBECONFIG {cluster.kubeconfig}")
    print(f"API        {cluster.server}")
    print(f"addresses  {cluster.addresses}: pods {cluster.pods}, Services {cluster.services}")
    print(f"node       process {pid}, enter it with `slipway-cluster enter --name {name}`")
    print(f"logs       {cluster.logs}: {', '.join(components.commands(cluster))}")
    if trouble:
        raise Failure(f"cluster {name} isn't well")


def load(name: str, archives: list[Path]) -> None:
    cluster, words = running(name)
    for archive in archives:
        began = time.monotonic()
        print(images.load(cluster, words, archive))
        print(f"{archive.name} is loaded after {time.monotonic() - began:.1f} s")


def enter(name: str, command: list[str]) -> None:
    """Become a shell, or a command, in the node."""
    cluster, words = running(name)
    environment = {
        "PATH": f"{paths.programs()}:{node.PATH}",
        "TERM": os.environ.get("TERM", "dumb"),
        "HOME": "/root",
        "KUBECONFIG": str(cluster.kubeconfig),
        "CONTAINERD_NAMESPACE": "k8s.io",
        "CONTAINER_RUNTIME_ENDPOINT": f"unix://{configuration.CONTAINERD_SOCKET}",
    }
    os.execvpe(words[0], [*words, *(command or ["bash", "--norc"])], environment)


def running(name: str) -> tuple[Cluster, list[str]]:
    """The cluster and the words that enter its node."""
    cluster = existing(name)
    words = inside(cluster) if cluster else []
    if not cluster or not words:
        raise Failure(f"cluster {name} is down; start it with `slipway-cluster up --name {name}`")
    return cluster, words


def inside(cluster: Cluster) -> list[str]:
    pid = node_process(cluster)
    return ["nsenter", "-t", str(pid), "--mount", "--net", "--pid", "--uts", "--ipc"] if pid else []


def node_process(cluster: Cluster) -> int | None:
    """The number of the node's PID 1, if that very process still lives."""
    file = cluster.folder / "node.json"
    if not file.exists():
        return None
    record = json.loads(file.read_text())
    pid = int(record["pid"])
    return pid if node.start_time(pid) == record["started"] else None


def kubectl(cluster: Cluster, *words: str, stdin: str | None = None) -> str:
    return run(str(paths.programs() / "kubectl"), f"--kubeconfig={cluster.kubeconfig}", *words, stdin=stdin)


def node_log(cluster: Cluster) -> str:
    return "\n".join(node.log(cluster, "node").read_text(errors="replace").splitlines()[-15:])


@contextmanager
def locked() -> Iterator[None]:
    """One up or down at a time, of all clusters: two must not choose the same addresses."""
    paths.clusters().mkdir(parents=True, exist_ok=True)
    with (paths.clusters() / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
