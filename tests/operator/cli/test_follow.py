"""Following a namespace on a real API server."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import urllib3

import make
from slipway.cli import follow
from slipway.cli.cluster import CliError, Cluster
from slipway.cli.follow import Goal

Out = pytest.CaptureFixture[str]


def deployment(name: str = "fashion", **status: Any) -> make.Manifest:
    return make.model_deployment(name, status={"observedGeneration": 1, **status})


def soon(act: Callable[[], None], after: float = 0.4) -> threading.Thread:
    timer = threading.Timer(after, act)
    timer.start()
    return timer


def test_what_is_there_is_told_and_then_what_happens_until_the_goal(shop: Any, capsys: Out) -> None:
    shop.put(make.model_deployment("fashion"), phase="Progressing", summary="Step 1 of 2.")
    ready = make.condition("Ready", "True", "UpToDate")
    soon(
        lambda: shop.report("ModelDeployment", "fashion", phase="Healthy", summary="v2.", conditions=[ready])
    )
    goal = Goal.parse("mdep/fashion:Ready")
    assert follow.run(shop.cluster, goal.reached, time.monotonic() + 20, about=goal.about) == 0
    assert [line[10:] for line in capsys.readouterr().out.splitlines()] == [
        "mdep/fashion  Progressing  Step 1 of 2.",
        "mdep/fashion  Healthy  v2.",
    ]


def test_the_deadline_ends_it_in_time_even_when_nothing_happens(shop: Any, capsys: Out) -> None:
    began = time.monotonic()
    assert follow.run(shop.cluster, None, began + 0.5) == follow.TIME_OUT
    assert time.monotonic() - began < 3
    assert capsys.readouterr().out == "Nothing of Slipway in namespace cli yet; waiting.\n"


def test_a_goal_that_holds_already_is_seen_with_no_time_to_wait(shop: Any) -> None:
    ready = make.condition("Ready", "True", "UpToDate")
    shop.put(make.model_deployment("fashion"), phase="Healthy", summary="v1.", conditions=[ready])
    goal = Goal.parse("ModelDeployment/fashion:Ready")
    assert follow.run(shop.cluster, goal.reached, time.monotonic()) == 0


def test_a_deletion_is_told_and_ends_it_when_it_is_about_that_object(shop: Any, capsys: Out) -> None:
    shop.put(make.model_deployment("fashion"), phase="Progressing", summary="Step 1.")
    soon(lambda: shop.delete("ModelDeployment", "fashion"))
    goal = Goal.parse("mdep/fashion:Ready")
    with pytest.raises(CliError, match="ModelDeployment fashion was deleted"):
        follow.run(shop.cluster, goal.reached, time.monotonic() + 20, about=goal.about)
    assert capsys.readouterr().out.splitlines()[-1][10:] == "mdep/fashion  deleted"


def test_a_namespace_that_is_not_there_is_an_error_and_no_endless_wait(shop: Any) -> None:
    with pytest.raises(CliError, match="there is no namespace nowhere: name one with -n"):
        follow.run(replace(shop.cluster, namespace="nowhere"), None, time.monotonic() + 20)


class Flaky:
    """A cluster whose first watches lose their connection; what happens meanwhile is seen by a new list."""

    def __init__(self, cluster: Cluster, losses: int) -> None:
        self.cluster, self.losses = cluster, losses
        self.watches = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cluster.custom, name)

    def list_namespaced_custom_object(self, *words: Any, **more: Any) -> Any:
        """
        :return: object
        """
        if more.get("watch"):
            self.watches += 1
            if self.watches <= self.losses:
                raise urllib3.exceptions.ProtocolError("Connection broken")
        return self.cluster.custom.list_namespaced_custom_object(*words, **more)


def test_a_lost_connection_is_told_once_and_made_anew_without_haste(
    shop: Any, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "RECONNECT_SECONDS", 0.6)
    shop.put(make.model_deployment("fashion"), phase="Progressing", summary="Step 1.")
    shop.put(make.model_deployment("other"), phase="Healthy", summary="v1.")
    flaky = Flaky(shop.cluster, losses=6)

    def meanwhile() -> None:
        shop.delete("ModelDeployment", "other")
        shop.report("ModelDeployment", "fashion", phase="Paused", summary="Asks.")

    soon(meanwhile, 0.2)

    def paused(manifest: make.Manifest) -> int | None:
        return 0 if manifest["status"]["phase"] == "Paused" else None

    assert follow.run(replace(shop.cluster, custom=flaky), paused, time.monotonic() + 20) == 0
    told = [line[10:] for line in capsys.readouterr().out.splitlines()]
    assert sum("trying again" in line for line in told) == 1
    assert told.count("The cluster answers again.") <= 1
    assert told[-1] == "mdep/fashion  Paused  Asks."
    assert "mdep/other  deleted" in told, "it went while nobody watched"
    assert flaky.watches <= 12, "each kind once before and once after"


@pytest.mark.parametrize(
    "text", ["fashion", "mdep/fashion", "mdep/:Ready", "pod/fashion:Ready", "mdep/fashion:"]
)
def test_a_goal_that_cannot_be_read_is_refused_with_the_kinds_there_are(text: str) -> None:
    with pytest.raises(CliError, match=r"write KIND/NAME:CONDITION with a kind of .*mdep, model,"):
        Goal.parse(text)


@pytest.mark.parametrize(
    ("conditions", "generation", "code"),
    [
        ([("Ready", "True")], 1, 0),
        ([("Ready", "False")], 1, None),
        ([("Ready", "False"), ("Stalled", "True")], 1, 1),
        ([("Ready", "True")], 2, None),
    ],
)
def test_a_goal_is_reached_by_the_present_generation(
    conditions: list[tuple[str, str]], generation: int, code: int | None
) -> None:
    manifest = deployment(
        conditions=[make.condition(type_, status, "Because") for type_, status in conditions]
    )
    manifest["metadata"]["generation"] = generation
    assert Goal.parse("mdep/fashion:Ready").reached(manifest) == code
    assert Goal.parse("mdep/another:Ready").reached(manifest) is None
