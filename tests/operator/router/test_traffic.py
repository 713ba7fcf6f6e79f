"""Counters as values."""

import itertools
from math import inf

from slipway.router.buckets import LADDER_MS, edge_at_or_above
from slipway.router.traffic import Counters

SOME = Counters(12, 1, 1, ((1.0, 2), (2.1, 6), (28.0, 2), (inf, 1)))


def test_buckets_are_cumulative_and_a_sum_is_that_of_each() -> None:
    assert SOME.buckets == ((1.0, 2), (2.1, 8), (28.0, 10), (inf, 11))
    assert (SOME + SOME).buckets == ((1.0, 4), (2.1, 16), (28.0, 20), (inf, 22))


def test_slow_is_what_lies_above_the_edge() -> None:
    assert [SOME.slower_than(edge) for edge in (0.5, 2.1, 23.0, 28.0)] == [11, 3, 3, 1]


def test_a_difference_leaves_out_what_did_not_change_and_knows_a_reset() -> None:
    later = SOME + Counters(3, 1, 0, ((2.1, 2), (inf, 1)))
    assert later.since(SOME) == Counters(3, 1, 0, ((2.1, 2), (inf, 1)))
    assert SOME.since(SOME) == Counters()
    assert SOME.since(later) is None
    assert Counters(50, 5, 5).since(SOME) is None, "a histogram that lost buckets began anew"


def test_percentiles_lie_inside_their_bucket() -> None:
    assert Counters().percentile(99) is None
    assert Counters(latency=((28.0, 100),)).percentile(50) == 25.5
    assert Counters(latency=((1.0, 98), (28.0, 2))).percentile(99) == 25.5
    assert Counters(latency=((inf, 1),)).percentile(50) == LADDER_MS[-1]


def test_an_slo_rounds_up_to_an_edge() -> None:
    assert [edge_at_or_above(ms) for ms in (25, 28, 0.1, 1e9)] == [28.0, 28.0, 0.5, LADDER_MS[-1]]


def test_edges_rise_by_about_a_fifth() -> None:
    steps = [later / earlier for earlier, later in itertools.pairwise(LADDER_MS)]
    assert min(steps) > 1.1
    assert max(steps) < 1.3
    assert LADDER_MS[0] == 0.5
    assert 50_000 < LADDER_MS[-1] < 70_000
