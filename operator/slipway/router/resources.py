"""From what is to be routed to what Envoy is told: a pure function, the whole state every time."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from slipway.router.clusters import GRPC, PROBE, load_assignment, probe_cluster, serving_cluster
from slipway.router.listeners import Ports, listeners
from slipway.router.message import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, Packed
from slipway.router.route import Route, settle_hosts
from slipway.router.tables import PUBLIC, SELF_TEST, public_table, self_test_table
from slipway.router.traffic import HostConflict


@dataclass(frozen=True)
class Resources:
    """Resources by type URL and name, each type with a version that is its content's."""

    by_type: Mapping[str, Mapping[str, Packed]]
    versions: Mapping[str, str]
    weights: Mapping[str, int]
    """Revision key -> percent of its deployment's traffic; what an acknowledged route table means."""
    conflicts: Mapping[str, tuple[HostConflict, ...]] = field(default_factory=dict)
    """Deployment key -> hosts it didn't get."""

    @property
    def version(self) -> str:
        """Of the route table: what `acknowledged` is asked about."""
        return self.versions[ROUTES]


def build(routes: Iterable[Route], ports: Ports | None = None) -> Resources:
    """What every router is to hold."""
    in_order = sorted(routes, key=lambda route: route.key)
    domains, conflicts = settle_hosts(in_order)
    clusters: dict[str, Packed] = {}
    endpoints: dict[str, Packed] = {}
    for route in in_order:
        for arm in route.arms:
            key = route.cluster(arm)
            for name in (key, key + GRPC):
                clusters[name] = serving_cluster(name)
                endpoints[name] = load_assignment(name, arm.endpoints)
            if arm.self_test:
                clusters[key + PROBE] = probe_cluster(key + PROBE)
                endpoints[key + PROBE] = load_assignment(key + PROBE, arm.endpoints)
    by_type = {
        CLUSTERS: clusters,
        ENDPOINTS: endpoints,
        LISTENERS: listeners(ports or Ports()),
        ROUTES: {PUBLIC: public_table(in_order, domains), SELF_TEST: self_test_table()},
    }
    weights = {route.cluster(arm): arm.weight for route in in_order for arm in route.arms}
    return Resources(by_type, {kind: _version(found) for kind, found in by_type.items()}, weights, conflicts)


def _version(resources: Mapping[str, Packed]) -> str:
    digest = hashlib.sha256()
    for name in sorted(resources):
        digest.update(name.encode() + b"\0" + resources[name].value)
    return digest.hexdigest()[:12]
