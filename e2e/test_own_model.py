"""Bring your own ONNX: examples/own-onnx as it stands, two objects and no training."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # untyped
import yaml

import ask
import tiny
from stage import Stage, condition, stands, status

EXAMPLE = Path(__file__).parent.parent / "examples" / "own-onnx" / "deploy.yaml"


def test_an_onnx_file_made_elsewhere_is_served_with_its_own_answers(
    stage: Stage, router: str, tmp_path: Path
) -> None:
    file = tmp_path / "model.onnx"
    onnx.save(tiny.plain(7), file)
    stage.slipway("push", str(file), "store://uploads/own/")

    stage.given(*yaml.safe_load_all(EXAMPLE.read_text()))
    version = stage.reaches("ModelVersion", "own", "Ready")
    deployment = stage.reaches("ModelDeployment", "own", "Healthy")

    # What is read from the file.
    digest = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    told = status(version)
    assert told["digest"] == digest
    assert told["signature"]["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 8, 8]}]
    assert told["signature"]["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 3]}]
    assert told["storageUri"].endswith("/uploads/own/model.onnx")
    assert told["examples"]["count"] == 4
    assert told["result"] == "no metrics"
    assert condition(version, "Verified")["reason"] == "DigestComputed"
    assert condition(version, "GatesPassed")["reason"] == "NoGates"
    stands(version, Verified="True", GatesPassed="True", Ready="True", Reconciling="False", Stalled="False")

    # What serves.
    served = status(deployment)
    assert served["url"] == "http://own.e2e.svc.cluster.local"
    assert served["inputs"]["modelVersion"] == {"name": "own", "digest": digest}
    (revision,) = served["revisions"]
    assert (revision["role"], revision["weight"], revision["readyReplicas"]) == ("Stable", 100, 1)
    assert served["history"][0]["reason"] == "FirstRevision"
    stands(
        deployment, InputsReady="True", Available="True", Ready="True", Reconciling="False", Stalled="False"
    )
    used = stage.until(
        "ModelVersion", "own", "used by the deployment", lambda v: bool(status(v).get("usedBy"))
    )
    assert status(used)["usedBy"] == [{"kind": "ModelDeployment", "name": "own"}]

    # What it answers.
    images, _ = tiny.images(5, seed=3)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (expected,) = session.run(["logits"], {"image": images})
    rest, answered_by = ask.over_rest(router, "own.e2e", "own", images)
    assert answered_by == revision["name"]
    np.testing.assert_allclose(rest, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        ask.over_grpc(router, "own.e2e", "own", images), expected, rtol=1e-4, atol=1e-4
    )

    # From inside the cluster, by the address that the status names.
    (pod,) = stage.pods("own", "ModelDeployment")
    asks = f"from urllib.request import urlopen; print(urlopen({served['url'] + '/v2/models/own'!r}).read().decode())"
    metadata = json.loads(stage("exec", pod["metadata"]["name"], "-c", "triton", "--", "python3", "-c", asks))
    assert metadata["name"] == "own"
    assert metadata["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 8, 8]}]
