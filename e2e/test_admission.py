"""What the API server refuses at once, and how it says so to the person who applies it."""

import copy
from typing import Any

import pytest

import given
from stage import Stage

DEPLOYMENT = given.deployment("wrong", "any", **given.CANARY)
RUN = given.run("wrong", "any", output={"modelRef": {"name": "any"}})
COMPRESSION = given.compression("wrong", "any")
DATASET = given.dataset("wrong")
WRONG: dict[str, tuple[given.Manifest, str, Any, str]] = {
    "unknown field": (DEPLOYMENT, "rollout.canary.step", [], 'unknown field "spec.rollout.canary.step"'),
    "weights that fall": (
        DEPLOYMENT,
        "rollout.canary.steps",
        [{"setWeight": 50}, {"setWeight": 20}],
        "rollout.canary.steps: weights must rise and stay between 1 and 99, got [50, 20]",
    ),
    "more replicas than the most": (
        DEPLOYMENT,
        "autoscaling",
        {"minReplicas": 4, "maxReplicas": 3},
        "autoscaling.minReplicas (4) is above maxReplicas (3)",
    ),
    "slow_rate without a threshold": (
        DEPLOYMENT,
        "slo",
        {},
        "analysis metric slow_rate needs slo.latency",
    ),
    "two models": (
        DEPLOYMENT,
        "modelRef",
        {"name": "any", "alias": "candidate"},
        "set exactly one of modelRef and modelVersionRef",
    ),
    "percent where a fraction is meant": (
        RUN,
        "gates",
        [{"metric": "accuracy", "min": 92}],
        "accuracy is a fraction from 0 to 1: did you mean 0.92?",
    ),
    "a gate that nothing passes": (
        RUN,
        "gates",
        [{"metric": "accuracy", "min": 0.9, "max": 0.8}],
        "is above max",
    ),
    "a gate without a bound": (RUN, "gates", [{"metric": "accuracy"}], "set min, max or both"),
    "two architectures": (RUN, "model.resnet", {}, "set exactly one of model.cnn and model.resnet"),
    "calibration on what is judged": (
        COMPRESSION,
        "passes",
        [{"name": "int8", "staticQuantize": {"calibration": {"split": "test", "samples": 64}}}],
        "calibration.split and evaluation.split are both test: calibrate on train or validation",
    ),
    "no rows left for train": (
        DATASET,
        "split",
        {"method": "Random", "validationFraction": 0.7, "testFraction": 0.5},
        "they must leave rows for train",
    ),
    "a length that is none": (RUN, "startDeadline", "10 minutes", "startDeadline"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_spec_that_can_not_work_is_refused_with_what_to_change(stage: Stage, case: str) -> None:
    manifest, path, value, said = WRONG[case]
    wrong = copy.deepcopy(manifest)
    *parents, last = path.split(".")
    place = wrong["spec"]
    for name in parents:
        place = place[name]
    place[last] = value

    assert said in stage.refused(wrong)


def test_what_the_refused_were_made_of_is_accepted(stage: Stage) -> None:
    for manifest in (DEPLOYMENT, RUN, COMPRESSION, DATASET):
        stage.accepted(manifest)


def test_a_run_that_was_created_keeps_its_spec(stage: Stage) -> None:
    stage.given(given.run("fixed", "never-there"))
    changed = given.run("fixed", "never-there", epochs=2)

    assert (
        "spec of a TrainingRun is fixed once it is created (suspend, activeDeadline and ttlAfterFinished may change)"
        in stage.refused(changed)
    )

    stage.apply(given.run("fixed", "never-there", suspend=True))
