import json
from dataclasses import replace
from math import exp

import numpy as np
import pytest
from scipy.stats import binom

from slipway.rollout import sample_ratio
from slipway.rollout.sample_ratio import SampleRatio


def test_the_evidence_is_an_e_variable_under_the_share_asked_for() -> None:
    n = 300
    expectation = sum(
        binom.pmf(k, n, 0.2) * exp(sample_ratio.judge(SampleRatio(20, k, n - k)).log_e) for k in range(n + 1)
    )
    assert expectation == pytest.approx(1.0)


def test_the_asked_for_share_raises_no_alarm_however_often_one_looks() -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(400):
        state, alarm = SampleRatio(10), False
        for canary in rng.binomial(600, 0.1, 60):
            state = sample_ratio.fold(state, 10, int(canary), 600 - int(canary))
            alarm |= sample_ratio.judge(state).mismatch
        alarms += alarm
    assert alarms <= 3


def test_a_share_a_fifth_too_high_is_found() -> None:
    state = SampleRatio(10)
    for _ in range(15):
        state = sample_ratio.fold(state, 10, 72, 528)
    match = sample_ratio.judge(state)
    assert match.mismatch
    assert match.seen == pytest.approx(12)


def test_a_canary_without_any_request_is_found_soon() -> None:
    match = sample_ratio.judge(sample_ratio.fold(SampleRatio(20), 20, 0, 60))
    assert match.mismatch
    assert match.seen == 0


def test_a_new_weight_begins_a_stratum_and_keeps_the_evidence() -> None:
    state = sample_ratio.fold(SampleRatio(20), 20, 20, 80)
    before = sample_ratio.judge(state).log_e
    state = sample_ratio.fold(state, 50, 0, 0)
    assert (state.weight, state.canary, state.stable) == (50, 0, 0)
    assert sample_ratio.judge(state).log_e == pytest.approx(before, abs=1e-6)


def test_nothing_is_tested_while_one_arm_has_all() -> None:
    for weight in (0, 100):
        match = sample_ratio.judge(replace(SampleRatio(weight), canary=5, stable=50))
        assert (match.log_e, match.mismatch) == (0.0, False)


def test_it_survives_json() -> None:
    state = sample_ratio.fold(sample_ratio.fold(SampleRatio(20), 20, 21, 80), 50, 10, 11)
    assert SampleRatio.from_json(json.loads(json.dumps(state.to_json()))) == state
