"""What the routers saw, as values: counters, acknowledged weights, self-tests.

Names: `<namespace>/<mdep>` is a deployment's key, `<namespace>/<mdep>/<revision>` a revision's. A
revision's counters are those of its HTTP and its gRPC cluster together, summed over all routers, monotone
over restarts of a router.

Bad is 5xx, Envoy's own included, and the gRPC statuses of BAD_GRPC, which travel as HTTP 200. What a client
or a drain cancelled is in no count.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import inf

from slipway.router.buckets import edge_below

WINDOW_S = 60.0
"""The last minute, which rates and shares are of."""


@dataclass(frozen=True)
class Counters:
    """Requests of one revision: since the leader started, or within one interval."""

    total: int = 0
    """Answered requests, refused ones included."""
    bad: int = 0
    refused: int = 0
    """4xx and the gRPC statuses that blame the caller; part of total, not of bad."""
    latency: tuple[tuple[float, int], ...] = ()
    """(upper edge in ms, requests in this bucket), ascending, no empty ones; inf above the last edge."""

    @property
    def measured(self) -> int:
        """Requests with a latency: shares of slow ones are of these. Timeouts have none, they are bad."""
        return sum(count for _, count in self.latency)

    @property
    def buckets(self) -> tuple[tuple[float, int], ...]:
        """(upper edge in ms, requests up to it), at the edges where the count rises."""
        result, so_far = [], 0
        for edge, count in self.latency:
            so_far += count
            result.append((edge, so_far))
        return tuple(result)

    def slower_than(self, edge_ms: float) -> int:
        """Requests above an edge of the ladder."""
        return sum(count for edge, count in self.latency if edge > edge_ms)

    def percentile(self, percent: float) -> float | None:
        """Latency in ms by linear interpolation inside the bucket; None without requests. Above the
        last edge: that edge."""
        wanted = self.measured * percent / 100
        so_far = 0
        for edge, count in self.latency:
            if so_far + count >= wanted:
                lower = edge_below(edge)
                return lower if edge == inf else lower + (edge - lower) * (wanted - so_far) / count
            so_far += count
        return None

    def since(self, before: "Counters") -> "Counters | None":
        """What came after `before`; None if any count went down: the router began anew."""
        earlier = dict(before.latency)
        latency = [(edge, count - earlier.pop(edge, 0)) for edge, count in self.latency]
        counts = (self.total - before.total, self.bad - before.bad, self.refused - before.refused)
        if earlier or min(counts) < 0 or any(count < 0 for _, count in latency):
            return None
        return Counters(*counts, tuple((edge, count) for edge, count in latency if count))

    def __add__(self, other: "Counters") -> "Counters":
        latency = dict(self.latency)
        for edge, count in other.latency:
            latency[edge] = latency.get(edge, 0) + count
        return Counters(
            self.total + other.total,
            self.bad + other.bad,
            self.refused + other.refused,
            tuple(sorted(latency.items())),
        )


@dataclass(frozen=True)
class Interval:
    """What came in between two scrapes, for the revisions of one deployment."""

    start: datetime
    end: datetime
    revisions: Mapping[str, Counters]
    """By revision name; one without a request is absent."""


@dataclass(frozen=True)
class Rates:
    """The last minute, or since the first request where that is less."""

    seconds: float
    counters: Counters

    @property
    def requests_per_s(self) -> float:
        return self.counters.total / self.seconds if self.seconds > 0 else 0.0

    @property
    def error_rate(self) -> float | None:
        """None without requests."""
        return self.counters.bad / self.counters.total if self.counters.total else None


@dataclass(frozen=True)
class SelfTest:
    """A revision answered its recorded examples through the router, or didn't."""

    passed: bool
    message: str
    time: datetime


@dataclass(frozen=True)
class Nack:
    """A router refused a configuration and goes on with the one before."""

    router: str
    version: str
    message: str


@dataclass(frozen=True)
class HostConflict:
    """A host that this deployment asked for and another one has."""

    host: str
    holder: str
    """Key of the deployment whose claim is older."""


@dataclass(frozen=True)
class Traffic:
    """All the leader knows of the routers at one moment."""

    epoch: str = ""
    """Changes with the leader: counters of different epochs can't be compared."""
    routers: tuple[str, ...] = ()
    """Ready routers that are connected, by pod name."""
    acked: Mapping[str, int] = field(default_factory=dict)
    """Revision key -> weight that every ready router acknowledged; absent while they differ."""
    acked_at: Mapping[str, datetime] = field(default_factory=dict)
    """Deployment key -> since when every ready router has held these weights; absent as above."""
    counters: Mapping[str, Counters] = field(default_factory=dict)
    """Revision key -> since this epoch began."""
    intervals: Mapping[str, tuple[Interval, ...]] = field(default_factory=dict)
    """Deployment key -> intervals with requests since its acknowledged weights last changed, oldest first;
    with one arm those of the last minute. At a step of a rollout they are exactly the step's evidence."""
    rates: Mapping[str, Rates] = field(default_factory=dict)
    """Revision key -> last minute."""
    scraped_at: datetime | None = None
    """When every ready router was last read; old or None: there is no data."""
    self_tests: Mapping[str, SelfTest] = field(default_factory=dict)
    """Revision key -> newest result; absent while it couldn't be asked yet."""
    nacks: tuple[Nack, ...] = ()
    conflicts: Mapping[str, tuple[HostConflict, ...]] = field(default_factory=dict)
    """Deployment key -> hosts it didn't get."""

    def shares(self, deployment: str) -> dict[str, float]:
        """Percent of requests by revision name in the last minute, since the weights last changed."""
        intervals = self.intervals.get(deployment, ())
        totals: dict[str, int] = {}
        for interval in intervals:
            if (intervals[-1].end - interval.end).total_seconds() < WINDOW_S:
                for name, counters in interval.revisions.items():
                    totals[name] = totals.get(name, 0) + counters.total
        whole = sum(totals.values())
        return {name: 100 * total / whole for name, total in totals.items()} if whole else {}
