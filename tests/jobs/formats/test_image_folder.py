from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slipway.contract.config import Schema
from slipway_jobs.failure import Unreadable
from slipway_jobs.formats import image_folder


def schema(shape: list[int]) -> Schema:
    tensor = {"name": "x", "datatype": "UINT8", "shape": shape}
    return Schema.model_validate({"inputs": [tensor], "target": "y", "classes": ["T-shirt/top", "Bag"]})


def picture(path: Path, value: int, size: tuple[int, int] = (4, 2)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 0, 0)).save(path)


def test_classes_are_folders_in_the_schemas_order(tmp_path: Path) -> None:
    picture(tmp_path / "Bag" / "1.png", 10)
    picture(tmp_path / "T-shirt_top" / "1.png", 20)
    rows = image_folder.read(tmp_path, schema([2, 4, 3]))["train"]
    assert dict(zip(rows.targets.tolist(), rows.inputs[:, 0, 0, 0].tolist(), strict=True)) == {1: 10, 0: 20}


def test_channels_first_and_grey_follow_the_schema(tmp_path: Path) -> None:
    picture(tmp_path / "Bag" / "1.png", 100)
    assert image_folder.read(tmp_path, schema([3, 2, 4]))["train"].inputs.shape == (1, 3, 2, 4)
    grey = image_folder.read(tmp_path, schema([2, 4]))["train"].inputs
    assert np.unique(grey).tolist() == [30]


def test_parts_are_kept(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "Bag" / "1.png", 1)
    picture(tmp_path / "val" / "Bag" / "1.png", 2)
    assert sorted(image_folder.read(tmp_path, schema([2, 4]))) == ["train", "validation"]


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "Bag" / "1.png", 1, (5, 5))
    with pytest.raises(Unreadable, match=r"Bag/1\.png: size \[5, 5\], schema input says \[2, 4\]"):
        image_folder.read(tmp_path, schema([2, 4]))
    (tmp_path / "Bag" / "1.png").write_bytes(b"no png")
    with pytest.raises(Unreadable, match=r"Bag/1\.png: no readable image"):
        image_folder.read(tmp_path, schema([2, 4]))
    picture(tmp_path / "Hat" / "1.png", 1)
    (tmp_path / "Bag" / "1.png").unlink()
    with pytest.raises(Unreadable, match=r"Hat: no such class; schema.target.classes has T-shirt/top, Bag"):
        image_folder.read(tmp_path, schema([2, 4]))
