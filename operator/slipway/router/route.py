"""What is to be routed, as values, and who may have which host."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from slipway.router.traffic import HostConflict

ROUTER = "router"
"""Holder of hosts that no deployment can have."""
NOBODY = ""
"""Holder of a host that the namespace may not have."""


@dataclass(frozen=True)
class Endpoint:
    """A serving pod. Ports differ from the defaults only where there is no pod network (tests)."""

    ip: str
    ready: bool = True
    http: int = 8000
    grpc: int = 8001
    probe: int = 8080


@dataclass(frozen=True)
class Arm:
    """A revision of a deployment and the share of traffic it is to get."""

    revision: str
    weight: int
    endpoints: tuple[Endpoint, ...] = ()
    self_test: bool = False
    """Its probe sidecar is reachable from the self-test listener."""


@dataclass(frozen=True)
class Route:
    """One ModelDeployment as the router sees it. Weights are relative; all 0: it answers 503."""

    namespace: str
    name: str
    created: datetime
    """The oldest claim on a host wins."""
    hosts: tuple[str, ...] = ()
    """Beside the names in the cluster; already checked against what the namespace may have."""
    arms: tuple[Arm, ...] = ()
    cluster_domain: str = "cluster.local"

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    def cluster(self, arm: Arm) -> str:
        """Name of the revision's HTTP cluster, its key everywhere."""
        return f"{self.key}/{arm.revision}"

    @property
    def own_domains(self) -> tuple[str, ...]:
        host = f"{self.name}.{self.namespace}"
        return (host, f"{host}.svc", f"{host}.svc.{self.cluster_domain}")


def permit(
    routes: Iterable[Route], suffixes: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[Route, ...], dict[str, tuple[HostConflict, ...]]]:
    """(routes without the hosts their namespace may not have, those hosts by deployment key)."""
    kept, refused = [], {}
    for route in routes:
        own = suffixes.get(route.namespace, ())
        denied = tuple(h for h in route.hosts if not any(h == s or h.endswith(f".{s}") for s in own))
        if denied:
            refused[route.key] = tuple(HostConflict(host, NOBODY) for host in denied)
            route = replace(route, hosts=tuple(host for host in route.hosts if host not in denied))
        kept.append(route)
    return tuple(kept), refused


def settle_hosts(
    routes: Iterable[Route],
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[HostConflict, ...]]]:
    """(domains, conflicts) by deployment key. A domain given twice would make Envoy refuse every route.

    Names in the cluster come first, so that no extra host can take another deployment's address.
    """
    by_age = sorted(routes, key=lambda route: (route.created, route.key))
    holders = {"*": ROUTER} | {domain: route.key for route in by_age for domain in route.own_domains}
    domains = {route.key: list(route.own_domains) for route in by_age}
    conflicts: dict[str, tuple[HostConflict, ...]] = {}
    for route in by_age:
        for host in dict.fromkeys(host.lower() for host in route.hosts):
            holder = holders.setdefault(host, route.key)
            if holder != route.key:
                conflicts[route.key] = (*conflicts.get(route.key, ()), HostConflict(host, holder))
            elif host not in domains[route.key]:
                domains[route.key].append(host)
    return {key: tuple(hosts) for key, hosts in domains.items()}, conflicts
