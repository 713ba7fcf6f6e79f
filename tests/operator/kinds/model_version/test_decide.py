import pytest

import make
from slipway.contract.config import JobConfig, VerifyTask
from slipway.decision import Decision

LINEAGE = {
    "parent": {"name": "fashion-cnn-v1", "digest": make.MODEL_DIGEST},
    "parameters": {"passes.int8": "staticQuantize UINT8/INT8"},
}
VERSION = make.model_version(
    "fashion-cnn-v1-int8", producer="CompressionJob", digest=make.SMALL_DIGEST, spec={"lineage": LINEAGE}
)
NAME = "fashion-cnn-v1-int8"
BYO = make.user_version()


def verified(version: make.Manifest, **changes: object) -> list[make.Manifest]:
    name = version["metadata"]["name"]
    report = make.verify_report(name, make.SMALL_DIGEST, **changes)
    return make.succeeded(version, f"{name}-verify-1", report)


def summary(decision: Decision) -> str:
    assert decision.status is not None
    return str(decision.status["summary"])


def phase(decision: Decision) -> str:
    assert decision.status is not None
    return str(decision.status["phase"])


def orders(decision: Decision) -> VerifyTask:
    task = JobConfig.model_validate_json(decision.create[0]["data"]["job.json"]).task
    assert isinstance(task, VerifyTask)
    return task


def test_a_new_version_is_verified_in_the_operator_image() -> None:
    decision = make.decide(VERSION)
    assert make.kinds_of(decision.create) == [f"ConfigMap {NAME}-verify-1", f"Job {NAME}-verify-1"]
    container = decision.create[1]["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["args"]) == (make.PLATFORM.operator_image, ["verify"])
    assert orders(decision).digest == make.SMALL_DIGEST
    assert orders(decision).signature is not None
    assert orders(decision).examples_uri == "s3://slipway/demo/models/fashion-cnn-v1-int8/examples.json"
    assert phase(decision) == "Pending"


def test_examples_of_a_foreign_model_go_to_the_own_store() -> None:
    assert orders(make.decide(BYO)).examples_uri == "store://models/fashion-byo/examples.json"


def test_a_verified_version_whose_gates_passed_is_ready() -> None:
    decision = make.decide(VERSION, *verified(VERSION))
    assert phase(decision) == "Ready"
    assert make.told(decision, "Verified") == ("True", "DigestMatches", "3 files, sha256:92a385b1f2e1.")
    assert make.told(decision, "GatesPassed") == ("True", "AllPassed", "1 of 1 gate passed.")
    assert make.told(decision, "Ready") == ("True", "Usable", "")
    assert make.told(decision, "Stalled") == ("False", "Usable", "")
    assert summary(decision) == "int8 ONNX of fashion-cnn-v1; accuracy 0.9060; 1 of 1 gate passed."
    assert decision.status is not None
    assert decision.status["result"] == "accuracy 0.9060"
    assert decision.status["size"] == "1.2Mi"
    assert decision.status["examples"]["count"] == 16
    assert "digest" not in decision.status, "the spec says it already"


def test_a_file_made_elsewhere_gets_its_digest_and_signature_recorded() -> None:
    report = make.verify_report(
        "fashion-byo",
        make.SMALL_DIGEST,
        storageUri="s3://slipway/demo/uploads/fashion-byo/model.onnx",
        files=1,
        signature={
            "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28]}],
            "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}],
        },
    )
    decision = make.decide(BYO, *make.succeeded(BYO, "fashion-byo-verify-1", report))
    assert summary(decision) == (
        "ONNX, 1.2Mi, image UINT8 [-1, 28, 28] -> logits FP32 [-1, 10]; digest and signature read from the file;"
        " no gates."
    )
    assert make.told(decision, "Verified") == (
        "True",
        "DigestComputed",
        "1 file, sha256:92a385b1f2e1; loads in onnxruntime 1.32.0.",
    )
    assert make.told(decision, "GatesPassed") == ("True", "NoGates", "")
    assert decision.status is not None
    assert decision.status["result"] == "no metrics"
    assert decision.status["digest"] == make.SMALL_DIGEST
    assert decision.status["storageUri"] == "s3://slipway/demo/uploads/fashion-byo/model.onnx"
    assert decision.status["signature"]["inputs"][0]["name"] == "image"


def test_a_missed_gate_rejects_it_in_words() -> None:
    row = {
        "metric": "accuracy",
        "min": 0.9,
        "value": 0.8712,
        "lower": 0.8645,
        "upper": 0.8776,
        "samples": 10000,
        "verdict": "Fail",
    }
    version = make.model_version(spec={"gates": [row]})
    decision = make.decide(version, *make.succeeded(version, "fashion-cnn-v1-verify-1", make.verify_report()))
    assert phase(decision) == "Rejected"
    assert summary(decision) == (
        "accuracy 0.8712 is under 0.90 (interval 0.8645 to 0.8776, 10,000 samples); no alias or deployment takes it."
    )
    assert make.told(decision, "Verified")[0] == "True"
    assert make.told(decision, "Ready") == ("False", "GateMissed", "accuracy 0.8712, min 0.90.")
    assert make.told(decision, "Stalled") == ("True", "GateMissed", "accuracy 0.8712, min 0.90.")


@pytest.mark.parametrize(
    ("reason", "code"), [("DigestMismatch", 11), ("SignatureMismatch", 10), ("NotLoadable", 11)]
)
def test_wrong_bytes_are_final(reason: str, code: int) -> None:
    message = "spec.digest is sha256:05f0d4c8c7d9, the file is sha256:aa01b2c3d4e5; it is not loaded."
    report = make.failure_report("verify", reason, message, code)
    decision = make.decide(VERSION, *make.failed(VERSION, f"{NAME}-verify-1", report, code))
    assert phase(decision) == "Failed"
    assert make.told(decision, "Verified") == ("False", reason, message)
    assert make.told(decision, "Stalled") == ("True", reason, message)
    assert make.decide(make.after(VERSION, decision)).create == ()


def test_an_unreachable_store_is_tried_again() -> None:
    report = make.failure_report("verify", "StoreUnreachable", "Can't reach http://store:8333 (timeout).", 12)
    attempt = make.failed(VERSION, f"{NAME}-verify-1", report, 12, finished=make.at(1))
    decision = make.decide(VERSION, *attempt, now=make.at(1))
    assert summary(decision) == "Can't reach http://store:8333 (timeout), tried once; next try in 5s."
    assert make.told(decision, "Verified")[:2] == ("Unknown", "StoreUnreachable")
    later = make.decide(VERSION, *attempt, now=make.at(6))
    assert make.kinds_of(later.create)[1] == f"Job {NAME}-verify-2"


def ready(*others: make.Manifest) -> make.Manifest:
    return make.after(VERSION, make.decide(VERSION, *verified(VERSION), *others))


def test_users_are_listed_and_hold_the_finalizer() -> None:
    deployment = make.model_deployment(stable=NAME)
    model = make.model(status={"aliases": [{"name": "champion", "modelVersionRef": {"name": NAME}}]})
    decision = make.decide(ready(), deployment, model)
    assert decision.finalizer is True
    assert decision.status is not None
    assert decision.status["usedBy"] == [
        {"kind": "ModelDeployment", "name": "fashion"},
        {"kind": "Model", "name": "fashion-cnn", "alias": "champion"},
    ]
    assert summary(decision).endswith("serves in ModelDeployment fashion.")


def test_at_most_16_users_are_listed() -> None:
    deployments = [make.model_deployment(f"mdep-{n}", stable=NAME) for n in range(20)]
    decision = make.decide(ready(), *deployments)
    assert decision.status is not None
    assert len(decision.status["usedBy"]) == 16


def test_a_version_that_nothing_uses_any_more_loses_the_finalizer() -> None:
    used = ready(make.model_deployment(stable=NAME))
    decision = make.decide(used)
    assert decision.finalizer is False
    assert decision.status is not None
    assert "usedBy" not in decision.status


def test_deletion_waits_for_those_who_use_it() -> None:
    going = make.merged(ready(), {"metadata": {"deletionTimestamp": make.stamp(make.at(9))}})
    decision = make.decide(going, make.model_deployment(stable=NAME))
    assert decision.finalizer is None
    assert summary(decision) == "Being deleted; waits until it isn't used by ModelDeployment fashion."
    assert make.decide(going).finalizer is False


def test_a_version_at_rest_says_the_same_again() -> None:
    assert make.decide(ready()).status == ready()["status"]
    assert make.decide(ready()).events == ()
