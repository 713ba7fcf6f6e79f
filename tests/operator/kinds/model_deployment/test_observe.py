from typing import Any

import pytest

import make
from routers import NAME, NAMESPACE, PLACE, Script, Serving
from slipway import api
from slipway.api.reasons import Reason
from slipway.contract.report import ExitCode
from slipway.decision import Key
from slipway.kinds.model_deployment.observe import references
from slipway.kinds.model_deployment.world import Trial, Waiting, Wanted


def waiting(cluster: Serving) -> tuple[Reason, str, bool]:
    wanted = cluster.world().wanted
    assert isinstance(wanted, Waiting)
    return wanted.reason, wanted.message, wanted.stalled


def following(model: dict[str, Any] | None) -> Serving:
    cluster = Serving()
    if model is not None:
        cluster.put(model)
    cluster.create({**make.model_deployment(), "status": {}})
    cluster.settle()
    return cluster


def model(*aliases: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return make.model(spec=spec, status={"observedGeneration": 1, "aliases": list(aliases)})


def test_a_missing_version_is_waited_for_with_the_closest_name() -> None:
    cluster = Serving()
    cluster.add_version("fashion-cnn-v1")
    cluster.deploy("fashon-cnn-v1")
    assert waiting(cluster) == (
        Reason.MODEL_VERSION_NOT_FOUND,
        "Waiting for ModelVersion fashon-cnn-v1. There is a ModelVersion fashion-cnn-v1.",
        False,
    )


@pytest.mark.parametrize("phase", ["Pending", None])
def test_a_version_that_is_not_ready_is_waited_for(phase: str | None) -> None:
    cluster = Serving()
    version = make.model_version("v1")
    version["status"] = {"observedGeneration": 1, **({"phase": phase} if phase else {})}
    cluster.put(version)
    cluster.deploy("v1")
    said = f"Waiting for ModelVersion v1, {phase or 'new'}."
    assert waiting(cluster) == (Reason.MODEL_VERSION_NOT_READY, said, False)


def test_a_rejected_version_is_never_served() -> None:
    cluster = Serving()
    cluster.add_version("v1", phase="Rejected")
    cluster.deploy("v1")
    assert waiting(cluster) == (
        Reason.MODEL_VERSION_UNUSABLE, "ModelVersion v1 is Rejected and never served: ONNX.", True,
    )  # fmt: skip
    assert cluster.status["phase"] == "Degraded"


def test_a_version_that_cannot_be_read_counts_as_absent() -> None:
    cluster = Serving()
    cluster.put(make.merged(make.ready_version("v1"), {"spec": {"storageUri": 7}}))
    cluster.deploy("v1")
    assert waiting(cluster)[0] is Reason.MODEL_VERSION_NOT_FOUND


def test_a_missing_model_a_missing_alias_and_an_alias_of_nothing_are_told_apart() -> None:
    assert waiting(following(None)) == (Reason.MODEL_NOT_FOUND, "Waiting for Model fashion-cnn.", False)
    other = {"name": "best", "fixed": {"modelVersionRef": {"name": "v1"}}}
    assert waiting(following(model(aliases=[other]))) == (
        Reason.ALIAS_NOT_FOUND, "Waiting: Model fashion-cnn has no alias candidate; it has best.", False,
    )  # fmt: skip
    assert waiting(following(model())) == (
        Reason.ALIAS_EMPTY, "Waiting: alias candidate of Model fashion-cnn points to no version yet.", False,
    )  # fmt: skip


def test_an_alias_that_this_deployment_promotes_is_a_loop() -> None:
    own = {"name": "candidate", "promoted": {"deploymentRef": {"name": NAME}}}
    assert waiting(following(model(aliases=[own]))) == (
        Reason.ALIAS_LOOP,
        "Alias candidate of Model fashion-cnn is promoted by this deployment: follow another alias, "
        "or name a version.",
        True,
    )


def test_a_version_without_spec_figures_is_taken_by_its_status() -> None:
    cluster = Serving()
    version = make.user_version("byo", status={
        "observedGeneration": 1, "phase": "Ready", "digest": make.MODEL_DIGEST, "signature": make.SIGNATURE,
        "storageUri": "s3://slipway/demo/uploads/byo/model.onnx",
        "examples": {"count": 4, "storageUri": "s3://slipway/demo/models/byo/examples.json"},
    })  # fmt: skip
    cluster.put(version)
    cluster.deploy("byo")
    wanted = cluster.world().wanted
    assert isinstance(wanted, Wanted)
    assert (wanted.model.storage_uri, wanted.model.digest) == (
        "s3://slipway/demo/uploads/byo/model.onnx", make.MODEL_DIGEST,
    )  # fmt: skip


def container(**rest: Any) -> dict[str, Any]:
    return {"name": "triton", "image": "registry.test/triton:9", **rest}


def ended(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        ({"phase": "Pending"}, None),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes: Insufficient cpu."}]},
            "No node takes the pod: 0/1 nodes: Insufficient cpu.",
        ),
        (
            {"containerStatuses": [container(state={"waiting": {"reason": "ErrImagePull", "message": "not found"}})]},
            "registry.test/triton:9: not found.",
        ),
        (
            {"initContainerStatuses": [container(state=ended(1, make.failure_report(
                "fetch", "DigestMismatch", "The bytes are others.", ExitCode.DATA)))]},
            "Container triton ended (Error, exit code 1): The bytes are others.",
        ),
        (
            {"containerStatuses": [container(state={"waiting": {"reason": "CrashLoopBackOff"}},
                                             lastState=ended(137, "", "OOMKilled"))]},
            "Container triton ended (OOMKilled, exit code 137): no message.",
        ),
        (
            {"initContainerStatuses": [container(state=ended(0))],
             "containerStatuses": [container(lastState=ended(1, "one\ntwo"))]},
            "Container triton ended (Error, exit code 1): two",
        ),
        (
            {"initContainerStatuses": [container(state={"waiting": {
                "reason": "CreateContainerConfigError", "message": 'secret "slipway-store" not found'}})]},
            "Secret slipway-store is missing in namespace demo, or lacks a key:"
            " create it with uri, endpoint, accessKeyId, secretAccessKey.",
        ),
    ],
)  # fmt: skip
def test_what_keeps_a_pod_from_answering_is_a_sentence(status: dict[str, Any], wanted: str | None) -> None:
    cluster = Serving()
    cluster.add_version("v1")
    cluster.script["v1"] = Script(starts=False, pod_status=status)
    cluster.deploy("v1")
    cluster.tick(2)
    (arm,) = cluster.world().arms.values()
    assert (arm.trouble, arm.ready) == (wanted, 0)


def test_it_wakes_for_the_model_the_versions_wanted_and_those_that_run() -> None:
    manifest = make.model_deployment(stable="v1", canary="v2")
    manifest["status"]["inputs"] = {"modelVersion": {"name": "v3", "digest": make.MODEL_DIGEST}}
    assert set(references(api.ModelDeployment.parse(manifest))) == {
        Key("Model", NAMESPACE, "fashion-cnn"),
        *(Key("ModelVersion", NAMESPACE, name) for name in ("v1", "v2", "v3")),
    }


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"position": 1}', '{"foldedUntil": null, "ratio": null}']
)
def test_a_trial_that_nobody_of_us_wrote_counts_as_lost(text: str) -> None:
    assert Trial.parse(text) is None
    cluster = Serving()
    cluster.add_version("v1")
    cluster.deploy("v1")
    cluster.until("Healthy")
    cluster.edit("ConfigMap", NAMESPACE, f"{NAME}-rollout", {"data": {"trial.json": text}})
    cluster.tick(3)
    assert cluster.get(*PLACE)["status"]["phase"] == "Healthy"
