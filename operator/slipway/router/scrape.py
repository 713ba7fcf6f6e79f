"""Reads Envoy's Prometheus text into counters per revision."""

import re
from dataclasses import dataclass, field
from functools import cache
from math import inf

from slipway.router.buckets import LADDER_MS
from slipway.router.clusters import GRPC
from slipway.router.traffic import Counters

FILTER = r"^(cluster\.[^./]+/[^./]+/[^.]+\.(upstream_rq_([1-5]xx|time)|grpc\.[0-9]+)|server\.uptime)$"
"""For the query's `filter`: by Envoy's own names, all that is read here and nothing else."""

BAD_GRPC = frozenset({2, 4, 5, 13, 14})
"""UNKNOWN, DEADLINE_EXCEEDED, NOT_FOUND (Triton unloads at SIGTERM), INTERNAL, UNAVAILABLE."""
CANCELLED_GRPC = 1
"""By a client or a drain: in no count."""

# The upstream counts beside these (retry, external, internal) are parts of the same requests.
_HTTP = re.compile(
    r'envoy_cluster_upstream_rq_xx\{envoy_response_code_class="(\d)",envoy_cluster_name="([^"]+)"\} (\d+)'
)
_GRPC = re.compile(r'envoy_cluster_grpc_(\d+)\{envoy_cluster_name="([^"]+)"\} (\d+)')
_LATENCY = re.compile(
    r'envoy_cluster_upstream_rq_time_bucket\{envoy_cluster_name="([^"]+)",le="([^"]+)"\} (\d+)'
)
_UPTIME = re.compile(r"^envoy_server_uptime\{\} (\d+)", re.MULTILINE)
_EDGES = frozenset((*LADDER_MS, inf))


@dataclass(frozen=True)
class Scrape:
    """One router at one moment. By cluster, since a cluster can begin anew alone."""

    uptime_s: int
    clusters: dict[str, Counters] = field(default_factory=dict)


def revision_of(cluster: str) -> str:
    """Key of the revision that a serving cluster belongs to."""
    return cluster.removesuffix(GRPC)


def parse(text: str) -> Scrape:
    """ValueError if it isn't Envoy's."""
    uptime = _UPTIME.search(text)
    if uptime is None:
        raise ValueError(f"no envoy_server_uptime in the router's counters: {text[:200]!r}")
    counts: dict[str, list[int]] = {}
    for kind, cluster, value in _HTTP.findall(text):
        if not cluster.endswith(GRPC):
            # gRPC clusters are counted by status: there a 200 says nothing, and a 503 of Envoy's is a status too.
            _count(counts, cluster, int(value), bad=kind == "5", refused=kind == "4")
    for status, cluster, value in _GRPC.findall(text):
        code = int(status)
        if code != CANCELLED_GRPC:
            _count(counts, cluster, int(value), bad=code in BAD_GRPC, refused=code not in BAD_GRPC | {0})
    latency = _latency(text)
    clusters = {}
    for cluster in counts.keys() | latency.keys():
        total, bad, refused = counts.get(cluster, (0, 0, 0))
        clusters[cluster] = Counters(total, bad, refused, tuple(latency.get(cluster, ())))
    return Scrape(int(uptime[1]), clusters)


def _count(counts: dict[str, list[int]], cluster: str, value: int, *, bad: bool, refused: bool) -> None:
    held = counts.setdefault(cluster, [0, 0, 0])
    held[0] += value
    held[1] += value * bad
    held[2] += value * refused


def _latency(text: str) -> dict[str, list[tuple[float, int]]]:
    """Requests by bucket; Envoy gives them cumulated, edges ascending."""
    latency: dict[str, list[tuple[float, int]]] = {}
    so_far: dict[str, int] = {}
    for cluster, edge, value in _LATENCY.findall(text):
        upto = int(value)
        here = upto - so_far.get(cluster, 0)
        so_far[cluster] = upto
        if here:
            latency.setdefault(cluster, []).append((_edge(edge), here))
    return latency


@cache
def _edge(text: str) -> float:
    """Envoy writes all digits of a double: 2.1 is 2.1000000000000000888178419700125."""
    edge = float(text)
    if edge not in _EDGES:
        raise ValueError(
            f"the router has a bucket up to {text} ms, which is none of ours: its bootstrap is of another version"
        )
    return edge
