import numpy as np
import pytest

from slipway_jobs import statistics


def test_wilson_gives_the_interval_of_the_api_example() -> None:
    low, high = statistics.wilson(9060, 10000)
    assert (round(low, 4), round(high, 4)) == (0.9001, 0.9116)


def test_wilson_stays_within_0_and_1() -> None:
    assert statistics.wilson(0, 10)[0] == pytest.approx(0, abs=1e-12)
    assert statistics.wilson(10, 10)[1] == 1
    assert statistics.wilson(0, 0) == (0.0, 1.0)


def test_newcombe_gives_the_interval_of_his_paper() -> None:
    # Newcombe 1998, table III: a=36, b=12, c=2, d=0 by method 10: 0.0569 to 0.3404.
    low, high = statistics.paired_difference(36, 12, 2, 0)
    assert (round(low, 4), round(high, 4)) == (0.0569, 0.3404)


def test_pairing_is_sharper_than_two_separate_intervals() -> None:
    low, high = statistics.paired_difference(9040, 20, 18, 922)
    assert low < 0.0002 < high
    separate = 2 * (0.9116 - 0.9001)
    assert high - low < separate / 4


def test_a_paired_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(400):
        both, first, second, neither = rng.multinomial(2000, [0.90, 0.012, 0.006, 0.082])
        low, high = statistics.paired_difference(int(both), int(first), int(second), int(neither))
        covered += low <= 0.006 <= high
    assert 0.92 <= covered / 400 <= 0.99


def test_a_ratio_of_medians_finds_a_known_speedup() -> None:
    rng = np.random.default_rng(0)
    slow, fast = rng.normal(2.0, 0.2, 1000), rng.normal(1.0, 0.1, 1000)
    value, low, high = statistics.ratio_of_medians(slow, fast)
    assert low < 2.0 < high
    assert value == pytest.approx(2.0, abs=0.03)
    assert high - low < 0.06
