"""Adds up what was scraped: totals that never go down, and the intervals that evidence is made of."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from slipway.router.scrape import Scrape, revision_of
from slipway.router.traffic import WINDOW_S, Counters, Interval, Rates

MOST_INTERVALS = 600
"""Kept for a step of a rollout; beyond it neighbours are joined, so a long pause costs resolution, not memory."""

Weights = tuple[tuple[str, int], ...]
"""(revision, weight) of one deployment, those above 0."""


@dataclass
class _Deployment:
    weights: Weights | None = None
    """As every router acknowledged them; None while they differ."""
    evidence: list[Interval] = field(default_factory=list)
    """Since then."""
    recent: deque[Interval] = field(default_factory=deque)
    """Last minute, whatever the weights."""
    first: datetime | None = None


class Ledger:
    """One per leader. `record` once a round, with whatever routers could be read."""

    def __init__(self, began: datetime) -> None:
        self._began = began
        self._last: dict[str, tuple[datetime, Scrape]] = {}
        self._round: datetime | None = None
        self._deployments: dict[str, _Deployment] = {}
        self.totals: dict[str, Counters] = {}
        """By revision key, since the leader began."""

    def record(
        self, now: datetime, scrapes: Mapping[str, Scrape], weights: Mapping[str, Weights | None]
    ) -> None:
        """`weights`: by key of every deployment that is routed, as acknowledged before the scrape began."""
        came = self._came_since(now, scrapes)
        self._deployments = {key: self._deployments.get(key, _Deployment()) for key in weights}
        self.totals = {
            key: counters for key, counters in self.totals.items() if key.rpartition("/")[0] in weights
        }
        by_deployment: dict[str, dict[str, Counters]] = {}
        for key, counters in came.items():
            deployment, _, revision = key.rpartition("/")
            if deployment in weights and counters != Counters():
                self.totals[key] = self.totals.get(key, Counters()) + counters
                by_deployment.setdefault(deployment, {})[revision] = counters
        start = self._round or now
        for key, held in self._deployments.items():
            self._add(held, Interval(start, now, by_deployment.get(key, {})), weights[key])
        self._round = now

    def _add(self, held: _Deployment, interval: Interval, weights: Weights | None) -> None:
        changed = weights is None or weights != held.weights
        held.weights = weights
        if changed:
            # This interval saw both the old weights and the new.
            held.evidence.clear()
        if interval.revisions:
            held.first = held.first or interval.start
            held.recent.append(interval)
            if not changed:
                held.evidence.append(interval)
        oldest = interval.end - timedelta(seconds=WINDOW_S)
        while held.recent and held.recent[0].end <= oldest:
            held.recent.popleft()
        if weights is not None and len(weights) == 1:
            held.evidence = [one for one in held.evidence if one.end > oldest]
        elif len(held.evidence) > MOST_INTERVALS:
            held.evidence = _joined(held.evidence)

    def _came_since(self, now: datetime, scrapes: Mapping[str, Scrape]) -> dict[str, Counters]:
        """By revision key, over all routers."""
        came: dict[str, Counters] = {}
        for router, scrape in scrapes.items():
            for cluster, counters in scrape.clusters.items():
                key = revision_of(cluster)
                came[key] = came.get(key, Counters()) + self._new_of(router, cluster, counters, scrape, now)
            self._last[router] = (now, scrape)
        return came

    def _new_of(
        self, router: str, cluster: str, counters: Counters, scrape: Scrape, now: datetime
    ) -> Counters:
        started = now - timedelta(seconds=scrape.uptime_s + 1)
        if router not in self._last:
            # What it counted before there was this leader isn't of this epoch.
            return counters if started > self._began else Counters()
        at, last = self._last[router]
        if started > at or scrape.uptime_s < last.uptime_s:
            return counters  # It started anew since.
        before = last.clusters.get(cluster, Counters())
        came = counters.since(before)
        return counters if came is None else came

    def intervals(self) -> dict[str, tuple[Interval, ...]]:
        """By deployment key, since its weights last changed."""
        return {key: tuple(held.evidence) for key, held in self._deployments.items() if held.evidence}

    def rates(self) -> dict[str, Rates]:
        """By revision key, over the last minute."""
        rates: dict[str, Rates] = {}
        for key, held in self._deployments.items():
            if held.first is None or self._round is None:
                continue
            seconds = min(WINDOW_S, (self._round - held.first).total_seconds())
            sums: dict[str, Counters] = {}
            for interval in held.recent:
                for revision, counters in interval.revisions.items():
                    sums[revision] = sums.get(revision, Counters()) + counters
            rates |= {f"{key}/{revision}": Rates(seconds, counters) for revision, counters in sums.items()}
        return rates


def _joined(intervals: list[Interval]) -> list[Interval]:
    """Half as many, each of two neighbours; the newest stays alone when they are odd."""
    pairs = zip(intervals[::2], intervals[1::2], strict=False)
    joined = [Interval(one.start, two.end, _sum(one.revisions, two.revisions)) for one, two in pairs]
    return joined + intervals[len(joined) * 2 :]


def _sum(one: Mapping[str, Counters], two: Mapping[str, Counters]) -> dict[str, Counters]:
    keys = one.keys() | two.keys()
    return {key: one.get(key, Counters()) + two.get(key, Counters()) for key in keys}
