"""The mathematics of a comparison: what one interval adds to the evidence, for many comparisons at once.

Everything here works on arrays whose first axis is the comparison: a controller folds one, the simulation
in tests and bench folds thousands through the very same code. Two kinds of evidence are gathered. Both are
products over intervals of e-variables (expectation at most 1 while the null hypothesis holds, whatever the
past), so by Ville's inequality they may be looked at after every interval:

- Harm. Given how many requests and how many bad ones an interval had, the canary's share of the bad ones is
  hypergeometric if it is no worse, and Fisher's noncentral hypergeometric with the odds ratio theta if it is.
  The ratio doesn't depend on how bad the interval was as a whole: a shared incident is no evidence.
- Difference. For "canary rate - stable rate >= d" and its mirror, the likelihood ratio between rates
  predicted from the past and their Kullback-Leibler projection (q_c, q_s) onto that half-plane. In
  expectation a canary request multiplies in 1 + (p_c - q_c) g_c and a stable request 1 + (p_s - q_s) g_s,
  where -(n_c g_c, n_s g_s) is the gradient at the projection; their product is at most
  exp(n_c g_c (p_c - q_c) + n_s g_s (p_s - q_s)), and that at most 1 for each point of a convex hypothesis.

Both assume that requests fail independently. Where they don't, `dispersion` measures by how much.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln  # type: ignore[import-untyped]  # scipy ships no types

Array = NDArray[np.float64]

ODDS_RATIOS = np.array([1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0])
"""The worse canaries that harm is weighed against, all equally likely beforehand."""
MEMORY = 0.95
"""What an interval keeps of the past when predicting the next one's rate: an incident must be forgotten."""
CLEARLY_DIFFERENT = 3.0
"""From so many standard errors on the arms are predicted each by itself instead of as one."""


@dataclass(frozen=True)
class Evidence:
    """Sums over the intervals so far; shape (comparisons,), or (comparisons, odds ratios or margins)."""

    intervals: Array
    canary_total: Array
    canary_bad: Array
    stable_total: Array
    stable_bad: Array
    recent_total: Array
    recent_bad: Array
    odds_up: Array
    """Numerator and, below, denominator of the Mantel-Haenszel odds ratio."""
    odds_down: Array
    gap: Array
    """Numerator and weight of the Mantel-Haenszel difference of rates: the estimate, free of common drift."""
    gap_weight: Array
    residual: Array
    """Squared residuals of the canary's bad counts; below, the variance independent requests would give."""
    residual_expected: Array
    harm: Array
    """ln of the e-value for each of ODDS_RATIOS."""
    above: Array
    """ln of the e-value against "difference >= margin", each margin."""
    below: Array
    """ln of the e-value against "difference <= margin"."""


def nothing(comparisons: int, margins: int) -> Evidence:
    """No interval seen yet."""
    wide = {"harm": len(ODDS_RATIOS), "above": margins, "below": margins}
    return Evidence(
        **{
            f.name: np.zeros((comparisons, wide[f.name]) if f.name in wide else comparisons)
            for f in fields(Evidence)
        }
    )


def add(
    past: Evidence,
    margins: Array,
    canary_total: Array,
    canary_bad: Array,
    stable_total: Array,
    stable_bad: Array,
) -> Evidence:
    """The evidence after one more interval. An interval in which an arm had no request compares nothing."""
    both = (canary_total > 0) & (stable_total > 0)
    if not both.any():
        return past
    n_c, x, n_s, y = (np.where(both, a, 0.0) for a in (canary_total, canary_bad, stable_total, stable_bad))
    n = np.maximum(n_c + n_s, 1.0)
    odds_up = past.odds_up + x * (n_s - y) / n
    odds_down = past.odds_down + y * (n_c - x) / n
    harm, mean, variance = _harm(n_c, x, n_s, y, np.log((odds_up + 0.5) / (odds_down + 0.5)))
    ratio = _difference(past, margins, n_c, x, n_s, y)
    predicted_c, predicted_s = predicted(past)
    apart = (predicted_c - predicted_s)[:, None]
    keep = np.where(both, MEMORY, 1.0)
    return replace(
        past,
        intervals=past.intervals + both,
        canary_total=past.canary_total + n_c,
        canary_bad=past.canary_bad + x,
        stable_total=past.stable_total + n_s,
        stable_bad=past.stable_bad + y,
        recent_total=past.recent_total * keep + n_c + n_s,
        recent_bad=past.recent_bad * keep + x + y,
        odds_up=odds_up,
        odds_down=odds_down,
        gap=past.gap + (x * n_s - y * n_c) / n,
        gap_weight=past.gap_weight + n_c * n_s / n,
        residual=past.residual + (x - mean) ** 2,
        residual_expected=past.residual_expected + variance,
        harm=past.harm + harm,
        above=past.above + np.where(apart < margins, ratio, 0.0),
        below=past.below + np.where(apart > margins, ratio, 0.0),
    )


def log_harm(evidence: Evidence) -> Array:
    """ln of the e-value that the canary is worse: the mean over ODDS_RATIOS."""
    peak = evidence.harm.max(axis=1)
    return np.asarray(peak + np.log(np.mean(np.exp(evidence.harm - peak[:, None]), axis=1)))


def dispersion(evidence: Evidence) -> Array:
    """How much more the canary's bad counts vary than independent requests would; at least 1.

    The ratio of sums rather than the mean of ratios: with one bad request an interval the latter is noise.
    What exceeds 1 is taken with two standard errors on top: of few intervals it is easily seen too small.
    """
    expected = evidence.residual_expected
    ratio = evidence.residual / np.where(expected > 0, expected, np.inf)
    return 1 + np.maximum(0.0, ratio - 1) * (1 + 2 / np.sqrt(np.maximum(evidence.intervals, 1.0)))


def estimate(evidence: Evidence) -> Array:
    """Canary rate minus stable rate, compared within intervals only."""
    return evidence.gap / np.where(evidence.gap_weight > 0, evidence.gap_weight, 1.0)


def predicted(past: Evidence) -> tuple[Array, Array]:
    """The rates expected of the canary and of stable in the next interval.

    The same for both (that is what a healthy canary looks like, and it passes soonest) unless they are
    clearly different; then each its own, so that the bounds close in on the true difference. Any guess is
    valid here so long as it comes from the past only; a better one finds its verdict sooner.
    """
    shared = (past.recent_bad + 0.5) / (past.recent_total + 50.0)
    both = np.maximum(past.canary_total + past.stable_total, 1.0)
    pooled = (past.canary_bad + past.stable_bad) / both
    error = np.sqrt(pooled * (1 - pooled) / np.maximum(past.gap_weight, 1e-9))
    different = np.abs(estimate(past)) > CLEARLY_DIFFERENT * np.maximum(error, 1e-9)
    canary = (past.canary_bad + 0.5) / (past.canary_total + 1.0)
    stable = (past.stable_bad + 0.5) / (past.stable_total + 1.0)
    return np.where(different, canary, shared), np.where(different, stable, shared)


def projection(canary: Array, stable: Array, margins: Array, n_c: Array, n_s: Array) -> Array:
    """Stable's rate s of the point (s + margin, s) nearest to the rates given, shape (comparisons, margins).

    Nearest by n_c KL(canary | s + margin) + n_s KL(stable | s), convex in s: its slope is bisected.
    """
    share = (n_c / (n_c + n_s))[:, None]
    a_c, a_s = canary[:, None], stable[:, None]
    low = np.broadcast_to(np.maximum(0.0, -margins), (len(n_c), len(margins)))
    high = np.broadcast_to(np.minimum(1.0, 1.0 - margins), low.shape)
    for _ in range(54):  # down to the spacing of floats
        s = 0.5 * (low + high)
        q = s + margins
        rising = share * (q - a_c) * s * (1 - s) + (1 - share) * (s - a_s) * q * (1 - q) > 0
        low, high = np.where(rising, low, s), np.where(rising, s, high)
    return np.asarray(0.5 * (low + high))


def log_ratio(
    canary: Array, stable: Array, s: Array, margins: Array, n_c: Array, x: Array, n_s: Array, y: Array
) -> Array:
    """ln likelihood of the rates predicted over that of (s + margin, s); counts: shape (comparisons, 1)."""
    tiny = np.finfo(np.float64).tiny
    q = np.clip(s + margins, tiny, 1 - 1e-16)
    s = np.clip(s, tiny, 1 - 1e-16)
    a_c, a_s = canary[:, None], stable[:, None]
    return np.asarray(
        x * np.log(a_c / q)
        + (n_c - x) * (np.log1p(-a_c) - np.log1p(-q))
        + y * np.log(a_s / s)
        + (n_s - y) * (np.log1p(-a_s) - np.log1p(-s))
    )


def _difference(past: Evidence, margins: Array, n_c: Array, x: Array, n_s: Array, y: Array) -> Array:
    canary, stable = predicted(past)
    s = projection(canary, stable, margins, np.maximum(n_c, 1e-9), np.maximum(n_s, 1e-9))
    return log_ratio(canary, stable, s, margins, n_c[:, None], x[:, None], n_s[:, None], y[:, None])


def _harm(n_c: Array, x: Array, n_s: Array, y: Array, log_odds: Array) -> tuple[Array, Array, Array]:
    """ln likelihood ratio for each of ODDS_RATIOS; mean and variance of x at the odds ratio seen so far."""
    harm = np.zeros((len(x), len(ODDS_RATIOS)))
    mean, variance = x.copy(), np.zeros(len(x))
    bad = x + y
    tells = (bad > 0) & (bad < n_c + n_s) & (n_c > 0) & (n_s > 0)
    if tells.any():
        thetas = np.log(np.concatenate([[1.0], ODDS_RATIOS]))
        logs = np.column_stack(
            [np.broadcast_to(thetas, (int(tells.sum()), len(thetas))), np.clip(log_odds[tells], -4.6, 4.6)]
        )
        log_z, means, variances = hypergeometric(n_c[tells], n_s[tells], bad[tells], logs)
        harm[tells] = x[tells, None] * logs[:, 1:-1] - (log_z[:, 1:-1] - log_z[:, :1])
        mean[tells], variance[tells] = means[:, -1], variances[:, -1]
    return harm, mean, variance


def hypergeometric(n_c: Array, n_s: Array, bad: Array, log_theta: Array) -> tuple[Array, Array, Array]:
    """Fisher's noncentral hypergeometric: ln of its normaliser (up to a constant that theta doesn't change),
    mean and variance, each of shape (comparisons, thetas).

    Summed over a window around the modes that leaves out less than a double can hold, so that an interval
    of a million requests costs no more than its spread.
    """
    lowest = np.maximum(0.0, bad - n_s)
    highest = np.minimum(bad, n_c)
    theta = np.exp(log_theta)
    b = (n_s - bad)[:, None] + theta * (n_c + bad)[:, None]
    c = theta * (n_c * bad)[:, None]
    mode = 2 * c / (b + np.sqrt(np.maximum(b * b + 4 * (1 - theta) * c, 0.0)))
    mode = np.clip(mode, lowest[:, None], highest[:, None])
    cells = (mode, n_c[:, None] - mode, bad[:, None] - mode, (n_s - bad)[:, None] + mode)
    reach = 10 / np.sqrt(sum(1 / (cell + 0.5) for cell in cells)) + 40
    first = np.maximum(lowest, np.floor((mode - reach).min(axis=1)))
    last = np.minimum(highest, np.ceil((mode + reach).max(axis=1)))
    k = first[:, None] + np.arange(int((last - first).max()) + 1)
    inside = k <= last[:, None]
    k = np.minimum(k, last[:, None])
    cells = (k, n_c[:, None] - k, bad[:, None] - k, (n_s - bad)[:, None] + k)
    log_count = np.where(inside, -sum(gammaln(cell + 1) for cell in cells), -np.inf)
    terms = log_count[:, None, :] + (k - first[:, None])[:, None, :] * log_theta[:, :, None]
    peak = terms.max(axis=2)
    weight = np.exp(terms - peak[:, :, None])
    total = weight.sum(axis=2)
    offset = (weight * (k - first[:, None])[:, None, :]).sum(axis=2) / total
    spread = (weight * ((k - first[:, None])[:, None, :] - offset[:, :, None]) ** 2).sum(axis=2) / total
    return peak + np.log(total) + first[:, None] * log_theta, first[:, None] + offset, spread
