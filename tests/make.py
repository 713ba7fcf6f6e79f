"""Builders of valid objects: each test says only what matters to it.

Objects are manifests as the API server returns them. `decide` runs a kind's observe and decide over them.
"""

import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

from cluster import PLATFORM
from slipway.cache import Objects, View
from slipway.contract.report import Progress
from slipway.decision import Decision, Key
from slipway.kinds import CONTROLLERS
from slipway.router.traffic import Traffic

Manifest = dict[str, Any]

NAMESPACE = "demo"
NOW = datetime(2026, 11, 24, 10, 0, 0, tzinfo=UTC)
DATASET_DIGEST = "sha256:b277fd623676a525c29b9eb155afc8c9010681814ceafb2d7627f47b9a232576"
MODEL_DIGEST = "sha256:3bfc269594ef649228e9a74bab00f042efc91d5acc6fbee31a382e80d42388fe"
SMALL_DIGEST = "sha256:92a385b1f2e1717190775e1fde79d1873873be20857bc5ead31cbd2329f62333"
CLASSES = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]  # fmt: skip
SIGNATURE = {
    "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28]}],
    "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 10], "classes": CLASSES}],
}


def at(seconds: float) -> datetime:
    """So many seconds after NOW."""
    return NOW + timedelta(seconds=seconds)


def stamp(moment: datetime) -> str:
    return moment.replace(microsecond=0).isoformat().replace("+00:00", "Z")


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Manifest:
    """base with changes merged into it as by a merge patch: None removes, lists are replaced."""
    result = dict(deepcopy(base))
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = deepcopy(value)
    return result


def resource(
    kind: str,
    name: str,
    spec: Mapping[str, Any],
    *,
    status: Mapping[str, Any] | None = None,
    created: datetime = NOW,
    generation: int = 1,
    **metadata: Any,
) -> Manifest:
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"{kind}-{name}".lower(),
            "resourceVersion": "1",
            "generation": generation,
            "creationTimestamp": stamp(created),
            **metadata,
        },
        "spec": dict(spec),
        "status": dict(status or {"observedGeneration": -1}),
    }


def dataset(name: str = "fashion-mnist", *, spec: Mapping[str, Any] | None = None, **rest: Any) -> Manifest:
    base = {
        "source": {"storageUri": "store://datasets/fashion-mnist/"},
        "format": "IDX",
        "schema": {
            "inputs": [{"name": "image", "datatype": "UINT8", "shape": [28, 28]}],
            "target": {"name": "label", "type": "Class", "classes": CLASSES},
        },
        "split": {"method": "Stratified", "validationFraction": 0.1, "seed": 0},
        "preprocessing": [{"scale": {"divisor": 255}}, {"normalize": {"mean": [0.286], "std": [0.353]}}],
        "augmentation": [{"randomHorizontalFlip": {"probability": 0.5}}],
        "checks": [
            {"metric": "rows", "min": 60000},
            {"metric": "class_share", "class": "*", "min": 0.05, "severity": "Warning"},
            {"metric": "leakage_rate", "max": 0},
        ],
        "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
    }
    return resource("Dataset", name, merged(base, spec or {}), **rest)


def ready_dataset(name: str = "fashion-mnist", digest: str = DATASET_DIGEST, **rest: Any) -> Manifest:
    return dataset(
        name,
        status={
            "observedGeneration": 1,
            "phase": "Ready",
            "summary": "70,000 rows in 3 splits, 10 classes; 3 of 3 checks passed.",
            "result": "3 splits, 10 classes",
            "digest": digest,
            "storageUri": f"s3://slipway/demo/datasets/{name}/{digest[7:19]}/",
            "rows": 70000,
            "size": "52Mi",
            "conditions": [condition("Ready", "True", "Prepared")],
        },
        **rest,
    )


def training_run(
    name: str = "fashion-cnn-v1", *, spec: Mapping[str, Any] | None = None, **rest: Any
) -> Manifest:
    base = {
        "datasetRef": {"name": "fashion-mnist"},
        "model": {"resnet": {"width": 32, "blocks": [1, 1, 1]}},
        "hyperparameters": {
            "epochs": 2,
            "batchSize": 256,
            "optimizer": "SGD",
            "learningRate": 0.2,
            "momentum": 0.9,
            "weightDecay": 0.0005,
            "schedule": "OneCycle",
            "precision": "BF16",
            "seed": 0,
        },
        "trainer": {
            "numNodes": 1,
            "resourcesPerNode": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "2Gi"}},
        },
        "checkpoints": {"interval": "15s", "keep": 2},
        "failurePolicy": {"maxRestarts": 3},
        "startDeadline": "10m",
        "activeDeadline": "30m",
        "evaluation": {"split": "test"},
        "gates": [{"metric": "accuracy", "min": 0.9}, {"metric": "recall", "class": "*", "min": 0.5}],
        "output": {"modelRef": {"name": "fashion-cnn"}},
    }
    return resource("TrainingRun", name, merged(base, spec or {}), **rest)


def compression_job(
    name: str = "fashion-cnn-v1-int8", *, spec: Mapping[str, Any] | None = None, **rest: Any
) -> Manifest:
    base = {
        "modelVersionRef": {"name": "fashion-cnn-v1"},
        "passes": [
            {
                "name": "int8",
                "staticQuantize": {
                    "activationType": "UINT8",
                    "weightType": "INT8",
                    "perChannel": True,
                    "calibration": {"split": "train", "samples": 512, "method": "MinMax", "seed": 0},
                },
            }
        ],
        "target": {"device": "CPU", "threads": 1, "batchSizes": [1, 32]},
        "evaluation": {"split": "test"},
        "gates": [
            {"metric": "accuracy_drop", "max": 0.005, "confidence": 0.95},
            {"metric": "speedup", "min": 1.3},
            {"metric": "size_bytes", "max": 1000000},
        ],
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
        "activeDeadline": "30m",
        "output": {"modelRef": {"name": "fashion-cnn"}},
    }
    return resource("CompressionJob", name, merged(base, spec or {}), **rest)


def model(name: str = "fashion-cnn", *, spec: Mapping[str, Any] | None = None, **rest: Any) -> Manifest:
    base = {
        "description": "Ten kinds of clothing from 28x28 grey images.",
        "aliases": [
            {
                "name": "candidate",
                "latest": {"selector": {"matchLabels": {"slipway.dev/producer": "CompressionJob"}}},
            },
            {"name": "champion", "promoted": {"deploymentRef": {"name": "fashion"}}},
        ],
        "retention": {"keep": 10},
    }
    return resource("Model", name, merged(base, spec or {}), **rest)


def user_version(
    name: str = "fashion-byo", *, spec: Mapping[str, Any] | None = None, **rest: Any
) -> Manifest:
    """A version of a model made elsewhere: a file and no more."""
    base = {"storageUri": f"store://uploads/{name}/model.onnx", "format": "ONNX"}
    return resource("ModelVersion", name, merged(base, spec or {}), **rest)


def model_version(
    name: str = "fashion-cnn-v1",
    *,
    producer: str = "TrainingRun",
    digest: str = MODEL_DIGEST,
    spec: Mapping[str, Any] | None = None,
    **rest: Any,
) -> Manifest:
    """A version as a run or a job of the same name makes it."""
    base = {
        "modelRef": {"name": "fashion-cnn"},
        "storageUri": f"s3://slipway/demo/models/{name}/",
        "digest": digest,
        "format": "ONNX",
        "signature": SIGNATURE,
        "evaluation": {
            "dataset": {"name": "fashion-mnist", "digest": DATASET_DIGEST, "split": "test"},
            "samples": 10000,
            "metrics": {"accuracy": 0.906},
        },
        "gates": [
            {
                "metric": "accuracy",
                "min": 0.9,
                "value": 0.906,
                "lower": 0.9001,
                "upper": 0.9116,
                "samples": 10000,
                "verdict": "Pass",
            }
        ],
        "lineage": {
            "producer": {"kind": producer, "name": name, "uid": f"{producer}-{name}".lower()},
            "dataset": {"name": "fashion-mnist", "digest": DATASET_DIGEST},
            "image": "slipway/jobs@sha256:" + "1" * 64,
        },
    }
    labels = {"slipway.dev/model": "fashion-cnn", "slipway.dev/producer": producer}
    labels |= rest.pop("labels", {})
    return resource("ModelVersion", name, merged(base, spec or {}), labels=labels, **rest)


def ready_version(name: str = "fashion-cnn-v1", phase: str = "Ready", **rest: Any) -> Manifest:
    status = {
        "observedGeneration": 1,
        "phase": phase,
        "summary": "ONNX.",
        "result": "accuracy 0.9060",
        "conditions": [condition("Ready", "True" if phase == "Ready" else "False", "Usable")],
    }
    return model_version(name, status=status, **rest)


def model_deployment(
    name: str = "fashion",
    *,
    spec: Mapping[str, Any] | None = None,
    stable: str | None = None,
    canary: str | None = None,
    history: list[Manifest] | None = None,
    **rest: Any,
) -> Manifest:
    """A deployment that follows candidate; stable and canary name the versions of its revisions."""
    arms = [("Stable", stable, 100 if canary is None else 80), ("Canary", canary, 20)]
    revisions = [
        {
            "name": f"{name}-{index:06d}",
            "role": role,
            "modelVersionRef": {"name": version},
            "weight": weight,
            "replicas": 1,
            "readyReplicas": 1,
        }
        for index, (role, version, weight) in enumerate(arms)
        if version is not None
    ]
    status: Manifest = {"observedGeneration": 1, "phase": "Healthy", "revisions": revisions}
    if history is not None:
        status["history"] = history
    base = {"modelRef": {"name": "fashion-cnn", "alias": "candidate"}}
    rest.setdefault("status", status)
    return resource("ModelDeployment", name, merged(base, spec or {}), **rest)


def condition(type_: str, status: str, reason: str, message: str = "", moment: datetime = NOW) -> Manifest:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": 1,
        "lastTransitionTime": stamp(moment),
    }


# --- what a pod reports, as its termination message ---


def dataset_report(**changes: Any) -> str:
    return _report(
        {
            "task": "dataset",
            "outcome": "Succeeded",
            "digest": DATASET_DIGEST,
            "storageUri": "s3://slipway/demo/datasets/fashion-mnist/b277fd623676/",
            "sourceUri": "s3://slipway/demo/datasets/fashion-mnist/",
            "sourceFiles": 4,
            "sourceBytes": 30_878_645,
            "rows": 70000,
            "sizeBytes": 54_950_048,
            "splits": [
                {"name": "train", "rows": 54000},
                {"name": "validation", "rows": 6000},
                {"name": "test", "rows": 10000},
            ],
            "classes": 10,
            "profile": [{"name": "image", "min": 0, "max": 255, "mean": 72.9, "std": 90.0, "missingRate": 0}],
            "profileUri": "s3://slipway/demo/datasets/fashion-mnist/b277fd623676/profile.json",
            "measurements": [
                {"metric": "rows", "value": 70000},
                {"metric": "class_share", "class": "T-shirt/top", "value": 0.1},
                {"metric": "leakage_rate", "value": 0, "samples": 16000},
            ],
        },
        changes,
    )


def artifact(name: str, digest: str = MODEL_DIGEST, size: int = 1_262_592) -> Manifest:
    return {
        "storageUri": f"s3://slipway/demo/models/{name}/",
        "digest": digest,
        "sizeBytes": size,
        "files": 3,
        "signature": SIGNATURE,
        "examples": {"count": 16, "storageUri": f"s3://slipway/demo/models/{name}/examples.json"},
    }


def train_report(name: str = "fashion-cnn-v1", *, accuracy: float = 0.906, **changes: Any) -> str:
    return _report(
        {
            "task": "train",
            "outcome": "Succeeded",
            "artifact": artifact(name),
            "evaluation": {
                "split": "test",
                "samples": 10000,
                "metrics": {"accuracy": accuracy, "recall_macro": accuracy, "f1_macro": 0.9056},
                "reportUri": f"s3://slipway/demo/models/{name}/evaluation.json",
            },
            "measurements": [
                {
                    "metric": "accuracy",
                    "value": accuracy,
                    "lower": round(accuracy - 0.0059, 4),
                    "upper": round(accuracy + 0.0056, 4),
                    "samples": 10000,
                },
                {
                    "metric": "recall",
                    "class": "Shirt",
                    "value": 0.712,
                    "lower": 0.683,
                    "upper": 0.74,
                    "samples": 1000,
                },
            ],
            "steps": 422,
            "seconds": 46.0,
        },
        changes,
    )


def compress_report(
    name: str = "fashion-cnn-v1-int8", *, drop: float = -0.0002, upper: float = 0.001, **changes: Any
) -> str:
    accuracy = round(0.906 - drop, 4)
    return _report(
        {
            "task": "compress",
            "outcome": "Succeeded",
            "artifact": artifact(name, SMALL_DIGEST, 343_112),
            "evaluation": {
                "split": "test",
                "samples": 10000,
                "metrics": {"accuracy": accuracy, "f1_macro": 0.9058},
                "reportUri": f"s3://slipway/demo/models/{name}/compression.json",
            },
            "variants": [
                {"name": "baseline", "metrics": {"accuracy": 0.906, "latency_p50_ms": 0.101}},
                {
                    "name": "int8",
                    "metrics": {
                        "accuracy": accuracy,
                        "accuracy_drop": drop,
                        "latency_p50_ms": 0.052,
                        "latency_p99_ms": 0.119,
                        "speedup": 1.9,
                        "size_bytes": 343112,
                        "size_ratio": 3.68,
                    },
                    "notes": ["15 of 15 Conv fused"],
                },
            ],
            "measuredOn": {
                "node": "node-1",
                "cpuModel": "AMD EPYC",
                "isa": ["avx2", "avx512_vnni"],
                "runtime": "onnxruntime 1.32.0",
                "threads": 1,
                "noise": 1.01,
            },
            "runs": 2000,
            "measurements": [
                {
                    "metric": "accuracy_drop",
                    "value": drop,
                    "lower": -0.0014,
                    "upper": upper,
                    "samples": 10000,
                },
                {"metric": "speedup", "value": 1.9, "lower": 1.82, "upper": 1.98, "samples": 2000},
                {"metric": "size_bytes", "value": 343112},
            ],
            "reportUri": f"s3://slipway/demo/models/{name}/compression.json",
        },
        changes,
    )


def verify_report(name: str = "fashion-cnn-v1", digest: str = MODEL_DIGEST, **changes: Any) -> str:
    return _report(
        {
            "task": "verify",
            "outcome": "Succeeded",
            "storageUri": f"s3://slipway/demo/models/{name}/",
            "digest": digest,
            "sizeBytes": 1_262_592,
            "files": 3,
            "signature": SIGNATURE,
            "examples": {"count": 16, "storageUri": f"s3://slipway/demo/models/{name}/examples.json"},
            "runtime": "onnxruntime 1.32.0",
        },
        changes,
    )


def failure_report(task: str, reason: str, message: str, exit_code: int, **changes: Any) -> str:
    head = {
        "task": task,
        "outcome": "Failed",
        "reason": reason,
        "message": message,
        "exitCode": exit_code,
    }
    return _report(head, changes)


def _report(base: Manifest, changes: Mapping[str, Any]) -> str:
    return json.dumps(merged({"version": 1, **base}, changes))


# --- Jobs and pods as Kubernetes reports them ---


def job(
    owner: Manifest,
    name: str,
    *,
    attempt: int = 1,
    ended: str | None = None,
    reason: str = "",
    suspend: bool = False,
    queue: str | None = None,
    created: datetime = NOW,
    admitted: datetime | None = NOW,
    finished: datetime | None = None,
    pods: int = 1,
) -> Manifest:
    """One attempt of the owner; ended is Complete or Failed."""
    labels = {
        "app.kubernetes.io/managed-by": "slipway",
        "slipway.dev/kind": owner["kind"],
        "slipway.dev/name": owner["metadata"]["name"],
        "slipway.dev/attempt": str(attempt),
    }
    if queue is not None:
        labels["kueue.x-k8s.io/queue-name"] = queue
    status: Manifest = {}
    if admitted is not None and not suspend:
        status["startTime"] = stamp(admitted)
    if ended is not None:
        when = stamp(finished or at(60))
        status["conditions"] = [
            {"type": ended, "status": "True", "reason": reason, "lastTransitionTime": when}
        ]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"job-{name}",
            "resourceVersion": "1",
            "creationTimestamp": stamp(created),
            "labels": labels,
            "ownerReferences": [_controller(owner)],
        },
        "spec": {
            "suspend": suspend,
            "completions": pods,
            "template": {"spec": {"containers": [{"name": "main", "image": "registry.test/slipway/jobs:1"}]}},
        },
        "status": status,
    }


def pod(job: Manifest, *, index: int = 0, phase: str = "Running", **status: Any) -> Manifest:
    """A pod of the Job."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{job['metadata']['name']}-{index}",
            "namespace": NAMESPACE,
            "uid": f"pod-{job['metadata']['name']}-{index}",
            "resourceVersion": "1",
            "labels": dict(job["metadata"]["labels"]),
            "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
            "ownerReferences": [_controller(job)],
        },
        "spec": {},
        "status": {"phase": phase, **status},
    }


def running_pod(job: Manifest, since: datetime = NOW, **rest: Any) -> Manifest:
    main = {"name": "main", "state": {"running": {"startedAt": stamp(since)}}}
    return pod(job, containerStatuses=[main], **rest)


def ended_pod(
    job: Manifest,
    message: str = "",
    exit_code: int = 0,
    *,
    reason: str | None = None,
    finished: datetime | None = None,
    **rest: Any,
) -> Manifest:
    terminated = {
        "exitCode": exit_code,
        "reason": reason or ("Error" if exit_code else "Completed"),
        "message": message,
        "startedAt": stamp(NOW),
        "finishedAt": stamp(finished or at(60)),
    }
    main = {"name": "main", "state": {"terminated": terminated}}
    phase = "Failed" if exit_code else "Succeeded"
    return pod(job, phase=phase, containerStatuses=[main], **rest)


def waiting_pod(
    job: Manifest, reason: str, message: str, image: str = "registry.test/slipway/jobs:1"
) -> Manifest:
    main = {"name": "main", "image": image, "state": {"waiting": {"reason": reason, "message": message}}}
    return pod(job, phase="Pending", containerStatuses=[main])


def unschedulable_pod(job: Manifest, message: str, index: int = 0) -> Manifest:
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod(job, index=index, phase="Pending", conditions=[scheduled])


def succeeded(owner: Manifest, name: str, report: str, **rest: Any) -> list[Manifest]:
    """A Job that is Complete, and its pod with the report."""
    made = job(owner, name, ended="Complete", **rest)
    return [made, ended_pod(made, report)]


def failed(
    owner: Manifest,
    name: str,
    report: str = "",
    exit_code: int = 70,
    *,
    pod_reason: str | None = None,
    **rest: Any,
) -> list[Manifest]:
    """A Job that is Failed, and its pod with the report."""
    made = job(owner, name, ended="Failed", reason="BackoffLimitExceeded", **rest)
    ended = ended_pod(made, report, exit_code, reason=pod_reason, finished=rest.get("finished"))
    return [made, ended]


def _controller(owner: Manifest) -> Manifest:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }


# --- what a kind sees and decides ---


def view(*manifests: Manifest, now: datetime = NOW, progress: Mapping[str, Progress] | None = None) -> View:
    return View(now, Objects(manifests), progress or {}, Traffic(), PLATFORM)


def decide(
    of: Manifest, *others: Manifest, now: datetime = NOW, progress: Mapping[str, Progress] | None = None
) -> Decision:
    """What the object's kind decides on seeing it among the others."""
    controller = next(c for c in CONTROLLERS if c.kind == of["kind"])
    metadata = of["metadata"]
    world = controller.observe(
        view(of, *others, now=now, progress=progress),
        Key(of["kind"], metadata["namespace"], metadata["name"]),
    )
    assert world is not None
    return controller.decide(world)


def after(of: Manifest, decision: Decision) -> Manifest:
    """The object with the status that was decided."""
    return {**of, "status": dict(decision.status or of["status"])}


def told(decision: Decision, type_: str) -> tuple[str, str, str]:
    """Status, reason and message of a condition that was decided."""
    assert decision.status is not None
    found = next(c for c in decision.status["conditions"] if c["type"] == type_)
    return found["status"], found["reason"], found.get("message", "")


def kinds_of(manifests: Iterable[Any]) -> list[str]:
    return [f"{manifest['kind']} {manifest['metadata']['name']}" for manifest in manifests]
