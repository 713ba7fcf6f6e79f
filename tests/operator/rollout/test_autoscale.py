import heapq
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.reasons import Reason
from slipway.rollout import autoscale
from slipway.rollout.autoscale import Limits, Load, Scale, Scaling, canary_replicas

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
LIMITS = Limits(1, 10, threshold_ms=25)


def load(rate: float, median: float | None = 2.4, tail: float | None = 22.4, **other: Any) -> Load:
    return Load(rate, rate, median, tail, 60, **other)


def scaled(
    seen: Load | None,
    current: int = 1,
    state: Scaling = Scaling("a", capacity=310, unloaded_ms=2.4),  # noqa: B008  # frozen
    limits: Limits = LIMITS,
    **other: Any,
) -> tuple[Scaling, Scale]:
    facts = {"revision": "a", "ready": current, "startup": 20.0, "rollout": False, "now": NOW} | other
    return autoscale.scale(limits, state, seen, current=current, **facts)


def test_at_rest_it_says_what_the_api_page_says() -> None:
    _, answer = scaled(load(60))
    assert answer == Scale(
        1,
        Reason.WITHIN_SLO,
        "60 requests/s need 0.2 of a replica; p99 22.4 ms holds 25 ms.",
        {"requests_per_s": 60, "capacity_per_replica_per_s": 310, "latency_p99_ms": 22.4},
    )


def test_the_rate_asks_for_replicas_before_the_latency_does() -> None:
    _, answer = scaled(load(700))
    assert answer.desired == 3
    assert answer.reason == Reason.SCALING_UP
    assert answer.message == "700 requests/s need 2.2 replicas; p99 22.4 ms holds 25 ms; 1 to 3 replicas."


def test_a_rise_is_met_where_it_will_be_when_the_replica_is_ready() -> None:
    state = Scaling("a", capacity=100, unloaded_ms=5)
    for tick in range(6):
        state, answer = scaled(load(40 + 8 * tick, 5, 12), state=state, now=NOW + timedelta(seconds=5 * tick))
    assert load(40 + 8 * 5).requests_per_s < 100
    assert answer.desired == 2


def test_slow_and_loaded_takes_one_more_and_believes_in_less_capacity() -> None:
    state, answer = scaled(load(280, median=9, tail=40))
    assert answer.desired == 2
    assert state.capacity is not None
    assert state.capacity < 310
    assert (
        answer.message
        == f"280 requests/s need {280 / state.capacity:.1f} replicas; p99 40 ms is over 25 ms; 1 to 2 replicas."
    )


def test_slow_but_idle_is_not_answered_by_replicas() -> None:
    _, answer = scaled(load(5, median=9, tail=40))
    assert (answer.desired, answer.reason) == (1, Reason.ABOVE_SLO)


def test_warming_replicas_are_credited() -> None:
    _, answer = scaled(load(280, median=9, tail=40), current=2, ready=1)
    assert answer.desired == 2


def test_it_shrinks_only_after_the_window() -> None:
    state, answer = scaled(load(900), current=1)
    assert answer.desired == 3
    at = NOW
    for _ in range(11):
        at += timedelta(seconds=10)
        state, answer = scaled(load(10), current=3, state=state, now=at)
        assert answer.desired == 3
    state, answer = scaled(load(10), current=3, state=state, now=at + timedelta(seconds=11))
    assert (answer.desired, answer.reason) == (1, Reason.SCALING_DOWN)


def test_without_figures_nothing_changes_and_the_window_begins_anew() -> None:
    state, answer = scaled(None, current=4)
    assert (answer.desired, answer.reason) == (4, Reason.NO_METRICS)
    _, answer = scaled(load(10), current=4, state=state, now=NOW + timedelta(seconds=110))
    assert answer.desired == 4


def test_stable_does_not_shrink_during_a_rollout_but_grows() -> None:
    assert scaled(load(10), current=4, rollout=True)[1].desired == 4
    assert scaled(load(1500), current=4, rollout=True)[1].desired > 4


def test_limits_hold_and_are_named() -> None:
    _, answer = scaled(load(9000), current=10)
    assert (answer.desired, answer.reason) == (10, Reason.AT_MAXIMUM)
    assert answer.message.endswith("replicas wanted, maxReplicas is 10.")
    assert scaled(load(0, None, None), limits=replace(LIMITS, min_replicas=2))[1].desired == 2


def test_requests_in_flight_can_ask_for_more() -> None:
    limits = replace(LIMITS, target_concurrency=8)
    assert scaled(load(60, in_flight=17), limits=limits)[1].desired == 3


def test_another_revision_is_learnt_anew_and_keeps_its_size_meanwhile() -> None:
    state, answer = scaled(load(0, None, None), current=3, revision="b")
    assert (state.capacity, answer.desired) == (None, 3)
    state, _ = scaled(load(60, 4, 9), current=3, revision="b", state=state)
    assert state.capacity == pytest.approx(175)


@pytest.mark.parametrize(
    ("replicas", "weight", "wanted"), [(1, 20, 1), (10, 20, 3), (10, 50, 6), (3, 100, 4), (5, 1, 1)]
)
def test_a_canary_has_a_fifth_more_than_its_share(replicas: int, weight: int, wanted: int) -> None:
    assert canary_replicas(replicas, weight) == wanted


@given(st.floats(0, 5000), st.floats(0, 5000))
def test_more_requests_never_want_fewer_replicas(one: float, other: float) -> None:
    low, high = sorted((one, other))
    few, many = (scaled(load(rate, None, None))[1] for rate in (low, high))
    assert few.desired <= many.desired


@dataclass
class Queue:
    """Replicas as servers of one queue, 20 ms a request; a new one is ready after `startup` seconds."""

    startup: float = 20.0
    tick: float = 5.0
    service: float = 0.02

    def run(
        self, rate: Callable[[float], float], seconds: int, limits: Limits
    ) -> list[tuple[float, int, float]]:
        """(time, replicas, p99 of the tick in ms) under the law."""
        rng = np.random.default_rng(7)
        state, current, starting = Scaling(), limits.min_replicas, list[float]()
        free = [0.0] * current
        window: list[list[float]] = [[0.0]] * 3
        log = []
        for begin in np.arange(0, seconds, self.tick):
            for at in [at for at in starting if at <= begin]:
                starting.remove(at)
                heapq.heappush(free, at)
            arrivals = np.sort(rng.uniform(begin, begin + self.tick, rng.poisson(rate(begin) * self.tick)))
            waits = []
            for arrival in arrivals:
                done = max(arrival, heapq.heappop(free)) + self.service * rng.lognormal(-0.045, 0.3)
                heapq.heappush(free, done)
                waits.append(1000 * (done - arrival))
            now = NOW + timedelta(seconds=float(begin + self.tick))
            window = [*window[1:], waits]
            recent = np.concatenate(window)
            per_s = len(recent) / (3 * self.tick)
            median, tail = (float(np.percentile(recent, q)) for q in (50, 99))
            seen = Load(per_s, per_s, median, tail, 3 * self.tick)
            state, answer = autoscale.scale(
                limits,
                Scaling.from_json(json.loads(json.dumps(state.to_json()))),
                seen,
                revision="a",
                current=current,
                ready=len(free),
                startup=self.startup,
                rollout=False,
                now=now,
            )
            starting += [begin + self.tick + self.startup] * (answer.desired - current)
            for _ in range(current - answer.desired):
                starting.pop() if starting else heapq.heappop(free)
            current = answer.desired
            log.append((float(begin), current, tail or 0.0))
        return log


def test_it_follows_a_wave_up_and_down_without_flapping() -> None:
    limits = Limits(1, 20, threshold_ms=100, scale_down_window=60)

    def wave(t: float) -> float:
        if t < 120:
            return 10.0
        if t < 420:
            return 10.0 + min(1.0, (t - 120) / 120) * 210
        return 220.0 if t < 600 else 15.0

    log = Queue().run(wave, 900, limits)
    sizes = [size for _, size, _ in log]
    at_peak = [size for t, size, _ in log if 450 <= t < 600]
    # 220 requests/s of 20 ms each keep 4.4 replicas busy: fewer can't, and twice as many would be waste.
    assert min(at_peak) >= 5
    assert max(sizes) <= 10
    held = [tail <= 100 for t, _, tail in log if 300 <= t < 600]
    assert np.mean(held) >= 0.95
    assert sizes[-1] <= 2
    turns = [b - a for a, b in pairwise(sizes) if a != b]
    assert sum(a > 0 > b or a < 0 < b for a, b in pairwise(turns)) <= 2


def test_a_steady_load_is_left_alone() -> None:
    log = Queue().run(lambda _: 100.0, 900, Limits(1, 20, threshold_ms=100, scale_down_window=60))
    settled = [size for t, size, _ in log if t >= 300]
    assert len({*settled}) <= 2
    assert sum(a != b for a, b in pairwise(settled)) <= 1
    assert np.mean([tail <= 100 for t, _, tail in log if t >= 300]) >= 0.95


def test_a_step_is_answered_within_two_start_ups() -> None:
    log = Queue().run(
        lambda t: 20.0 if t < 60 else 150.0, 240, Limits(1, 20, threshold_ms=100, scale_down_window=60)
    )
    assert next(t for t, size, _ in log if size >= 4) <= 60 + 20
    assert np.mean([tail <= 100 for t, _, tail in log if t >= 150]) >= 0.9
