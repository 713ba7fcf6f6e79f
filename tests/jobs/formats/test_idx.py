import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipway.contract.config import Schema
from slipway_jobs.failure import Unreadable
from slipway_jobs.formats import idx


def schema(shape: list[int], datatype: str = "UINT8", classes: tuple[str, ...] = ("a", "b")) -> Schema:
    return Schema.model_validate(
        {
            "inputs": [{"name": "x", "datatype": datatype, "shape": shape}],
            "target": "y",
            "classes": list(classes),
        }
    )


def file(magic: int, shape: tuple[int, ...], values: bytes) -> bytes:
    return struct.pack(f">I{len(shape)}I", magic, *shape) + values


def source(folder: Path, **files: bytes) -> Path:
    names = {"images": "train-images-idx3-ubyte", "labels": "train-labels-idx1-ubyte"}
    for role, data in files.items():
        (folder / names[role]).write_bytes(data)
    return folder


IMAGES = file(0x0803, (2, 2, 2), bytes(range(8)))
LABELS = file(0x0801, (2,), b"\x00\x01")


def test_plain_and_packed_files_read_alike(tmp_path: Path) -> None:
    plain = idx.read(source(tmp_path, images=IMAGES, labels=LABELS), schema([2, 2]))["train"]
    packed = tmp_path / "packed"
    packed.mkdir()
    (packed / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(IMAGES))
    (packed / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(LABELS))
    again = idx.read(packed, schema([2, 2]))["train"]
    assert plain.inputs.tolist() == again.inputs.tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
    assert plain.targets.tolist() == again.targets.tolist() == [0, 1]


def test_wide_values_are_turned_to_this_machines_byte_order(tmp_path: Path) -> None:
    values = np.array([[[1.5, -2.0]]], ">f4")
    folder = source(
        tmp_path, images=file(0x0D03, (1, 1, 2), values.tobytes()), labels=file(0x0801, (1,), b"\x01")
    )
    rows = idx.read(folder, schema([1, 2], "FP32"))["train"]
    assert rows.inputs.dtype == np.dtype("float32")
    assert rows.inputs.tolist() == [[[1.5, -2.0]]]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"images": file(0, (2, 2, 2), bytes(8))},
            "train-images-idx3-ubyte: magic number 0x00000000, an IDX image file has 0x00000803.",
        ),
        (
            {"labels": IMAGES},
            "train-labels-idx1-ubyte: magic number 0x00000803, an IDX label file has 0x00000801.",
        ),
        ({"images": IMAGES[:-1]}, "7 bytes of values, its head says [2, 2, 2] which needs 8"),
        ({"images": b"\x00"}, "1 bytes, too short for an IDX file"),
        ({"labels": file(0x0801, (1,), b"\x00")}, "has 2 rows, train-labels-idx1-ubyte has 1"),
        (
            {"labels": file(0x0801, (2,), b"\x00\x07")},
            "label 7 in 1 rows; schema.target.classes has 2 classes, 0 to 1.",
        ),
    ],
)
def test_bad_bytes_get_a_sentence(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Unreadable) as failure:
        idx.read(source(tmp_path, **{"images": IMAGES, "labels": LABELS, **changes}), schema([2, 2]))
    assert sentence in failure.value.message


def test_a_schema_that_differs_from_the_rows_is_told_so(tmp_path: Path) -> None:
    folder = source(tmp_path, images=IMAGES, labels=LABELS)
    with pytest.raises(Unreadable, match=r"rows have shape \[2, 2\], schema input x says \[28, 28\]"):
        idx.read(folder, schema([28, 28]))
    with pytest.raises(Unreadable, match="values are UINT8, schema input x says FP32"):
        idx.read(folder, schema([2, 2], "FP32"))


def test_a_part_without_labels_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="Part train has train-images-idx3-ubyte but no labels file"):
        idx.read(source(tmp_path, images=IMAGES), schema([2, 2]))


def test_a_broken_gzip_is_named(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(IMAGES)[:20])
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(LABELS)
    with pytest.raises(Unreadable, match=r"train-images-idx3-ubyte\.gz: can't be unpacked by gzip"):
        idx.read(tmp_path, schema([2, 2]))
