"""What can't go on says what it waits for or why it ended, and what to do about it."""

import re
import time

import given
from stage import Stage, condition, stands, status

ZEROS = "sha256:" + 64 * "0"


def test_a_run_waits_for_a_dataset_by_name_and_goes_on_when_it_appears(stage: Stage, bands: str) -> None:
    stage.given(given.run("early", "bandss"))
    said = stage.says("TrainingRun", "early", "InputsReady", "False", "DatasetNotFound")
    assert said == "Waiting for Dataset bandss. There is a Dataset bands."
    waits = stage.reaches("TrainingRun", "early", "Pending")
    stands(waits, InputsReady="False", Succeeded="Unknown", Reconciling="True", Stalled="False")
    assert not stage.pods("early")

    stage.given(given.dataset("bandss", checks=[{"metric": "rows", "min": 700}]))
    ready = stage.reaches("Dataset", "bandss", "Ready")
    assert status(ready)["rows"] == 750
    assert status(ready)["splits"] == [
        {"name": "train", "rows": 540},
        {"name": "validation", "rows": 60},
        {"name": "test", "rows": 150},
    ]
    assert status(ready)["digest"] == status_of(stage, "Dataset", bands)["digest"], "same rows, same digest"
    run = stage.reaches("TrainingRun", "early", "Succeeded")
    assert status(run)["inputs"]["dataset"] == {"name": "bandss", "digest": status(ready)["digest"]}


def test_data_that_is_not_what_it_is_said_to_be_fails_with_the_file_and_the_finding(stage: Stage) -> None:
    stage.given(given.dataset("broken", "broken"))

    found = stage.reaches("Dataset", "broken", "Failed")

    stands(found, InputsReady="False", Ready="False", Reconciling="False", Stalled="True")
    assert condition(found, "InputsReady")["reason"] == "SourceUnreadable"
    assert (
        condition(found, "InputsReady")["message"]
        == "train-images-idx3-ubyte: magic number 0x00000000, an IDX image file has 0x00000803."
    )


def test_data_that_misses_a_check_is_rejected_until_the_check_changes(stage: Stage) -> None:
    stage.given(given.dataset("small", checks=[{"metric": "rows", "min": 1000}]))
    found = stage.reaches("Dataset", "small", "Rejected")
    stands(found, GatesPassed="False", Ready="False", Reconciling="False", Stalled="True")
    assert condition(found, "Ready")["message"] == "rows 750, min 1,000."

    stage.patch("dset", "small", {"checks": [{"metric": "rows", "min": 500}]})
    found = stage.reaches("Dataset", "small", "Ready")
    stands(found, GatesPassed="True", Ready="True", Stalled="False")


def test_bytes_of_another_digest_are_not_loaded(stage: Stage) -> None:
    stage.given(given.version("other", "plain-1", digest=ZEROS), given.deployment("served-other", "other"))

    found = stage.reaches("ModelVersion", "other", "Failed")

    stands(found, Verified="False", Ready="False", Reconciling="False", Stalled="True")
    assert condition(found, "Verified")["reason"] == "DigestMismatch"
    said = r"spec.digest is sha256:000000000000, the file is sha256:[0-9a-f]{12}; it is not loaded."
    assert re.fullmatch(said, condition(found, "Verified")["message"])
    said = stage.says("ModelDeployment", "served-other", "InputsReady", "False", "ModelVersionUnusable")
    assert said.startswith(
        "ModelVersion other is Failed and never served: spec.digest is sha256:000000000000"
    )
    assert not stage.pods("served-other")


def test_a_file_that_is_not_there_is_named(stage: Stage) -> None:
    stage.given(given.version("lost", "nowhere"))

    found = stage.reaches("ModelVersion", "lost", "Failed")

    assert condition(found, "Verified")["reason"] == "SourceUnreadable"
    assert "e2e/models/nowhere.onnx" in condition(found, "Verified")["message"]


def test_replicas_that_no_node_takes_say_so_and_start_once_one_does(stage: Stage) -> None:
    stage.given(given.version("plain", "plain-1"))
    stage.given(given.deployment("nowhere", "plain", pod={"nodeSelector": {"slipway.dev/e2e": "moon"}}))

    said = stage.says("ModelDeployment", "nowhere", "Available", "False", "ReplicasUnhealthy")
    assert said.startswith("No node takes the pod: 0/1 nodes are available: 1 node(s) didn't match")
    found = stage.reaches("ModelDeployment", "nowhere", "Pending")
    stands(found, InputsReady="True", Ready="False", Reconciling="True", Stalled="False")

    stage.patch("mdep", "nowhere", {"pod": None})
    found = stage.reaches("ModelDeployment", "nowhere", "Healthy")
    assert [entry["outcome"] for entry in status(found)["history"]] == ["Promoted", "Superseded"]


def test_a_run_that_no_node_takes_ends_at_its_start_deadline(stage: Stage, bands: str) -> None:
    huge = {"requests": {"cpu": "1000", "memory": "64Mi"}}
    trainer = {"numNodes": 1, "resourcesPerNode": huge}
    stage.given(given.run("huge", bands, trainer=trainer, startDeadline="12s"))

    said = stage.says("TrainingRun", "huge", "Trained", "False", "Unschedulable", seconds=20)
    assert said.startswith("No node takes the pod: 0/1 nodes are available: 1 Insufficient cpu")
    found = stage.reaches("TrainingRun", "huge", "Failed", seconds=60)

    stands(found, InputsReady="True", Trained="False", Succeeded="False", Reconciling="False", Stalled="True")
    assert status(found)["failure"]["class"] == "Scheduling"
    assert status(found)["result"] == "Scheduling"
    assert "did not start within startDeadline (12s)" in status(found)["summary"]
    assert status(found)["summary"].endswith("Repair that and create a new run.")
    gone(stage, "huge")


def test_a_run_over_its_memory_says_so_with_the_limit_and_the_remedy(stage: Stage, bands: str) -> None:
    tight = {"requests": {"cpu": "100m", "memory": "96Mi"}, "limits": {"memory": "96Mi"}}
    trainer = {"numNodes": 1, "resourcesPerNode": tight}
    stage.given(given.run("tight", bands, trainer=trainer, failurePolicy={"maxRestarts": 0}))

    found = stage.reaches("TrainingRun", "tight", "Failed")

    stands(found, Trained="False", Succeeded="False", Reconciling="False", Stalled="True")
    assert status(found)["failure"]["class"] == "OutOfMemory"
    assert condition(found, "Trained")["reason"] == "OutOfMemory"
    assert status(found)["summary"] == (
        "Out of memory on node 0 in attempt 1 of 1 (limit 96Mi). "
        "Raise trainer.resourcesPerNode.limits.memory, or lower hyperparameters.batchSize (32)."
    )


def test_a_version_that_misses_a_gate_is_kept_and_never_served(stage: Stage, bands: str) -> None:
    model = given.model("careful", {"name": "candidate", "latest": {}})
    # Better than any model can be sure to be: 150 samples leave room for doubt.
    gates = [{"metric": "accuracy", "min": 0.999, "confidence": 0.95}]
    run = given.run("hasty", bands, gates=gates, output={"modelRef": {"name": "careful"}})
    stage.given(
        model,
        given.deployment("hasty-live", modelRef={"name": "careful", "alias": "candidate"}),
        given.deployment("hasty-named", "hasty"),
        run,
    )

    found = stage.reaches("TrainingRun", "hasty", "Rejected")
    stands(found, Trained="True", GatesPassed="False", Succeeded="False", Reconciling="False", Stalled="True")
    assert condition(found, "Succeeded")["reason"] == "GateMissed"
    assert status(found)["summary"].endswith(
        "registered as ModelVersion hasty, Rejected: it is never served."
    )
    version = stage.reaches("ModelVersion", "hasty", "Rejected")
    stands(version, Verified="True", GatesPassed="False", Ready="False", Stalled="True")
    assert "no alias or deployment takes it" in status(version)["summary"]

    said = stage.says("ModelDeployment", "hasty-live", "InputsReady", "False", "AliasEmpty")
    assert "hasty (Rejected)" in said
    said = stage.says("ModelDeployment", "hasty-named", "InputsReady", "False", "ModelVersionUnusable")
    assert said.startswith("ModelVersion hasty is Rejected and never served")
    assert not stage.pods("hasty-live")
    assert not stage.pods("hasty-named")


def status_of(stage: Stage, kind: str, name: str) -> dict[str, object]:
    found = stage.get(kind, name)
    assert found is not None
    return status(found)


def gone(stage: Stage, owner: str) -> None:
    """No pod of an ended run is left waiting."""
    deadline = time.monotonic() + 60
    while left := [pod for pod in stage.pods(owner) if pod["status"]["phase"] in ("Pending", "Running")]:
        assert time.monotonic() < deadline, left
        time.sleep(1)
