"""How many replicas hold the latency: from the arrival rate and what a replica was seen to carry.

The rate says how many are needed before anybody waits; the latency only corrects what a replica is believed to
carry, because it is flat until a replica is full and then tells only that it is too late. Up at once, down after
the window, nothing on missing figures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil, sqrt
from typing import Any

from slipway.api.reasons import Reason

FIRST_UTILISATION = 0.7
"""Of the rate that back-to-back requests would give: what a replica is believed to carry at first."""
BUSY = 0.5
"""Requests in a replica at a time from which slowness is taken for load; below, more replicas can't help."""
SPARE_TO_SHRINK = 0.85
"""Fewer replicas must carry the load at this share of their capacity; else the next ripple brings them back."""
EASY = 0.75
"""A replica that carries this share of its capacity at this share of the threshold may carry more."""
CANARY_SPARE = 1.2
WITHOUT_SLO = 5.0
"""Times the unloaded median: the latency that is held if no SLO says one."""
ENOUGH = 50
"""Requests in a window from which its latencies are believed."""
FORESIGHT_S = 60.0
"""Length of the past that a trend is taken from."""


@dataclass(frozen=True)
class Limits:
    """What spec.autoscaling and spec.slo state."""

    min_replicas: int
    max_replicas: int
    percentile: float = 99.0
    threshold_ms: float | None = None
    target_concurrency: float | None = None
    scale_down_window: float = 120.0


@dataclass(frozen=True)
class Load:
    """What the routers saw in the last window (15 s or more); capacity is learnt from the stable arm."""

    requests_per_s: float
    """All arms: after a rollback stable carries all of it."""
    stable_requests_per_s: float
    median_ms: float | None
    """Of the stable arm; None without requests."""
    tail_ms: float | None
    """At the SLO's percentile."""
    window: float
    """Seconds."""
    in_flight: float | None = None


@dataclass(frozen=True)
class Scaling:
    """What is kept between passes."""

    revision: str = ""
    capacity: float | None = None
    """Requests per second at which a replica holds the latency."""
    unloaded_ms: float | None = None
    """The smallest median seen, forgotten slowly."""
    rates: tuple[tuple[float, float], ...] = ()
    """(time, requests per second) of the last minute."""
    wanted: tuple[tuple[float, int], ...] = ()
    """(time, replicas) within the scale-down window, each more than all after it."""
    last_scale: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        data = {
            "revision": self.revision,
            "capacity": self.capacity,
            "unloaded_ms": self.unloaded_ms,
            "rates": [list(pair) for pair in self.rates],
            "wanted": [list(pair) for pair in self.wanted],
            "last_scale": self.last_scale.isoformat() if self.last_scale else None,
        }
        return {name: value for name, value in data.items() if value not in (None, [], "")}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Scaling":
        values = dict(data)
        for name in ("rates", "wanted"):
            values[name] = tuple(tuple(pair) for pair in values.get(name, ()))
        if "last_scale" in values:
            values["last_scale"] = datetime.fromisoformat(values["last_scale"])
        return cls(**values)


@dataclass(frozen=True)
class Scale:
    desired: int
    reason: Reason
    message: str
    metrics: Mapping[str, float]
    """As in status.autoscaling.metrics."""


def canary_replicas(replicas: int, weight: int) -> int:
    """What a canary needs for a share of the traffic that `replicas` carry whole."""
    return max(1, ceil(replicas * weight / 100 * CANARY_SPARE - 1e-9))


def scale(
    limits: Limits,
    state: Scaling,
    load: Load | None,
    *,
    revision: str,
    current: int,
    ready: int,
    startup: float,
    rollout: bool,
    now: datetime,
) -> tuple[Scaling, Scale]:
    """Replicas for the stable revision. `current` are asked for, `ready` answer; `startup` seconds lie between."""
    if revision != state.revision:
        state = replace(state, revision=revision, capacity=None, unloaded_ms=None)
    if load is None:
        state = _remember(limits, state, current, now)
        held = _clamp(limits, current)
        return state, Scale(
            held, Reason.NO_METRICS, f"No figures from the routers; {_replicas(held)} kept.", {}
        )
    settled = ready >= current and _since(state.last_scale, now) >= startup + load.window
    state = _learn(limits, state, load, ready, settled)
    state = replace(state, rates=_recent(state.rates, load.requests_per_s, now))
    coming = load.requests_per_s + _rise(state.rates) * (startup + load.window / 2)
    needed = coming / state.capacity if state.capacity else 0.0
    wanted = ceil(needed - 1e-9) if state.capacity else current
    slow = _is_slow(limits, state, load)
    if slow and settled and _loaded(load, ready):
        wanted = max(wanted, current + 1)
    if limits.target_concurrency and load.in_flight is not None:
        wanted = max(wanted, ceil(load.in_flight / limits.target_concurrency - 1e-9))
    keeps = max(wanted, min(current, ceil(needed / SPARE_TO_SHRINK - 1e-9)))
    state = _remember(limits, state, keeps, now)
    if wanted > current:
        desired = min(wanted, max(2 * current, current + 2))
    elif rollout:
        desired = current
    else:
        desired = min(current, max(count for _, count in state.wanted))
    desired = _clamp(limits, max(1, desired))
    if desired != current:
        state = replace(state, last_scale=now)
    return state, _told(limits, state, load, desired, current, wanted, slow)


def _learn(limits: Limits, state: Scaling, load: Load, ready: int, settled: bool) -> Scaling:
    """What a replica carries: first guessed from the unloaded median, then taught by what was seen to hold.

    Not lowered before the last change of size shows in the figures: what they still hold was answered already.
    """
    if not ready or load.median_ms is None or load.stable_requests_per_s * load.window < ENOUGH:
        return state
    unloaded = min(load.median_ms, (state.unloaded_ms or load.median_ms) * 1.01)
    each = load.stable_requests_per_s / ready
    # At first sight of a queue the median says nothing about a replica, but what comes through does.
    guess = FIRST_UTILISATION * max(1000 / unloaded, each)
    queued_then = unloaded < 0.7 * (state.unloaded_ms or 0.0)
    capacity = guess if state.capacity is None or queued_then else state.capacity
    state = replace(state, unloaded_ms=round(unloaded, 4))
    held = _held_ms(limits, state)
    if not _is_slow(limits, state, load):
        # Slowly, since the first figures of a burst look fine: its queue is still to come.
        easy = held is not None and load.tail_ms is not None and load.tail_ms < EASY * held
        if each > (EASY if easy else 1.0) * capacity:
            capacity *= 1.02
    elif settled and _loaded(load, ready):
        capacity = min(capacity, max(0.9 * each, 0.8 * capacity))
    return replace(state, capacity=round(capacity, 3))


def _is_slow(limits: Limits, state: Scaling, load: Load) -> bool:
    held = _held_ms(limits, state)
    # Three requests beyond the percentile: of fewer, one unlucky request would be the tail.
    enough = load.stable_requests_per_s * load.window * (1 - limits.percentile / 100) >= 3
    return enough and held is not None and load.tail_ms is not None and load.tail_ms > held


def _held_ms(limits: Limits, state: Scaling) -> float | None:
    if limits.threshold_ms is not None:
        return limits.threshold_ms
    return WITHOUT_SLO * state.unloaded_ms if state.unloaded_ms is not None else None


def _loaded(load: Load, ready: int) -> bool:
    """By Little's law: requests in a replica at a time, those that wait included."""
    return load.stable_requests_per_s * (load.median_ms or 0.0) / 1000 >= BUSY * max(ready, 1)


def _since(last: datetime | None, now: datetime) -> float:
    return (now - last).total_seconds() if last else float("inf")


def _rise(rates: tuple[tuple[float, float], ...]) -> float:
    """Requests per second that come to it each second; 0 unless it clearly rises."""
    if len(rates) < 4:
        return 0.0
    middle = sum(t for t, _ in rates) / len(rates)
    mean = sum(r for _, r in rates) / len(rates)
    spread = sum((t - middle) ** 2 for t, _ in rates)
    if not spread:
        return 0.0
    slope = sum((t - middle) * (r - mean) for t, r in rates) / spread
    residual = sum((r - mean - slope * (t - middle)) ** 2 for t, r in rates)
    error = sqrt(residual / (len(rates) - 2) / spread)
    return slope if slope > 3 * error else 0.0


def _recent(
    rates: tuple[tuple[float, float], ...], rate: float, now: datetime
) -> tuple[tuple[float, float], ...]:
    at = now.timestamp()
    return (*(pair for pair in rates if at - FORESIGHT_S <= pair[0] < at), (at, round(rate, 3)))


def _remember(limits: Limits, state: Scaling, count: int, now: datetime) -> Scaling:
    oldest = (now - timedelta(seconds=limits.scale_down_window)).timestamp()
    kept = tuple(pair for pair in state.wanted if pair[0] > oldest and pair[1] > count)
    return replace(state, wanted=(*kept, (now.timestamp(), count)))


def _clamp(limits: Limits, count: int) -> int:
    return min(max(count, limits.min_replicas), limits.max_replicas)


def _told(
    limits: Limits, state: Scaling, load: Load, desired: int, current: int, wanted: int, slow: bool
) -> Scale:
    metrics = {"requests_per_s": _round(load.requests_per_s)}
    if state.capacity is None:
        message = f"{_rate(load.requests_per_s)}: too few to learn what a replica carries; {_replicas(desired)} kept"
    else:
        metrics["capacity_per_replica_per_s"] = _round(state.capacity)
        message = f"{_rate(load.requests_per_s)} need {_share(load.requests_per_s / state.capacity)}"
    if load.tail_ms is not None:
        metrics[f"latency_p{limits.percentile:g}_ms"] = _round(load.tail_ms)
        message += f"; p{limits.percentile:g} {_round(load.tail_ms):g} ms"
        if limits.threshold_ms is not None:
            message += f" {'is over' if slow else 'holds'} {limits.threshold_ms:g} ms"
    if wanted > limits.max_replicas:
        return Scale(
            desired,
            Reason.AT_MAXIMUM,
            f"{message}; {wanted} replicas wanted, maxReplicas is {desired}.",
            metrics,
        )
    if desired > current:
        reason, message = Reason.SCALING_UP, f"{message}; {current} to {_replicas(desired)}."
    elif desired < current:
        reason, message = Reason.SCALING_DOWN, f"{message}; {current} to {_replicas(desired)}."
    else:
        reason, message = (Reason.ABOVE_SLO if slow else Reason.WITHIN_SLO), f"{message}."
    return Scale(desired, reason, message, metrics)


def _round(value: float) -> float:
    """Three figures: status isn't rewritten for less."""
    return float(f"{value:.3g}")


def _rate(per_second: float) -> str:
    return f"{_round(per_second):g} requests/s"


def _replicas(count: int) -> str:
    return f"{count} replica{'' if count == 1 else 's'}"


def _share(needed: float) -> str:
    return f"{needed:.1f} of a replica" if needed < 0.95 else f"{needed:.1f} replicas"
