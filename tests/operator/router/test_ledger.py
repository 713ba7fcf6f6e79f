"""Totals that never go down, and intervals that hold one set of weights each."""

import itertools
from datetime import UTC, datetime, timedelta
from math import inf

from slipway.router import ledger
from slipway.router.acks import Acks
from slipway.router.ledger import Ledger
from slipway.router.scrape import Scrape
from slipway.router.traffic import Counters, Rates, Traffic

BEGAN = datetime(2026, 11, 24, 10, tzinfo=UTC)
KEY = "demo/fashion"
ONE, TWO = f"{KEY}/one", f"{KEY}/two"
SPLIT = (("one", 80), ("two", 20))
LONG_UP = 86400


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def scrape(uptime: int = LONG_UP, **counts: int) -> Scrape:
    return Scrape(uptime, {f"{KEY}/{name}": Counters(total, 0) for name, total in counts.items()})


def test_what_a_router_counted_before_this_leader_began_is_not_of_its_epoch() -> None:
    book = Ledger(BEGAN)
    book.record(at(1), {"a": scrape(one=1000)}, {KEY: SPLIT})
    book.record(at(2), {"a": scrape(one=1010)}, {KEY: SPLIT})
    assert book.totals == {ONE: Counters(10)}


def test_a_router_that_came_later_counts_from_its_first_request() -> None:
    book = Ledger(BEGAN)
    book.record(at(100), {"a": scrape()}, {KEY: SPLIT})
    book.record(at(110), {"a": scrape(), "b": scrape(uptime=5, one=7)}, {KEY: SPLIT})
    assert book.totals == {ONE: Counters(7)}


def test_totals_go_on_over_a_restart_even_if_the_new_count_is_higher() -> None:
    book = Ledger(BEGAN)
    book.record(at(1), {"a": scrape()}, {KEY: SPLIT})
    book.record(at(2), {"a": scrape(one=5)}, {KEY: SPLIT})
    book.record(at(20), {"a": scrape(uptime=10, one=9)}, {KEY: SPLIT})
    assert book.totals == {ONE: Counters(14)}


def test_a_cluster_that_begins_anew_alone_is_added() -> None:
    book = Ledger(BEGAN)
    for second, count in enumerate((0, 50, 3, 4)):
        book.record(at(second), {"a": scrape(one=count)}, {KEY: SPLIT})
    assert book.totals == {ONE: Counters(54)}


def test_http_and_grpc_and_all_routers_are_one_revision() -> None:
    book = Ledger(BEGAN)
    book.record(at(1), {"a": scrape(), "b": scrape()}, {KEY: SPLIT})
    latency = ((2.1, 3), (inf, 1))
    counted = Scrape(
        LONG_UP, {ONE: Counters(4, 1, 1, latency), f"{ONE}/grpc": Counters(2, 2, 0, ((1.0, 2), (2.1, 1)))}
    )
    book.record(at(2), {"a": counted, "b": counted}, {KEY: SPLIT})
    assert book.totals == {ONE: Counters(12, 6, 2, ((1.0, 4), (2.1, 8), (inf, 2)))}


def test_evidence_holds_no_request_of_other_weights() -> None:
    book = Ledger(BEGAN)
    for second, (count, weights) in enumerate(
        [
            (0, SPLIT),
            (10, SPLIT),
            (20, SPLIT),
            (35, (("one", 50), ("two", 50))),
            (45, (("one", 50), ("two", 50))),
        ]
    ):
        book.record(at(second), {"a": scrape(one=count)}, {KEY: weights})
        if second == 2:
            assert [interval.revisions for interval in book.intervals()[KEY]] == [
                {"one": Counters(10)},
                {"one": Counters(10)},
            ]
    (only,) = book.intervals()[KEY]
    assert (only.start, only.end, only.revisions) == (at(3), at(4), {"one": Counters(10)})
    assert book.totals == {ONE: Counters(45)}, "totals and rates leave nothing out"
    assert book.rates() == {ONE: Rates(4.0, Counters(45))}


def test_while_routers_differ_there_is_no_evidence() -> None:
    book = Ledger(BEGAN)
    for second in range(5):
        book.record(at(second), {"a": scrape(one=second * 10)}, {KEY: None})
    assert book.intervals() == {}
    assert book.totals == {ONE: Counters(40)}


def test_a_long_step_keeps_every_request_in_fewer_intervals() -> None:
    book = Ledger(BEGAN)
    rounds = 3 * ledger.MOST_INTERVALS
    for second in range(rounds):
        book.record(at(second), {"a": scrape(one=second, two=second)}, {KEY: SPLIT})
    intervals = book.intervals()[KEY]
    assert len(intervals) <= ledger.MOST_INTERVALS
    assert sum(interval.revisions["one"].total for interval in intervals) == rounds - 1
    assert all(one.end == two.start for one, two in itertools.pairwise(intervals))


def test_one_arm_keeps_a_minute_only() -> None:
    book = Ledger(BEGAN)
    for second in range(200):
        book.record(at(second), {"a": scrape(one=second)}, {KEY: (("one", 100),)})
    assert len(book.intervals()[KEY]) == 60
    assert book.rates()[ONE].requests_per_s == 1.0


def test_what_is_no_longer_routed_is_forgotten() -> None:
    book = Ledger(BEGAN)
    book.record(at(0), {"a": scrape()}, {KEY: SPLIT})
    book.record(at(1), {"a": scrape(one=5)}, {KEY: SPLIT})
    book.record(at(2), {"a": scrape(one=6)}, {})
    assert (book.totals, book.intervals(), book.rates()) == ({}, {}, {})


def test_shares_are_of_the_last_minute_under_these_weights() -> None:
    book = Ledger(BEGAN)
    for second in range(120):
        book.record(at(second), {"a": scrape(one=4 * second, two=second)}, {KEY: SPLIT})
    assert Traffic(intervals=book.intervals()).shares(KEY) == {"one": 80.0, "two": 20.0}
    assert Traffic().shares(KEY) == {}


def test_a_weight_is_acknowledged_when_every_ready_router_holds_it() -> None:
    acks = Acks()
    acks.update(at(0), [ONE, TWO], [{ONE: 80, TWO: 20}, {ONE: 100, TWO: 0}])
    assert (acks.acked, acks.weights, acks.since) == ({}, {KEY: None}, {})
    acks.update(at(1), [ONE, TWO], [{ONE: 80, TWO: 20}, {ONE: 80, TWO: 20}])
    acks.update(at(9), [ONE, TWO], [{ONE: 80, TWO: 20}, {ONE: 80, TWO: 20}])
    assert (acks.acked, acks.weights, acks.since) == ({ONE: 80, TWO: 20}, {KEY: SPLIT}, {KEY: at(1)})
    acks.update(at(10), [ONE, TWO], [{ONE: 80, TWO: 20}, {}])
    assert acks.acked == {}, "a router that has just come holds nothing yet"
    acks.update(at(11), [ONE, TWO], [])
    assert acks.acked == {}, "no router, no acknowledgement"
