"""A stop after any write, lost, repeated and reordered events: the end of a rollout is the same."""

from collections.abc import Callable
from typing import Any

import pytest

from cluster import Step, crash_everywhere, mangle_everywhere
from routers import SLO, Script, Serving

pytestmark = pytest.mark.slow

# One metric and a short way, so that each of the many runs takes few seconds of the cluster's time.
QUICK = {
    "slo": SLO,
    "rollout": {"canary": {"steps": [{"setWeight": 20}, {"setWeight": 50}]}},
    "analysis": {"interval": "1s", "metrics": [{"name": "error_rate", "maxIncrease": 0.05}]},
}


def new_cluster() -> Serving:
    cluster = Serving()
    for version in ("v1", "v2", "v3"):
        cluster.add_version(version)
    cluster.routers.delay = 0
    return cluster


def on(act: Callable[[Serving], Any]) -> Step:
    return lambda cluster: act(cluster)  # type: ignore[arg-type]  # every cluster here is Serving


def seconds(count: int) -> list[Step]:
    """A round of routers each; the operator answers it in the harness's settle."""
    return [on(lambda cluster: cluster.second())] * count


def deploy(cluster: Serving) -> None:
    cluster.deploy("v1", **QUICK)


def break_v2(cluster: Serving) -> None:
    cluster.script["v2"] = Script(errors=0.5)


PROMOTE = [on(deploy), *seconds(3), on(lambda c: c.serve("v2")), *seconds(18)]
ROLLBACK = [on(deploy), *seconds(3), on(break_v2), on(lambda c: c.serve("v2")), *seconds(18)]
# A minute later its failures are in no figure any more.
ROLLBACK += [on(lambda c: c.tick(70))]
SUPERSEDE = [
    on(deploy), *seconds(3), on(lambda c: c.serve("v2")), *seconds(4), on(lambda c: c.serve("v3")), *seconds(26),
]  # fmt: skip
ASKED = [
    on(deploy), *seconds(3), on(lambda c: c.serve("v2")), *seconds(3), on(lambda c: c.ask("abort")), *seconds(2),
    on(lambda c: c.ask("retry")), *seconds(3), on(lambda c: c.ask("promote")), *seconds(8),
]  # fmt: skip
ENDS = {
    "promote": (PROMOTE, [("v1", "Promoted"), ("v2", "Promoted")]),
    "rollback": (ROLLBACK, [("v1", "Promoted"), ("v2", "RolledBack")]),
    "supersede": (SUPERSEDE, [("v1", "Promoted"), ("v2", "Superseded"), ("v3", "Promoted")]),
    "asked": (ASKED, [("v1", "Promoted"), ("v2", "Aborted"), ("v2", "Promoted")]),
}


@pytest.mark.parametrize("name", ENDS)
def test_the_trajectory_comes_to_its_end(name: str) -> None:
    steps, wanted = ENDS[name]
    cluster = new_cluster()
    for step in steps:
        step(cluster)
        cluster.settle()
    assert [outcome[:2] for outcome in cluster.outcomes] == wanted


@pytest.mark.parametrize("name", ENDS)
def test_a_stop_after_any_write_changes_nothing_in_the_end(name: str) -> None:
    stops = crash_everywhere(new_cluster, ENDS[name][0])
    assert stops >= 60


@pytest.mark.parametrize("name", ENDS)
def test_lost_repeated_and_reordered_events_change_nothing_in_the_end(name: str) -> None:
    mangle_everywhere(new_cluster, ENDS[name][0])
