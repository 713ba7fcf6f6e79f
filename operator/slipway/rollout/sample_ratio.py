"""Does the canary get the share of requests that was asked for? If not, its figures compare nothing.

A Dirichlet-multinomial mixture likelihood ratio against the share asked for (Lindon and Malek): an e-value,
so it may be looked at after every interval. Each span of constant weight is a stratum; their evidence
multiplies.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import log
from typing import Any

import numpy as np
from scipy.special import betaln, logsumexp  # type: ignore[import-untyped]  # scipy ships no types

CONCENTRATIONS = np.array([10.0, 1000.0])
"""Wrong shares to look for, equally likely: anywhere (no traffic at all), and within a point or so."""
ALPHA = 0.001


@dataclass(frozen=True)
class SampleRatio:
    """Requests under the weight of now, and the evidence of the weights before."""

    weight: int
    """Percent asked for the canary."""
    canary: int = 0
    stable: int = 0
    earlier: float = 0.0
    """ln of the e-value from the strata that are over."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "SampleRatio":
        return cls(**data)


@dataclass(frozen=True)
class Match:
    mismatch: bool
    asked: float
    """Percent."""
    seen: float | None
    """Percent of the stratum's requests; None without any."""
    log_e: float
    alarm_at: float


def fold(state: SampleRatio, weight: int, canary: int, stable: int) -> SampleRatio:
    """One more interval, in which every router had this weight."""
    if weight != state.weight:
        state = SampleRatio(weight, earlier=round(state.earlier + _log_e(state), 6))
    return replace(state, canary=state.canary + canary, stable=state.stable + stable)


def judge(state: SampleRatio, alpha: float = ALPHA) -> Match:
    total = state.canary + state.stable
    log_e = state.earlier + _log_e(state)
    return Match(
        mismatch=log_e >= -log(alpha),
        asked=float(state.weight),
        seen=100 * state.canary / total if total else None,
        log_e=log_e,
        alarm_at=-log(alpha),
    )


def _log_e(state: SampleRatio) -> float:
    share = state.weight / 100
    if not 0 < share < 1:  # all or nothing is routed, not drawn: there is no ratio to test
        return 0.0
    a, b = CONCENTRATIONS * share, CONCENTRATIONS * (1 - share)
    asked = state.canary * log(share) + state.stable * log(1 - share)
    mixture = betaln(a + state.canary, b + state.stable) - betaln(a, b) - asked
    return float(logsumexp(mixture) - log(len(CONCENTRATIONS)))
