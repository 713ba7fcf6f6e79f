from itertools import product
from math import comb, exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.rollout import evidence


def one(*values: float) -> list[np.ndarray]:
    return [np.array([float(v)]) for v in values]


def enumerated(n_c: int, n_s: int, bad: int, theta: float) -> dict[int, float]:
    weights = {
        k: comb(n_c, k) * comb(n_s, bad - k) * theta**k for k in range(max(0, bad - n_s), min(n_c, bad) + 1)
    }
    total = sum(weights.values())
    return {k: weight / total for k, weight in weights.items()}


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 60), st.data(), st.sampled_from([0.05, 0.5, 1.0, 2.0, 20.0]))
def test_the_noncentral_hypergeometric_agrees_with_counting(
    n_c: int, n_s: int, data: st.DataObject, theta: float
) -> None:
    bad = data.draw(st.integers(1, n_c + n_s - 1))
    pmf = enumerated(n_c, n_s, bad, theta)
    mean = sum(k * p for k, p in pmf.items())
    variance = sum((k - mean) ** 2 * p for k, p in pmf.items())
    log_z, means, variances = evidence.hypergeometric(*one(n_c, n_s, bad), np.log([[1.0, theta]]))
    assert means[0, 1] == pytest.approx(mean)
    assert variances[0, 1] == pytest.approx(variance, abs=1e-9)
    exact = sum(comb(n_c, k) * comb(n_s, bad - k) * theta**k for k in pmf) / comb(n_c + n_s, bad)
    assert log_z[0, 1] - log_z[0, 0] == pytest.approx(log(exact), abs=1e-9)


def test_a_window_of_a_huge_interval_leaves_nothing_out() -> None:
    counts = one(400_000, 600_000, 90_000)
    log_z, means, _ = evidence.hypergeometric(*counts, np.log([[1.0, 1.25, 20.0]]))
    assert means[0, 0] == pytest.approx(36_000)
    # Fisher's mode equation holds at the mean of so many.
    x = means[0, 2]
    assert x * (600_000 - 90_000 + x) / ((400_000 - x) * (90_000 - x)) == pytest.approx(20, rel=1e-3)
    assert np.all(np.isfinite(log_z))


@pytest.mark.parametrize(("n_c", "n_s", "bad", "odds"), [(5, 20, 4, 1.0), (5, 20, 4, 0.4), (9, 9, 6, 1.0)])
def test_harm_is_an_e_variable_for_a_canary_that_is_no_worse(
    n_c: int, n_s: int, bad: int, odds: float
) -> None:
    expectation = np.zeros(len(evidence.ODDS_RATIOS))
    for x, probability in enumerated(n_c, n_s, bad, odds).items():
        after = evidence.add(evidence.nothing(1, 1), np.array([0.01]), *one(n_c, x, n_s, bad - x))
        expectation += probability * np.exp(after.harm[0])
    assert np.all(expectation <= 1 + 1e-9)
    if odds == 1.0:
        assert expectation == pytest.approx(np.ones(len(expectation)))


def binomial(n: int, k: int, p: float) -> float:
    return comb(n, k) * p**k * (1 - p) ** (n - k)


PASTS = {
    "nothing seen": (0.0, 0.0, 0.0, 0.0),
    "no errors": (300.0, 0.0, 2700.0, 0.0),
    "canary far worse": (300.0, 90.0, 1200.0, 10.0),
    "canary better": (300.0, 3.0, 1200.0, 300.0),
}


@pytest.mark.parametrize("past", PASTS)
@pytest.mark.parametrize("stable_rate", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("beyond", [0.0, 0.1])
def test_the_difference_is_an_e_variable_whatever_was_predicted(
    past: str, stable_rate: float, beyond: float
) -> None:
    margins = np.array([-0.2, 0.0, 0.01, 0.1, 0.3])
    before = evidence.nothing(1, len(margins))
    before = evidence.add(before, margins, *one(*PASTS[past]))
    n_c, n_s = 6, 10
    for at, margin in enumerate(margins):
        for field, canary_rate in (
            ("above", stable_rate + margin + beyond),
            ("below", stable_rate + margin - beyond),
        ):
            if not 0 <= canary_rate <= 1:
                continue
            expectation = 0.0
            for x, y in product(range(n_c + 1), range(n_s + 1)):
                after = evidence.add(before, margins, *one(n_c, x, n_s, y))
                gained = getattr(after, field)[0, at] - getattr(before, field)[0, at]
                expectation += binomial(n_c, x, canary_rate) * binomial(n_s, y, stable_rate) * exp(gained)
            assert expectation <= 1 + 1e-9, (field, margin)


def test_the_projection_is_the_nearest_point_of_the_line() -> None:
    n_c, n_s, a_c, a_s, margin = 50.0, 450.0, 0.012, 0.012, 0.01
    s = evidence.projection(*one(a_c, a_s), np.array([margin]), *one(n_c, n_s))[0, 0]

    def distance(at: float) -> float:
        def kl(a: float, q: float) -> float:
            return a * log(a / q) + (1 - a) * log((1 - a) / (1 - q))

        return n_c * kl(a_c, at + margin) + n_s * kl(a_s, at)

    grid = np.linspace(1e-6, 0.05, 50_000)
    assert s == pytest.approx(min(grid, key=distance), abs=2e-6)


def test_many_comparisons_at_once_are_the_same_as_one_by_one() -> None:
    rng = np.random.default_rng(3)
    margins = np.array([-0.05, 0.0, 0.01, 0.05])
    together = evidence.nothing(40, len(margins))
    alone = [evidence.nothing(1, len(margins)) for _ in range(40)]
    for _ in range(12):
        n_c, n_s = rng.poisson(8, 40), rng.poisson(60, 40)
        x, y = rng.binomial(n_c, 0.05), rng.binomial(n_s, 0.03)
        together = evidence.add(together, margins, *(a.astype(float) for a in (n_c, x, n_s, y)))
        alone = [
            evidence.add(one_of, margins, *one(*row))
            for one_of, row in zip(alone, zip(n_c, x, n_s, y, strict=True), strict=True)
        ]
    for name in ("harm", "above", "below", "residual", "gap", "intervals"):
        assert getattr(together, name) == pytest.approx(np.array([getattr(a, name)[0] for a in alone]))


def test_a_shared_incident_is_no_evidence_of_harm() -> None:
    after = evidence.add(evidence.nothing(1, 1), np.array([0.01]), *one(100, 30, 900, 270))
    assert evidence.log_harm(after)[0] < 0.5


def test_clumps_show_as_dispersion_and_independent_errors_do_not() -> None:
    rng = np.random.default_rng(5)
    margins = np.array([0.01])
    seen = {"alone": evidence.nothing(300, 1), "in clumps": evidence.nothing(300, 1)}
    for _ in range(60):
        n_c, n_s = np.full(300, 150), np.full(300, 1350)
        rates = {"alone": (0.02, 0.02), "in clumps": (rng.beta(2, 98, 300), rng.beta(2, 98, 300))}
        for name, (canary, stable) in rates.items():
            x, y = rng.binomial(n_c, canary), rng.binomial(n_s, stable)
            seen[name] = evidence.add(seen[name], margins, *(a.astype(float) for a in (n_c, x, n_s, y)))
    assert np.median(evidence.dispersion(seen["alone"])) < 1.2
    assert 2 < np.median(evidence.dispersion(seen["in clumps"])) < 5
