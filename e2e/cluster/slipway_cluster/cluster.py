"""One cluster: everything that carries its name or its addresses.

Each cluster owns one block 10.N.0.0/16, so that several live on one machine and the machine needs one route to each:

    10.N.0.0/24      pods                       10.N.255.5   the machine's end of the link
    10.N.128.0/20    Services                   10.N.255.6   the node's end: the node address and the API
"""

import hashlib
import ipaddress
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import paths
from .failure import Failure, run

BLOCKS: Sequence[int] = range(64, 192)
NAME = re.compile(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?")


@dataclass(frozen=True)
class Cluster:
    name: str
    block: int

    @property
    def folder(self) -> Path:
        return paths.clusters() / self.name

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def network_namespace(self) -> str:
        return f"slipway-{self.name}"

    @property
    def link(self) -> str:
        return f"slipway{self.block}"

    @property
    def cgroup(self) -> str:
        return f"slipway-{self.name}"

    @property
    def addresses(self) -> str:
        return f"10.{self.block}.0.0/16"

    @property
    def pods(self) -> str:
        return f"10.{self.block}.0.0/24"

    @property
    def services(self) -> str:
        return f"10.{self.block}.128.0/20"

    @property
    def api_service(self) -> str:
        return f"10.{self.block}.128.1"

    @property
    def dns_service(self) -> str:
        return f"10.{self.block}.128.10"

    @property
    def metrics_service(self) -> str:
        return f"10.{self.block}.128.11"

    @property
    def machine_address(self) -> str:
        return f"10.{self.block}.255.5"

    @property
    def node_address(self) -> str:
        return f"10.{self.block}.255.6"

    @property
    def server(self) -> str:
        return f"https://{self.node_address}:6443"


def existing(name: str) -> Cluster | None:
    """The cluster of this name, if it was ever started."""
    check_name(name)
    file = paths.clusters() / name / "cluster.json"
    return Cluster(name, block_in(file)) if file.exists() else None


def find_or_make(name: str) -> Cluster:
    cluster = existing(name)
    if cluster is None:
        cluster = Cluster(name, free_block(name))
        cluster.folder.mkdir(parents=True, exist_ok=True)
        (cluster.folder / "cluster.json").write_text(json.dumps({"block": cluster.block}) + "\n")
    return cluster


def block_in(file: Path) -> int:
    return int(json.loads(file.read_text())["block"])


def check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise Failure(
            f"--name {name!r} can't name a cluster: use lower-case letters, digits and dashes, "
            "starting with a letter, at most 30"
        )


def free_block(name: str) -> int:
    """The first block, from one that the name decides, that no other cluster has and the machine doesn't route."""
    taken = {block_in(file) for file in paths.clusters().glob("*/cluster.json")}
    routes = [
        ipaddress.ip_network(route["dst"], strict=False)
        for route in json.loads(run("ip", "-j", "-4", "route", "show"))
        if route["dst"] != "default"
    ]
    start = hashlib.sha256(name.encode()).digest()[0] % len(BLOCKS)
    for block in [*BLOCKS[start:], *BLOCKS[:start]]:
        network = ipaddress.ip_network(f"10.{block}.0.0/16")
        if block not in taken and not any(network.overlaps(route) for route in routes):
            return block
    raise Failure(
        f"no block 10.{BLOCKS[0]}.0.0/16 to 10.{BLOCKS[-1]}.0.0/16 is free: `ip route` shows what uses them; "
        f"clusters that you don't need go with `slipway-cluster down --name NAME --purge` ({paths.clusters()})"
    )
