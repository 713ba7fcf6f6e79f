"""Real data in small: IDX files of 8x8 images whose class can be learnt, a store in a folder, tasks run in-process."""

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipway.contract.config import JobConfig
from slipway_jobs.store import Store

CLASSES = ["cross", "bar", "dot"]


def idx(array: np.ndarray[Any, Any]) -> bytes:
    """The bytes of an IDX file of unsigned bytes."""
    return (
        struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    )


def images(rows: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Three patterns in noise, each row another one."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % 3
    pictures = rng.integers(0, 120, (rows, 8, 8))
    for row, label in enumerate(labels):
        if label == 0:
            pictures[row, 3:5, :] = 250
            pictures[row, :, 3:5] = 250
        elif label == 1:
            pictures[row, 3:5, :] = 250
        else:
            pictures[row, 3:5, 3:5] = 250
    return pictures.astype(np.uint8), labels.astype(np.uint8)


def write_idx(folder: Path, train: int = 240, test: int = 60) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, rows, seed in (("train", train, 1), ("t10k", test, 2)):
        pictures, labels = images(rows, seed)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pictures), mtime=0))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels), mtime=0))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is the store, with the source data in it; the pod's paths are beside it."""
    store = tmp_path / "store"
    write_idx(store / "source")
    monkeypatch.setenv("SLIPWAY_STORE_URI", f"file://{store}")
    monkeypatch.setenv("SLIPWAY_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return store


@pytest.fixture
def store(root: Path) -> Store:
    return Store({"SLIPWAY_STORE_URI": f"file://{root}"}, sleep=lambda seconds: None)


def config(task: dict[str, Any], uid: str = "u1", attempt: int = 1) -> JobConfig:
    owner = {"kind": "TrainingRun", "namespace": "demo", "name": "tiny", "uid": uid}
    return JobConfig.model_validate({"owner": owner, "attempt": attempt, "task": task})


def dataset_task(**changes: Any) -> dict[str, Any]:
    task = {
        "task": "dataset",
        "sourceUri": "store://source/",
        "format": "IDX",
        "schema": {
            "inputs": [{"name": "image", "datatype": "UINT8", "shape": [8, 8]}],
            "target": "label",
            "classes": CLASSES,
        },
        "split": {"method": "Stratified", "validationFraction": 0.1, "seed": 0},
        "preprocessing": [{"scale": {"divisor": 255}}, {"normalize": {}}],
        "gates": [{"metric": "rows", "min": 100}],
        "outputUri": "store://prepared/",
    }
    return json.loads(json.dumps({**task, **changes}))


def train_task(dataset: dict[str, Any], **changes: Any) -> dict[str, Any]:
    task = {
        "task": "train",
        "dataset": {**dataset, "augmentation": [{"randomHorizontalFlip": {"probability": 0.5}}]},
        "model": {"resnet": {"width": 4, "blocks": [1, 1]}},
        "hyperparameters": {
            "epochs": 3,
            "batchSize": 32,
            "learningRate": 0.1,
            "weightDecay": 0.0005,
            "schedule": "OneCycle",
            "precision": "FP32",
        },
        "checkpointUri": "store://runs/tiny/checkpoints/",
        "checkpointIntervalSeconds": 3600,
        "checkpointsKeep": 2,
        "gates": [{"metric": "accuracy", "min": 0.8}, {"metric": "recall", "class": "*", "min": 0.5}],
        "outputUri": "store://models/tiny/",
    }
    return json.loads(json.dumps({**task, **changes}))


class Tasks:
    """What the tests start: each gives its Report."""

    config = staticmethod(config)
    dataset_task = staticmethod(dataset_task)
    train_task = staticmethod(train_task)
    idx = staticmethod(idx)
    write_idx = staticmethod(write_idx)
    classes = CLASSES

    def __init__(self, store: Store) -> None:
        self.store = store

    def run(self, task: dict[str, Any], uid: str = "u1", attempt: int = 1) -> Any:
        import importlib

        told = config(task, uid, attempt)
        return importlib.import_module(f"slipway_jobs.{told.task.task}").run(told, told.task, self.store)

    def prepare(self, **changes: Any) -> dict[str, Any]:
        """A prepared dataset, as a job takes it."""
        made = self.run(dataset_task(**changes))
        return {"name": "tiny", "digest": made.digest, "storageUri": made.storage_uri}


@pytest.fixture
def tasks(store: Store) -> Tasks:
    return Tasks(store)
