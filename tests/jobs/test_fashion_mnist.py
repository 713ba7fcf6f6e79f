"""The whole chain on a part of the real Fashion-MNIST (Debian package dataset-fashion-mnist); a minute or so."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipway_jobs import compress
from slipway_jobs.formats import idx

pytestmark = pytest.mark.slow

SOURCE = Path("/usr/share/datasets/fashion-mnist")
CLASSES = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]
ROWS = {"train": 12000, "t10k": 2000}


@pytest.mark.skipif(not SOURCE.is_dir(), reason="the Debian package dataset-fashion-mnist is not installed")
def test_fashion_mnist_goes_from_files_to_an_int8_version(
    tasks: Any, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compress, "NOISE_LIMITS", {})  # the machine of the tests is as busy as it is
    for part, rows in ROWS.items():
        for name, dimensions in (("images-idx3", 3), ("labels-idx1", 1)):
            file = f"{part}-{name}-ubyte.gz"
            array: np.ndarray[Any, Any] = idx.array(SOURCE / file, name, dimensions)[:rows]
            (root / "fashion").mkdir(exist_ok=True)
            (root / "fashion" / file).write_bytes(gzip.compress(tasks.idx(array), 1, mtime=0))
    dataset = tasks.prepare(
        sourceUri="store://fashion/",
        schema={
            "inputs": [{"name": "image", "datatype": "UINT8", "shape": [28, 28]}],
            "target": "label",
            "classes": CLASSES,
        },
    )
    trained = tasks.run(
        tasks.train_task(
            dataset,
            model={"resnet": {"width": 16, "blocks": [1, 1, 1]}},
            hyperparameters={
                "epochs": 2,
                "batchSize": 128,
                "learningRate": 0.1,
                "weightDecay": 0.0005,
                "precision": "BF16",
            },
        )
    )
    assert trained.evaluation.metrics["accuracy"] > 0.8
    small = tasks.run(
        {
            "task": "compress",
            "source": {"name": "tiny", "digest": trained.artifact.digest},
            "sourceUri": trained.artifact.storage_uri,
            "dataset": dataset,
            "passes": [{"name": "int8", "staticQuantize": {}}],
            "gates": [{"metric": "accuracy_drop", "max": 0.02, "confidence": 0.95}],
            "outputUri": "store://models/tiny-int8/",
        }
    )
    assert small.measurements[0].upper < 0.02
    metrics = small.variants[1].metrics
    assert metrics["size_ratio"] > 2.5
    assert small.variants[1].notes[0] == "9 of 9 Conv fused"
    verified = tasks.run(
        {
            "task": "verify",
            "storageUri": small.artifact.storage_uri,
            "digest": small.artifact.digest,
            "signature": small.artifact.signature.model_dump(mode="json"),
            "examplesUri": small.artifact.examples.storage_uri,
        }
    )
    assert verified.digest == small.artifact.digest
    tasks.run(
        {
            "task": "fetch",
            "storageUri": small.artifact.storage_uri,
            "digest": verified.digest,
            "examplesUri": verified.examples.storage_uri,
            "modelName": "fashion",
            "configPbtxt": 'backend: "onnxruntime"\n',
            "repository": str(tmp_path / "models"),
        }
    )
    assert (tmp_path / "models/fashion/1/model.onnx").stat().st_size == metrics["size_bytes"]
