"""kubectl slipway status: the exit codes that scripts build on, and the words beside them."""

import threading
from typing import Any

import pytest

import make
from slipway.cli import status
from slipway.cli.cluster import CliError

PHASES = [
    ("Healthy", 0), ("Degraded", 1), ("Paused", 3), ("Progressing", 124), ("Pending", 124),
]  # fmt: skip


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize(("phase", "code"), PHASES)
def test_the_exit_code_says_how_a_deployment_stands_waiting_or_not(
    shop: Any, capsys: pytest.CaptureFixture[str], phase: str, code: int, wait: bool
) -> None:
    shop.put(make.model_deployment("fashion"), phase=phase, summary="A sentence.")
    assert status.run(shop.cluster, "fashion", wait=wait, timeout=0.3 if wait else None) == code
    assert f"mdep/fashion  {phase}  A sentence." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("phase", "code"), [("Succeeded", 0), ("Rejected", 1), ("Failed", 1), ("Suspended", 3), ("Running", 124)]
)
def test_a_run_is_asked_by_its_kind(shop: Any, phase: str, code: int) -> None:
    shop.put(make.training_run("v1"), phase=phase, summary="A sentence.")
    assert status.run(shop.cluster, "trun/v1", wait=False, timeout=None) == code


def test_waiting_goes_on_until_the_rollout_ends_and_tells_of_that_one_only(
    shop: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.put(make.model_deployment("fashion"), phase="Progressing", summary="Step 1.")
    shop.put(make.model_deployment("other"), phase="Healthy", summary="Quiet.")
    threading.Timer(
        0.5, lambda: shop.report("ModelDeployment", "fashion", phase="Degraded", summary="Rolled back.")
    ).start()
    assert status.run(shop.cluster, "fashion", wait=True, timeout=20) == 1
    told = capsys.readouterr().out
    assert "Step 1." in told
    assert told.splitlines()[-1] == "mdep/fashion  Degraded  Rolled back."
    assert "other" not in told


def test_a_state_of_before_the_last_change_counts_for_nothing(
    shop: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.put(make.model_deployment("fashion"), phase="Healthy", summary="v1.", observedGeneration=0)
    assert status.run(shop.cluster, "fashion", wait=False, timeout=None) == 124
    assert "the state before the last change of its spec" in capsys.readouterr().out


def test_what_serves_the_evidence_and_what_is_amiss_are_told(
    shop: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    revision = {"name": "fashion-6d4f9c", "role": "Stable", "modelVersionRef": {"name": "v1"},
                "weight": 80, "replicas": 2, "readyReplicas": 1}  # fmt: skip
    conditions = [
        make.condition("Ready", "False", "RolloutInProgress", "Step 1 of 2."),
        make.condition("Reconciling", "True", "RolloutInProgress"),
    ]
    shop.put(
        make.model_deployment("fashion"), phase="Progressing", summary="Step 1.",
        revisions=[revision], conditions=conditions,
    )  # fmt: skip
    status.run(shop.cluster, "fashion", wait=False, timeout=None)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  stable fashion-6d4f9c: v1, 80 % of requests, 1 of 2 replicas ready",
        "  Ready False (RolloutInProgress): Step 1 of 2.",
    ]


def test_an_object_the_operator_has_not_seen_is_under_way(
    shop: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.put(make.model_deployment("fashion"))
    assert status.run(shop.cluster, "fashion", wait=False, timeout=None) == 124
    assert "The operator hasn't looked at it yet." in capsys.readouterr().out


@pytest.mark.parametrize("text", ["pod/fashion", "mdep/"])
def test_an_unknown_kind_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(CliError, match="write NAME or KIND/NAME with a kind of"):
        status.parse(text)
