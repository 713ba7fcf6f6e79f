"""Is the canary worse than stable, or shown to be no worse? One metric of one step, judged each interval.

The mathematics is in evidence.py; here is the value that is kept between passes, and the rules of a verdict:

- Fail: harm is shown, at alpha / (metrics x steps), `rollback_share`; the estimate is over `max_increase`.
- Pass: "canary >= stable + max_increase" is rejected at `promote_alpha`.
- Both divide their ln e-value by the dispersion measured, and wait for BURN_IN intervals so that there is
  one. Requests that fail in clumps look like more evidence than they are; bench/analysis.py shows what
  this does to false verdicts.
- Pass doesn't wait while no request at all was bad: nothing came in clumps.
- Fail doesn't wait for a catastrophe: an e-value of 1e6 and ten times stable's share of bad requests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from math import ceil, log
from typing import Any, Literal

import numpy as np

from slipway.rollout import evidence
from slipway.rollout.evidence import Array, Evidence

BURN_IN = 10
CATASTROPHE_LOG_E = log(1e6)
CATASTROPHE_RATIO = 10

_STEPS = (1.0, 1.3, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.3, 8.0)
_LADDER = [round(step * 10.0**power, 5) for power in (-3, -2, -1) for step in _STEPS]

VerdictWord = Literal["Pass", "Fail", "Continue", "NoData", "Inconclusive"]


@dataclass(frozen=True)
class Table:
    """One interval of one metric: requests, and the bad ones among them."""

    canary_total: int
    canary_bad: int
    stable_total: int
    stable_bad: int

    def __post_init__(self) -> None:
        for arm, total, bad in (
            ("canary", self.canary_total, self.canary_bad),
            ("stable", self.stable_total, self.stable_bad),
        ):
            if not 0 <= bad <= total:
                raise ValueError(f"{arm}: {bad} bad of {total} requests; need 0 <= bad <= total")


@dataclass(frozen=True)
class MetricState:
    """What is kept of a step's intervals; its size doesn't grow. Made by `start`, changed by `fold`.

    The fields are those of evidence.Evidence, rounded to 1e-6 at every fold, so that a state read back from
    JSON is the same state and a restart can't change a verdict.
    """

    margin: float
    """The wanted max_increase: a margin of its own beside the fixed ladder."""
    intervals: int
    canary_total: int
    canary_bad: int
    stable_total: int
    stable_bad: int
    recent_total: float
    recent_bad: float
    odds_up: float
    odds_down: float
    gap: float
    gap_weight: float
    residual: float
    residual_expected: float
    harm: tuple[float, ...]
    above: tuple[float, ...]
    below: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            f.name: list(value) if isinstance(value := getattr(self, f.name), tuple) else value
            for f in fields(self)
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "MetricState":
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
        }
        return cls(**values)


@dataclass(frozen=True)
class Arm:
    total: int
    bad: int
    rate: float


@dataclass(frozen=True)
class Difference:
    """Canary rate minus stable rate; each bound holds by itself at promoteConfidence."""

    estimate: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Verdict:
    verdict: VerdictWord
    canary: Arm
    stable: Arm
    difference: Difference
    log_e: float
    """ln of the e-value of harm: what is compared with rollback_at. Divided by the dispersion, except where a
    catastrophe decided."""
    rollback_at: float
    dispersion: float
    samples_needed: int | None
    """Canary requests until Pass if all goes on as it did; None if that leads to none, or it is there."""


def start(max_increase: float) -> MetricState:
    """No interval seen; every step starts here."""
    return _value(max_increase, evidence.nothing(1, len(_margins(max_increase))))


def fold(state: MetricState, table: Table) -> MetricState:
    """The state after one more interval; without requests in both arms it compares and changes nothing."""
    counts = (
        np.array([float(count)])
        for count in (table.canary_total, table.canary_bad, table.stable_total, table.stable_bad)
    )
    return _value(state.margin, evidence.add(_arrays(state), _margins(state.margin), *counts))


def judge(
    state: MetricState, max_increase: float, rollback_alpha_share: float, promote_alpha: float
) -> Verdict:
    """The verdict on the intervals so far; asking often doesn't make a false one likelier."""
    seen = _arrays(state)
    margins = _margins(state.margin)
    pass_at = -log(promote_alpha)
    rollback_at = -log(rollback_alpha_share)
    estimate = float(evidence.estimate(seen)[0])
    dispersion = float(evidence.dispersion(seen)[0])
    # Less than the margin asked for is stronger than asked for, so a changed max_increase stays honest.
    index = int(np.searchsorted(margins, max_increase, side="right")) - 1
    fails, passes = decide(seen, index, max_increase, rollback_at, pass_at)
    word: VerdictWord = "Continue"
    if not state.intervals:
        word = "NoData"
    elif fails[0]:
        word = "Fail"
    elif passes[0]:
        word = "Pass"
    needed = None
    if word == "Continue":
        needed = _samples_needed(seen, margins[index], dispersion * pass_at - float(seen.above[0, index]))
    harm = float(evidence.log_harm(seen)[0])
    log_e = harm / dispersion
    if word == "Fail" and log_e < rollback_at:
        log_e = harm
    return Verdict(
        verdict=word,
        canary=_arm(state.canary_total, state.canary_bad),
        stable=_arm(state.stable_total, state.stable_bad),
        difference=Difference(estimate, *_bounds(seen, margins, dispersion * pass_at)),
        log_e=log_e,
        rollback_at=rollback_at,
        dispersion=dispersion,
        samples_needed=needed,
    )


def rollback_share(alpha: float, metrics: int, steps: int) -> float:
    """What one metric of one step may spend of the chance of a false rollback."""
    return alpha / (metrics * steps)


def decide(
    seen: Evidence, margin: int, max_increase: float, rollback_at: float, pass_at: float
) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], np.ndarray[Any, np.dtype[np.bool_]]]:
    """(fails, passes) for every comparison; margin is the index into the evidence's margins."""
    dispersion = evidence.dispersion(seen)
    harm = evidence.log_harm(seen)
    settled = seen.intervals >= BURN_IN
    catastrophe = (harm >= max(CATASTROPHE_LOG_E, rollback_at)) & (
        seen.canary_bad * seen.stable_total >= CATASTROPHE_RATIO * seen.stable_bad * seen.canary_total
    )
    shown = (settled & (harm / dispersion >= rollback_at)) | catastrophe
    fails = shown & (evidence.estimate(seen) > max_increase)
    spotless = seen.canary_bad + seen.stable_bad == 0
    passes = (settled | spotless) & (seen.above[:, margin] / dispersion >= pass_at) & ~fails
    return fails, passes


def _bounds(seen: Evidence, margins: Array, needed: float) -> tuple[float, float]:
    """Lower and upper bound of the difference, on the ladder.

    Margins are taken away from the outside in and only while each is rejected, so the bound errs only if the
    one nearest to the truth was rejected falsely: one test, not thirty.
    """
    rejected_above = seen.above[0] >= needed
    rejected_below = seen.below[0] >= needed
    upper = int(np.argmin(rejected_above[::-1])) if not rejected_above.all() else len(margins)
    lower = int(np.argmin(rejected_below)) if not rejected_below.all() else len(margins)
    return (
        float(margins[lower - 1]) if lower else -1.0,
        float(margins[len(margins) - upper]) if upper else 1.0,
    )


def _samples_needed(seen: Evidence, margin: float, missing: float) -> int | None:
    """Canary requests until `missing` is gathered and the burn-in is over, if all goes on as it did."""
    canary_total, stable_total = seen.canary_total, seen.stable_total
    if not canary_total[0]:
        return None
    canary, stable = evidence.predicted(seen)
    margins = np.array([margin])
    s = evidence.projection(canary, stable, margins, canary_total, stable_total)
    gained = evidence.log_ratio(
        canary,
        stable,
        s,
        margins,
        canary_total[:, None],
        seen.canary_bad[:, None],
        stable_total[:, None],
        seen.stable_bad[:, None],
    )
    per_request = float(gained[0, 0]) / float(canary_total[0])
    if canary[0] - stable[0] >= margin or per_request <= 0:
        return None
    per_interval = float(canary_total[0] / seen.intervals[0])
    spotless = seen.canary_bad[0] + seen.stable_bad[0] == 0
    burn_in = 0.0 if spotless else max(0.0, BURN_IN - float(seen.intervals[0])) * per_interval
    return max(1, ceil(max(missing / per_request, burn_in)))


def _arm(total: int, bad: int) -> Arm:
    return Arm(total, bad, bad / total if total else 0.0)


@lru_cache(maxsize=64)
def _ladder_with(max_increase: float) -> tuple[float, ...]:
    return tuple(sorted({*(-step for step in _LADDER), 0.0, *_LADDER, max_increase}))


def _margins(max_increase: float) -> Array:
    return np.array(_ladder_with(max_increase))


def _arrays(state: MetricState) -> Evidence:
    return Evidence(
        **{
            f.name: np.array([getattr(state, f.name)], dtype=np.float64)
            for f in fields(state)
            if f.name != "margin"
        }
    )


_COUNTS = ("intervals", "canary_total", "canary_bad", "stable_total", "stable_bad")


def _value(margin: float, seen: Evidence) -> MetricState:
    values: dict[str, Any] = {}
    for f in fields(seen):
        first = getattr(seen, f.name)[0]
        if f.name in _COUNTS:
            values[f.name] = int(first)
        else:
            rounded: float | Sequence[float] = np.round(first, 6).tolist()
            values[f.name] = tuple(rounded) if isinstance(rounded, list) else rounded
    return MetricState(margin=margin, **values)
