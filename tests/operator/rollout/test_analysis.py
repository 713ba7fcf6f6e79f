import json
from collections.abc import Iterable
from math import exp, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.rollout import analysis
from slipway.rollout.analysis import MetricState, Table, Verdict

SHARE = analysis.rollback_share(0.01, metrics=2, steps=2)


def after(tables: Iterable[Table], max_increase: float = 0.01) -> MetricState:
    state = analysis.start(max_increase)
    for table in tables:
        state = analysis.fold(state, table)
    return state


def judged(tables: Iterable[Table], max_increase: float = 0.01) -> Verdict:
    return analysis.judge(after(tables, max_increase), max_increase, SHARE, 0.05)


counts = st.integers(0, 400).flatmap(lambda total: st.tuples(st.just(total), st.integers(0, total)))
tables = st.builds(lambda c, s: Table(*c, *s), counts, counts)


def test_two_metrics_and_two_steps_share_the_chance_of_a_false_rollback() -> None:
    assert judged([Table(10, 0, 40, 0)]).rollback_at == pytest.approx(5.99, abs=0.005)


def test_without_requests_in_both_arms_there_is_no_data() -> None:
    for table in (Table(0, 0, 0, 0), Table(0, 0, 500, 3), Table(12, 0, 0, 0)):
        assert after([table]) == analysis.start(0.01)
        assert judged([table]).verdict == "NoData"


def test_a_spotless_canary_passes_after_about_300_requests_and_needs_no_burn_in() -> None:
    clean = [Table(60, 0, 240, 0)]
    assert judged(clean * 4).verdict == "Continue"
    assert judged(clean * 6).verdict == "Pass"
    assert judged(clean * 6).samples_needed is None


def test_samples_needed_foretells_the_pass() -> None:
    clean = [Table(20, 0, 80, 0)]
    needed = judged(clean * 8).samples_needed
    assert needed is not None
    passed = next(n for n in range(8, 40) if judged(clean * n).verdict == "Pass")
    assert (passed - 8) * 20 == pytest.approx(needed, abs=40)


def test_with_bad_requests_a_pass_waits_for_the_burn_in_and_says_how_long() -> None:
    tables = [Table(1000, 1, 4000, 4)]
    early = judged(tables * 4)
    assert (early.verdict, early.samples_needed) == ("Continue", 6000)
    assert judged(tables * analysis.BURN_IN).verdict == "Pass"


def test_a_canary_worse_than_the_margin_will_not_pass() -> None:
    assert judged([Table(20, 1, 80, 0)] * 5).samples_needed is None


def test_a_catastrophe_fails_within_one_interval() -> None:
    assert judged([Table(60, 19, 240, 2)], max_increase=0.02).verdict == "Fail"


def test_a_catastrophe_shows_the_evidence_that_decided() -> None:
    verdict = judged([Table(3, 0, 12, 0), Table(12, 12, 48, 0), Table(15, 15, 60, 0)], max_increase=0.05)
    assert verdict.verdict == "Fail"
    assert verdict.log_e > verdict.rollback_at


def test_a_failure_shows_how_much_worse_the_canary_is() -> None:
    verdict = judged([Table(60, 19, 240, 2)] * 2, max_increase=0.02)
    assert verdict.verdict == "Fail"
    assert verdict.canary == analysis.Arm(120, 38, pytest.approx(0.3167, abs=1e-4))
    assert verdict.difference.estimate == pytest.approx(0.3083, abs=1e-4)
    assert 0 < verdict.difference.lower < verdict.difference.estimate < verdict.difference.upper


def test_the_slow_canary_of_the_api_page_fails_in_five_intervals() -> None:
    verdict = judged([Table(60, 19, 240, 2)] * 4 + [Table(60, 17, 240, 2)], max_increase=0.02)
    assert verdict.verdict == "Fail"
    assert verdict.log_e > 60
    assert 0.12 < verdict.difference.lower < 0.3017 < verdict.difference.upper < 0.7


def test_harm_within_the_tolerated_rise_is_no_failure() -> None:
    tables = [Table(2000, 8, 8000, 8)] * 40
    verdict = judged(tables)
    assert verdict.log_e > verdict.rollback_at
    assert verdict.difference.estimate == pytest.approx(0.003)
    assert verdict.verdict == "Pass"
    assert judged(tables, max_increase=0.002).verdict == "Fail"


def test_bad_requests_in_clumps_weaken_the_evidence() -> None:
    even = judged([Table(100, 4, 400, 4)] * 20)
    clumped = judged(([Table(100, 0, 400, 4)] * 4 + [Table(100, 20, 400, 4)]) * 4)
    assert even.difference.estimate == clumped.difference.estimate
    assert clumped.dispersion > 3
    assert clumped.log_e < even.log_e / 2


def test_a_changed_max_increase_is_judged_by_the_nearest_smaller_margin() -> None:
    state = after([Table(60, 0, 240, 0)] * 6, 0.01)
    assert analysis.judge(state, 0.0101, SHARE, 0.05).verdict == "Pass"
    assert analysis.judge(state, 0.009, SHARE, 0.05).verdict == "Continue"


@settings(deadline=None, max_examples=40)
@given(st.lists(tables, max_size=6), st.sampled_from([0.0, 0.01, 0.02, 0.037]))
def test_a_restart_changes_nothing(seen: list[Table], max_increase: float) -> None:
    state = after(seen, max_increase)
    read = MetricState.from_json(json.loads(json.dumps(state.to_json())))
    assert read == state
    next_table = Table(30, 2, 120, 3)
    assert analysis.fold(read, next_table) == analysis.fold(state, next_table)


@settings(deadline=None, max_examples=40)
@given(st.lists(tables, min_size=1, max_size=6))
def test_figures_are_finite_and_the_interval_is_one(seen: list[Table]) -> None:
    verdict = judged(seen)
    assert -1 <= verdict.difference.lower <= verdict.difference.upper <= 1
    assert verdict.dispersion >= 1
    assert abs(verdict.log_e) < 1e6


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 200), st.integers(1, 200), st.data())
def test_one_more_bad_canary_request_is_more_evidence_of_harm(
    n_c: int, n_s: int, data: st.DataObject
) -> None:
    x = data.draw(st.integers(0, n_c - 1))
    y = data.draw(st.integers(1, n_s))
    fewer, more = judged([Table(n_c, x, n_s, y)]), judged([Table(n_c, x + 1, n_s, y - 1)])
    assert more.log_e * more.dispersion >= fewer.log_e * fewer.dispersion - 1e-9


def test_the_state_stays_small() -> None:
    state = after([Table(997, 31, 4011, 87)] * 50)
    assert len(json.dumps(state.to_json(), separators=(",", ":"))) < 2000


def test_a_million_requests_an_interval_are_judged_sharply() -> None:
    worse = judged([Table(500_000, 10_000, 500_000, 5_000)] * 10, max_increase=0.001)
    assert worse.verdict == "Fail"
    equal = judged([Table(500_000, 5_000, 500_000, 5_000)] * 10, max_increase=0.001)
    assert equal.verdict == "Pass"


def test_more_bad_than_requests_is_refused() -> None:
    with pytest.raises(ValueError, match="canary: 3 bad of 2 requests"):
        Table(2, 3, 10, 0)


def test_the_first_interval_of_two_equal_odds_has_the_known_e_value() -> None:
    # One bad request, on the canary, which has half of the requests: theta * 2 / (theta + 1).
    verdict = judged([Table(1, 1, 1, 0)])
    odds = [1.25, 1.5, 2, 3, 4, 6, 10, 20]
    assert exp(verdict.log_e * verdict.dispersion) == pytest.approx(
        sum(2 * theta / (theta + 1) for theta in odds) / len(odds), rel=1e-5
    )
    assert verdict.log_e < log(2)
