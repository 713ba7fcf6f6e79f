"""Objects that the end-to-end tests apply, as small as they can be."""

from typing import Any

import tiny

Manifest = dict[str, Any]
API = "slipway.dev/v1alpha1"
SMALL = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
TRAINER = {"requests": {"cpu": "200m", "memory": "512Mi"}, "limits": {"memory": "1536Mi"}}


def an_object(kind: str, name: str, spec: Manifest, labels: dict[str, str] | None = None) -> Manifest:
    metadata = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec}


def dataset(name: str, folder: str = "tiny", **spec: Any) -> Manifest:
    stated = {
        "source": {"storageUri": f"store://e2e/{folder}/"},
        "format": "IDX",
        "schema": {
            "inputs": [{"name": "image", "datatype": "UINT8", "shape": [tiny.SIZE, tiny.SIZE]}],
            "target": {"name": "label", "type": "Class", "classes": tiny.CLASSES},
        },
        "split": {"method": "Stratified", "validationFraction": 0.1, "seed": 0},
        "preprocessing": [{"scale": {"divisor": 255}}],
        "resources": SMALL,
    }
    return an_object("Dataset", name, {**stated, **spec})


def run(name: str, dataset_name: str, *, epochs: int = 1, **spec: Any) -> Manifest:
    stated = {
        "datasetRef": {"name": dataset_name},
        "model": {"cnn": {"width": 8, "blocks": [1, 1]}},
        "hyperparameters": {"epochs": epochs, "batchSize": 32, "learningRate": 0.1, "seed": 0},
        "trainer": {"numNodes": 1, "resourcesPerNode": TRAINER},
        "checkpoints": {"interval": "5s", "keep": 2},
        "evaluation": {"split": "test"},
    }
    return an_object("TrainingRun", name, {**stated, **spec})


def compression(name: str, version_name: str, **spec: Any) -> Manifest:
    calibration = {"split": "train", "samples": 64, "method": "MinMax", "seed": 0}
    quantize = {
        "activationType": "UINT8",
        "weightType": "INT8",
        "perChannel": True,
        "calibration": calibration,
    }
    stated = {
        "modelVersionRef": {"name": version_name},
        "passes": [{"name": "int8", "staticQuantize": quantize}],
        "target": {"device": "CPU", "threads": 1, "batchSizes": [1]},
        "evaluation": {"split": "test"},
        "resources": TRAINER,
    }
    return an_object("CompressionJob", name, {**stated, **spec})


def model(name: str, *aliases: Manifest) -> Manifest:
    return an_object("Model", name, {"aliases": list(aliases)})


def version(name: str, file: str, **spec: Any) -> Manifest:
    """An ONNX file of tiny.py that the fixture `uploads` put into the store."""
    stated = {"storageUri": f"store://e2e/models/{file}.onnx", "format": "ONNX", **spec}
    return an_object("ModelVersion", name, stated, {"slipway.dev/producer": "User"})


def deployment(name: str, version_name: str | None = None, **spec: Any) -> Manifest:
    stated: Manifest = {"resources": SMALL, **spec}
    if version_name is not None:
        stated["modelVersionRef"] = {"name": version_name}
    return an_object("ModelDeployment", name, stated)


CANARY: Manifest = {
    "slo": {"latency": {"percentile": 99, "threshold": "250ms"}},
    "rollout": {
        "canary": {"steps": [{"setWeight": 20}, {"setWeight": 50}]},
        "stepDeadline": "4m",
        "progressDeadline": "5m",
    },
    "analysis": {
        "interval": "2s",
        "metrics": [
            {"name": "error_rate", "maxIncrease": 0.05},
            # Wide, since a busy machine answers some requests late in either arm.
            {"name": "slow_rate", "maxIncrease": 0.2},
        ],
    },
}
"""Spec of a deployment whose rollouts take about half a minute at 30 requests a second."""
