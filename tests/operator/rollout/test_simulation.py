"""What api.md promises of verdicts, kept in simulation: stable has 9 times the canary's requests."""

import pytest

from canary_simulation import Scenario, run

pytestmark = pytest.mark.slow

RUNS = 2000
NOISE = 0.015
"""Three standard errors of a share of 5 % in so many runs."""


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(0.01, 0.01, max_increase=0.0),
        Scenario(0.01, 0.01, max_increase=0.0, incident=(40, 60)),
        Scenario(0.002, 0.002, max_increase=0.0),
        Scenario(0.01, 0.01),
    ],
    ids=["any increase", "any increase, with a shared incident", "few errors", "an increase over 0.01"],
)
def test_a_canary_that_is_no_worse_is_rolled_back_at_most_1_time_in_100(scenario: Scenario) -> None:
    assert run(scenario, RUNS).failed <= 0.01


def test_errors_that_come_in_clumps_hardly_raise_false_rollbacks() -> None:
    scenario = Scenario(0.01, 0.01, per_interval=150, intervals=60, correlation=0.01)
    assert run(scenario, RUNS).failed <= 0.02


def test_three_times_the_errors_are_found_within_600_canary_requests() -> None:
    outcome = run(Scenario(0.03, 0.01, intervals=160), RUNS)
    assert outcome.fail_quantile(0.5) <= 600
    assert outcome.failed >= 0.98


def test_a_catastrophe_is_found_during_burn_in() -> None:
    outcome = run(Scenario(0.5, 0.002, intervals=9), RUNS)
    assert outcome.failed == 1.0
    assert outcome.fail_quantile(0.5) <= 50


@pytest.mark.parametrize(("rate", "requests"), [(0.0, 350), (0.01, 900)])
def test_an_equal_canary_passes_in_the_median_within(rate: float, requests: int) -> None:
    assert run(Scenario(rate, rate, intervals=120), RUNS).pass_quantile(0.5) <= requests


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(0.01, 0.0),
        Scenario(0.012, 0.002),
        Scenario(0.02, 0.01),
        Scenario(0.11, 0.10),
        Scenario(0.02, 0.01, incident=(40, 60)),
        Scenario(0.02, 0.01, stable_times=1, per_interval=75, intervals=60),
        Scenario(0.02, 0.01, per_interval=150, intervals=60, correlation=0.01),
    ],
    ids=["0 to 1", "0.2 to 1.2", "1 to 2", "10 to 11", "incident", "50:50", "in clumps"],
)
def test_a_canary_worse_by_the_whole_margin_passes_at_most_1_time_in_20(scenario: Scenario) -> None:
    assert run(scenario, RUNS).passed <= 0.05 + NOISE


def test_a_shared_incident_delays_but_does_not_prevent_a_pass() -> None:
    outcome = run(Scenario(0.005, 0.005, incident=(10, 20)), RUNS)
    assert outcome.passed >= 0.9
