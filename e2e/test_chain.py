"""From data to an answer by objects alone: dataset, run, version, compression, alias, deployment."""

import numpy as np

import ask
import given
import tiny
from stage import Manifest, Stage, condition, stands, status

MODEL = given.model(
    "bands-cnn",
    {
        "name": "candidate",
        "latest": {"selector": {"matchLabels": {"slipway.dev/producer": "CompressionJob"}}},
    },
    {"name": "champion", "promoted": {"deploymentRef": {"name": "bands-live"}}},
)
JOINS = {"modelRef": {"name": "bands-cnn"}}


def test_objects_applied_in_the_wrong_order_become_an_address_that_answers(
    stage: Stage, bands: str, router: str
) -> None:
    serves = given.deployment("bands-live", modelRef={"name": "bands-cnn", "alias": "candidate"})
    gates = [{"metric": "accuracy_drop", "max": 0.2}, {"metric": "size_bytes", "max": 1000000}]
    smaller = given.compression("bands-v1-int8", "bands-v1", gates=gates, output=JOINS)
    accurate = [{"metric": "accuracy", "min": 0.8}, {"metric": "recall", "class": "*", "min": 0.5}]
    trains = given.run("bands-v1", bands, epochs=4, gates=accurate, output=JOINS)

    stage.given(serves)
    said = stage.says("ModelDeployment", "bands-live", "InputsReady", "False", "ModelNotFound")
    assert said == "Waiting for Model bands-cnn."
    stage.given(smaller, MODEL)
    said = stage.says("ModelDeployment", "bands-live", "InputsReady", "False", "AliasEmpty")
    assert "alias candidate of Model bands-cnn points to no version yet" in said
    said = stage.says("CompressionJob", "bands-v1-int8", "InputsReady", "False", "ModelVersionNotFound")
    assert said.startswith("Waiting for ModelVersion bands-v1.")
    assert not stage.pods("bands-v1-int8")
    stage.given(trains)

    run = stage.reaches("TrainingRun", "bands-v1", "Succeeded")
    job = stage.reaches("CompressionJob", "bands-v1-int8", "Succeeded")
    deployment = stage.reaches("ModelDeployment", "bands-live", "Healthy")

    trained(run)
    compressed(job)
    registered(stage, run, job)
    stands(
        deployment, InputsReady="True", Available="True", Ready="True", Reconciling="False", Stalled="False"
    )
    assert (
        condition(deployment, "InputsReady")["message"]
        == "candidate of Model bands-cnn is bands-v1-int8, Ready."
    )
    model = stage.until(
        "Model",
        "bands-cnn",
        "champion is what the deployment serves",
        lambda found: aliases(found) == {"candidate": "bands-v1-int8", "champion": "bands-v1-int8"},
    )
    assert status(model)["versions"] == {"total": 2, "ready": 2, "rejected": 0}

    images, labels = tiny.images(60, seed=4)
    rest, revision = ask.over_rest(router, "bands-live.e2e", "bands-live", images)
    assert revision == status(deployment)["revisions"][0]["name"]
    assert np.mean(rest.argmax(axis=1) == labels) > 0.75
    grpc = ask.over_grpc(router, "bands-live.e2e", "bands-live", images)
    np.testing.assert_allclose(grpc, rest, rtol=1e-4, atol=1e-4)

    # The version outlives the run that made it, and stays while it is used.
    stage("delete", "trun/bands-v1", "cjob/bands-v1-int8", "--timeout=60s")
    stage("delete", "mver/bands-v1-int8", "--wait=false")
    stage.until(
        "ModelVersion",
        "bands-v1-int8",
        "its deletion waits for its users",
        lambda found: (
            "deletionTimestamp" in found["metadata"] and "isn't used by" in status(found)["summary"]
        ),
    )
    again, _ = ask.over_rest(router, "bands-live.e2e", "bands-live", images)
    np.testing.assert_array_equal(again, rest)


def trained(run: Manifest) -> None:
    told = status(run)
    stands(run, InputsReady="True", Trained="True", GatesPassed="True", Succeeded="True", Stalled="False")
    assert told["attempt"] == 1
    assert told["modelVersionRef"] == {"name": "bands-v1"}
    assert told["progress"]["percent"] == 100
    assert told["evaluation"]["samples"] == 150
    assert told["result"] == f"accuracy {told['evaluation']['metrics']['accuracy']:.4f}"
    assert {row["metric"]: row["verdict"] for row in told["gates"]} == {"accuracy": "Pass", "recall": "Pass"}


def compressed(job: Manifest) -> None:
    told = status(job)
    stands(job, InputsReady="True", Measured="True", GatesPassed="True", Succeeded="True", Stalled="False")
    assert [variant["name"] for variant in told["variants"]] == ["baseline", "int8"]
    assert told["inputs"]["modelVersion"]["name"] == "bands-v1"
    assert {row["metric"]: row["verdict"] for row in told["gates"]} == {
        "accuracy_drop": "Pass",
        "size_bytes": "Pass",
    }


def registered(stage: Stage, run: Manifest, job: Manifest) -> None:
    """What was made says what it was made of, by digest."""
    first, second = (stage.get("ModelVersion", name) for name in ("bands-v1", "bands-v1-int8"))
    assert first is not None
    assert second is not None
    assert not second["metadata"].get("ownerReferences")
    lineage = second["spec"]["lineage"]
    assert lineage["parent"] == {"name": "bands-v1", "digest": first["spec"]["digest"]}
    assert lineage["dataset"] == status(run)["inputs"]["dataset"] == status(job)["inputs"]["dataset"]
    assert lineage["producer"]["uid"] == job["metadata"]["uid"]
    for version in (first, second):
        stands(version, Verified="True", GatesPassed="True", Ready="True", Stalled="False")
        assert condition(version, "Verified")["reason"] == "DigestMatches"


def aliases(model: Manifest) -> dict[str, str]:
    return {
        alias["name"]: alias["modelVersionRef"]["name"]
        for alias in status(model).get("aliases") or ()
        if "modelVersionRef" in alias
    }
