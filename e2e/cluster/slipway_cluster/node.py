"""PID 1 of a node: it makes the node's view of the machine, starts the components, and starts again what ends.

A component that needs another which isn't up yet ends and is started again a second later: there is no order to keep.
Stopping the node is killing this process: the kernel then ends everything in its PID namespace, pods included.
"""

import json
import os
import shutil
import signal
import socket
import time
from pathlib import Path

from . import components
from .cluster import Cluster
from .failure import run

# What kubelet demands, and sets where it isn't so: the node sees it so, and the machine stays as it is.
SYSCTLS = {"vm/overcommit_memory": "1", "kernel/panic": "10", "kernel/panic_on_oops": "1"}
PRIVATE_FOLDERS = {
    "kubelet": "/var/lib/kubelet",
    "pods": "/var/log/pods",
    "containers": "/var/log/containers",
}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RESTART_AFTER = 1.0


def main(cluster: Cluster) -> None:
    enter(cluster)
    commands = components.commands(cluster)
    for name in commands:
        keep_last_log(cluster, name)
    running = {start(cluster, name, command): name for name, command in commands.items()}
    while True:
        pid, status = os.waitpid(-1, 0)  # orphans of containers come here, too: PID 1 must reap them
        if pid in running:
            name = running.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            print(f"{name} ended ({code}): starting it again; see {log(cluster, name)}", flush=True)
            time.sleep(RESTART_AFTER)
            running[start(cluster, name, commands[name])] = name


def enter(cluster: Cluster) -> None:
    """Make the mounts that are the node's own, and all shared, so that containers see what kubelet mounts."""
    remember_process(cluster)
    run("mount", "-t", "proc", "proc", "/proc")
    socket.sethostname(cluster.name)
    # An empty /run: no socket, lease or namespace of an earlier life, and none of this one for the next.
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for folder in ("lock", "netns", "sysctl"):
        Path("/run", folder).mkdir()
    for name, place in PRIVATE_FOLDERS.items():
        source = cluster.folder / "node" / name
        source.mkdir(parents=True, exist_ok=True)
        Path(place).mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", str(source), place)
    for name, value in SYSCTLS.items():
        file = Path("/run/sysctl", name.replace("/", "."))
        file.write_text(value + "\n")
        run("mount", "--bind", str(file), f"/proc/sys/{name}")
    run("mount", "--make-rshared", "/")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")


def remember_process(cluster: Cluster) -> None:
    """Seen through the machine's /proc, this process has the number that the machine knows it by."""
    pid = int(os.readlink("/proc/self"))
    record = {"pid": pid, "started": start_time(pid)}
    file = cluster.folder / "node.json"
    file.with_suffix(".new").write_text(json.dumps(record) + "\n")
    file.with_suffix(".new").rename(file)


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks: with its number it names one process for good. None: no such."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])


def start(cluster: Cluster, name: str, command: list[str]) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        command[0],
        command,
        {"PATH": PATH},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log(cluster, name)), flags, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigdef=[signal.SIGPIPE],
    )


def log(cluster: Cluster, component: str) -> Path:
    return cluster.logs / f"{component}.log"


def keep_last_log(cluster: Cluster, component: str) -> None:
    file = log(cluster, component)
    if file.exists():
        shutil.move(file, file.with_suffix(".log.1"))
