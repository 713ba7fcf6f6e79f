"""Thousands of simulated canaries at once, judged by the code that judges real ones.

Shared by the tests (are the promised rates kept?) and by bench/analysis.py (which figures are they?).
"""

from dataclasses import dataclass
from math import log

import numpy as np

from slipway.rollout import analysis, evidence


@dataclass(frozen=True)
class Scenario:
    canary_rate: float
    stable_rate: float
    max_increase: float = 0.01
    per_interval: float = 15
    """Canary requests, Poisson; stable gets `stable_times` as many."""
    stable_times: float = 9
    intervals: int = 240
    incident: tuple[int, int] | None = None
    """Intervals in which both arms fail 10 points more."""
    correlation: float = 0.0
    """Of two requests' failures within one interval and arm."""
    alpha: float = 0.01
    promote_alpha: float = 0.05


@dataclass(frozen=True)
class Outcome:
    """Canary requests until each verdict; inf if it never came."""

    fail_after: np.ndarray
    pass_after: np.ndarray

    @property
    def failed(self) -> float:
        """Share in which harm was found at some time."""
        return float(np.isfinite(self.fail_after).mean())

    @property
    def passed(self) -> float:
        return float(np.isfinite(self.pass_after).mean())

    def fail_quantile(self, q: float) -> float:
        return float(np.quantile(self.fail_after, q, method="lower"))

    def pass_quantile(self, q: float) -> float:
        return float(np.quantile(self.pass_after, q, method="lower"))


def run(scenario: Scenario, runs: int, seed: int = 0) -> Outcome:
    """Both verdicts of each run by itself: neither ends the run, so that neither hides the other."""
    rng = np.random.default_rng(seed)
    seen = evidence.nothing(runs, 1)
    margins = np.array([scenario.max_increase])
    fail_after = np.full(runs, np.inf)
    pass_after = np.full(runs, np.inf)
    for t in range(scenario.intervals):
        shared = 0.1 if scenario.incident and scenario.incident[0] <= t < scenario.incident[1] else 0.0
        counts = []
        for rate, mean in (
            (scenario.canary_rate, scenario.per_interval),
            (scenario.stable_rate, scenario.per_interval * scenario.stable_times),
        ):
            total = rng.poisson(mean, runs)
            bad = rng.binomial(total, _rates(rng, rate + shared, scenario.correlation, runs))
            counts += [total.astype(float), bad.astype(float)]
        seen = evidence.add(seen, margins, *counts)
        fails, passes = analysis.decide(
            seen, 0, scenario.max_increase, -log(scenario.alpha), -log(scenario.promote_alpha)
        )
        fail_after = np.where(fails & np.isinf(fail_after), seen.canary_total, fail_after)
        pass_after = np.where(passes & np.isinf(pass_after), seen.canary_total, pass_after)
    return Outcome(fail_after, pass_after)


def _rates(rng: np.random.Generator, rate: float, correlation: float, runs: int) -> np.ndarray:
    if not correlation or not rate:
        return np.full(runs, rate)
    spread = (1 - correlation) / correlation
    return rng.beta(rate * spread, (1 - rate) * spread, runs)
