import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipway.contract.config import DatasetInput
from slipway_jobs import dataset
from slipway_jobs.failure import Failure


def test_a_prepared_copy_holds_every_row_once(tasks: Any, root: Path, tmp_path: Path) -> None:
    made = tasks.run(tasks.dataset_task())
    assert [(part.name, part.rows) for part in made.splits] == [
        ("train", 216),
        ("validation", 24),
        ("test", 60),
    ]
    assert (made.rows, made.source_files, made.classes) == (300, 4, 3)
    told = DatasetInput(name="tiny", digest=made.digest, storage_uri=made.storage_uri)
    prepared = dataset.load(told, tasks.store, tmp_path / "copy")
    held = np.concatenate([prepared.rows(name).inputs for name in ("train", "validation")])
    source = np.frombuffer(
        gzip.decompress((root / "source" / "train-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8
    ).reshape(-1, 8, 8)
    assert sorted(row.tobytes() for row in held) == sorted(row.tobytes() for row in source)
    assert np.bincount(prepared.rows("validation").targets).tolist() == [8, 8, 8]


def test_an_empty_normalize_is_computed_on_train(tasks: Any, root: Path, tmp_path: Path) -> None:
    prepared = dataset.load(DatasetInput.model_validate(tasks.prepare()), tasks.store, tmp_path / "copy")
    values = np.asarray(prepared.rows("train").inputs) / 255
    step = prepared.preprocessing[1]["normalize"]
    assert step["mean"] == pytest.approx([values.mean()], abs=1e-5)
    assert step["std"] == pytest.approx([values.std()], abs=1e-5)


def test_the_digest_is_of_what_the_rows_are(tasks: Any, root: Path) -> None:
    first = tasks.prepare()["digest"]
    assert tasks.prepare(gates=[])["digest"] == first
    assert tasks.prepare(split={"seed": 1})["digest"] != first
    assert tasks.prepare(preprocessing=[])["digest"] != first
    tasks.write_idx(root / "source", train=243)
    assert tasks.prepare()["digest"] != first


def test_checks_are_measured(tasks: Any, root: Path) -> None:
    # One test row is also in train; one train row is there twice, with another label.
    train = gzip.decompress((root / "source" / "train-images-idx3-ubyte.gz").read_bytes())
    test = bytearray(gzip.decompress((root / "source" / "t10k-images-idx3-ubyte.gz").read_bytes()))
    test[16 : 16 + 64] = train[16 : 16 + 64]
    (root / "source" / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(test)))
    doubled = bytearray(train)
    doubled[16 + 64 : 16 + 128] = train[16 : 16 + 64]
    (root / "source" / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(doubled)))
    names = ["rows", "missing_rate", "leakage_rate", "duplicate_rate", "label_conflicts"]
    gates = [{"metric": name, "max": 1} for name in names] + [
        {"metric": "class_share", "class": "*", "min": 0.1}
    ]
    made = tasks.run(tasks.dataset_task(split={"validationFraction": 0}, gates=gates))
    values = {m.metric: m.value for m in made.measurements}
    assert values == {
        "rows": 300,
        "missing_rate": 0,
        "leakage_rate": pytest.approx(1 / 60, abs=1e-6),
        "duplicate_rate": pytest.approx(2 / 300, abs=1e-6),
        "label_conflicts": 1,
        "class_share": pytest.approx(1 / 3, abs=1e-6),
    }


def test_the_profile_adds_up(tasks: Any, root: Path) -> None:
    made = tasks.run(tasks.dataset_task())
    profile = json.loads(tasks.store.read(made.profile_uri))
    assert sum(profile["inputs"][0]["histogram"]["counts"]) == 216 * 64
    assert sum(profile["inputs"][0]["row_mean"]["counts"]) == 216
    assert profile["target"]["counts"]["train"] == [72, 72, 72]
    assert (made.profile[0].min, made.profile[0].max) == (0, 250)


def test_a_copy_that_was_never_finished_is_not_there(tasks: Any, root: Path, tmp_path: Path) -> None:
    told = DatasetInput.model_validate(tasks.prepare())
    tasks.store.delete(f"{told.storage_uri}manifest.json")
    with pytest.raises(Failure, match=r"has no manifest\.json; it was never finished"):
        dataset.load(told, tasks.store, tmp_path / "copy")


def test_a_changed_copy_is_refused(tasks: Any, root: Path, tmp_path: Path) -> None:
    told = DatasetInput.model_validate(tasks.prepare())
    raw = bytearray(tasks.store.read(f"{told.storage_uri}train/image.npy"))
    raw[-1] ^= 1
    tasks.store.write(f"{told.storage_uri}train/image.npy", bytes(raw))
    with pytest.raises(Failure, match=r"train/image\.npy isn't what manifest\.json says") as failure:
        dataset.load(told, tasks.store, tmp_path / "copy")
    assert failure.value.reason == "DigestMismatch"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"preprocessing": [{"scale": {"divisor": 0}}]},
            r"preprocessing\[0\]\.scale\.divisor is 0; it can't be 0",
        ),
        (
            {"preprocessing": [{"blur": {}}]},
            r"preprocessing\[0\] is blur; allowed is one of scale and normalize",
        ),
        ({"preprocessing": [{"normalize": {"mean": [1]}}]}, "set both mean and std, or neither"),
        (
            {"preprocessing": [{"normalize": {"mean": [1, 2, 3], "std": [1, 2, 3]}}]},
            "has 3 means and 3 stds; input image has 1 channels",
        ),
        ({"split": {"validationFraction": 0.6, "testFraction": 0.6}}, "must leave rows for train"),
    ],
)
def test_a_spec_that_cannot_be_is_told_so(
    tasks: Any, root: Path, changes: dict[str, Any], sentence: str
) -> None:
    if "split" in changes:
        for name in ("images-idx3", "labels-idx1"):
            (root / "source" / f"t10k-{name}-ubyte.gz").unlink()
    with pytest.raises(Failure, match=sentence):
        tasks.run(tasks.dataset_task(**changes))
