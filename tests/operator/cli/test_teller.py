"""What the follower says about an object's state, and what it doesn't say twice."""

import time
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

import make
from slipway.cli import teller
from slipway.cli.teller import Teller


def plain(lines: list[str]) -> list[str]:
    return [Text.from_markup(line).plain for line in lines]


def deployment(phase: str = "Progressing", summary: str = "Step 1.", **more: Any) -> make.Manifest:
    return make.model_deployment("fashion", status={"phase": phase, "summary": summary, **more})


def step(verdict: str) -> dict[str, Any]:
    metric = {
        "name": "error_rate", "maxIncrease": 0.01, "verdict": verdict,
        "canary": {"total": 660, "bad": 3}, "stable": {"total": 2640, "bad": 1},
        "difference": {"estimate": 0.004, "lower": -0.0034, "upper": 0.0048},
        "evidence": {"logE": 7.1, "rollbackAt": 5.99},
    }  # fmt: skip
    return {"rollout": {"revision": "fashion-84b1e0", "steps": [{"setWeight": 20, "metrics": [metric]}]}}


GATE = {
    "metric": "accuracy",
    "min": 0.9,
    "value": 0.8712,
    "samples": 10_000,
    "lower": 0.8645,
    "upper": 0.8776,
}


def test_an_object_that_was_not_looked_at_yet_is_passed_over() -> None:
    assert Teller().lines(make.model_deployment("fashion", status={"observedGeneration": -1}), 0) == []


def test_a_phase_is_told_once_and_the_next_one_at_once() -> None:
    said = Teller()
    assert plain(said.lines(deployment(), 0)) == ["mdep/fashion  Progressing  Step 1."]
    assert said.lines(deployment(), 100) == []
    assert plain(said.lines(deployment("Healthy", "It serves."), 100.1)) == [
        "mdep/fashion  Healthy  It serves."
    ]


def test_a_summary_that_counts_on_is_told_every_few_seconds() -> None:
    said = Teller()
    said.lines(deployment(summary="1 %"), 0)
    assert said.lines(deployment(summary="2 %"), teller.QUIET_SECONDS - 0.1) == []
    assert plain(said.lines(deployment(summary="3 %"), teller.QUIET_SECONDS)) == [
        "mdep/fashion  Progressing  3 %"
    ]


def test_a_summary_with_brackets_is_told_as_it_is() -> None:
    assert (
        "image UINT8 [-1, 28, 28]"
        in plain(Teller().lines(deployment(summary="image UINT8 [-1, 28, 28]"), 0))[0]
    )


def test_a_metric_of_a_step_is_told_once_it_has_its_verdict() -> None:
    said = Teller()
    assert len(said.lines(deployment(**step("Continue")), 0)) == 1
    assert plain(said.lines(deployment(**step("Pass")), 1)) == [
        "    step 1 at 20 %: error_rate Pass: canary 3/660, stable 1/2640, "
        "difference -0.0034 to +0.0048, allowed 0.01"
    ]
    assert said.lines(deployment(**step("Pass")), 2) == []


def test_a_rollback_is_told_with_the_evidence_it_was_decided_by() -> None:
    assert plain(Teller().lines(deployment(**step("Fail")), 0))[1:] == [
        "    step 1 at 20 %: error_rate Fail: canary 3/660, stable 1/2640, ln e-value 7.1, rolled back at 5.99"
    ]


@pytest.mark.parametrize("build", [make.training_run, make.compression_job, make.dataset])
def test_gates_are_told_with_their_figures(build: Any) -> None:
    status = {"phase": "Rejected", "summary": "No.", "gates": [{**GATE, "verdict": "Fail"}]}
    said = Teller()
    assert plain(said.lines(build(status=status), 0))[1:] == [
        "    gate Fail: accuracy 0.8712 is under 0.90 (interval 0.8645 to 0.8776, 10,000 samples)"
    ]
    assert said.lines(build(status=status), 1) == []


def test_gates_of_a_version_are_told_unless_its_producer_told_them() -> None:
    status = {"phase": "Ready", "summary": "Yes.", "gates": [{**GATE, "min": 0.8, "verdict": "Pass"}]}
    own = make.user_version("own")
    own["status"] = status
    made = {
        **own,
        "metadata": {**own["metadata"], "name": "made", "labels": {"slipway.dev/producer": "TrainingRun"}},
    }
    assert len(Teller().lines(own, 0)) == 2
    assert len(Teller().lines(made, 0)) == 1


def test_an_object_deleted_and_made_anew_is_told_from_its_start() -> None:
    said = Teller()
    first = said.lines(deployment(**step("Pass")), 0)
    assert Text.from_markup(said.deleted(deployment())).plain == "mdep/fashion  deleted"
    assert said.lines(deployment(**step("Pass")), 1) == first


def test_what_was_there_before_has_the_time_when_its_state_began() -> None:
    conditions = [make.condition("Ready", "True", "UpToDate"), make.condition("Available", "True", "Serving")]
    manifest = deployment(conditions=conditions)
    said = Teller()
    said.lines(manifest, 0)
    assert time.mktime(said.moment(manifest)) == make.NOW.timestamp()
    said.lines(manifest, 1)
    assert time.mktime(said.moment(manifest)) > make.NOW.timestamp(), "news are of now"


def test_a_terminal_gets_a_hanging_indent_and_a_log_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    line = "[bold]mdep/fashion[/bold]  " + "word " * 30
    teller.show(Console(force_terminal=True, width=60, color_system=None), time.localtime(), line)
    first, *more = capsys.readouterr().out.splitlines()
    assert first[2] == first[5] == ":"
    assert more
    assert all(rest.startswith(" " * 10) and len(rest) <= 60 for rest in more)
    teller.show(Console(width=60), time.localtime(), line)
    assert len(capsys.readouterr().out.splitlines()) == 1
