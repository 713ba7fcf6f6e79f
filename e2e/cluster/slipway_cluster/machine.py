"""The traces a cluster leaves on the machine outside its own namespaces: a link with a route, and cgroups."""

import os
import time
from pathlib import Path

from .cluster import Cluster
from .failure import Failure, run

NAMESPACES = Path("/run/netns")


def connect(cluster: Cluster) -> None:
    """The node's network namespace, tied to the machine by a pair of links and one route."""
    space, link = cluster.network_namespace, cluster.link
    run("ip", "netns", "add", space)
    run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
    run("ip", "address", "add", f"{cluster.machine_address}/30", "dev", link)
    run("ip", "link", "set", link, "up")
    run("ip", "-n", space, "link", "set", "lo", "up")
    run("ip", "-n", space, "address", "add", f"{cluster.node_address}/30", "dev", "eth0")
    run("ip", "-n", space, "link", "set", "eth0", "up")
    # Processes on the node reach Services only if some route leads there before nftables rewrites the address.
    run("ip", "-n", space, "route", "add", "default", "via", cluster.machine_address)
    run("ip", "route", "add", cluster.addresses, "via", cluster.node_address, "dev", link)


def make_cgroups(cluster: Cluster) -> None:
    """The root of the pods' cgroups: two kubelets would otherwise delete each other's."""
    for hierarchy in hierarchies():
        group = hierarchy / cluster.cgroup
        group.mkdir(exist_ok=True)
        if (group / "cpuset.mems").exists():  # in cgroup v1, a group takes no process before these are set
            for file in ("cpuset.cpus", "cpuset.mems"):
                (group / file).write_text((hierarchy / file).read_text())


def clear(cluster: Cluster) -> None:
    """Take back everything, also what a killed cluster left; refused while processes use it."""
    refuse_if_used(cluster)
    if (Path("/sys/class/net") / cluster.link).exists():
        run("ip", "link", "delete", cluster.link)
    if (NAMESPACES / cluster.network_namespace).exists():
        run("ip", "netns", "delete", cluster.network_namespace)
    for hierarchy in hierarchies():
        for folder, _, _ in os.walk(hierarchy / cluster.cgroup, topdown=False):
            os.rmdir(folder)


def refuse_if_used(cluster: Cluster) -> None:
    """A cluster of this name may run from another cache; nothing of it may be touched."""
    space = cluster.network_namespace
    deadline = time.monotonic() + 3
    while (NAMESPACES / space).exists() and (pids := run("ip", "netns", "pids", space).split()):
        if time.monotonic() > deadline:  # a shell on a node that was just killed needs a moment to end
            raise Failure(
                f"network namespace {space} is in use by the processes {' '.join(pids)}: a cluster of this name "
                "from another SLIPWAY_CACHE? Stop it from there, or take another --name"
            )
        time.sleep(0.1)


def hierarchies() -> list[Path]:
    """Every cgroup mount: one per controller in cgroup v1, one in v2."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(where) for _, where, kind, *_ in mounts if kind in ("cgroup", "cgroup2")]
