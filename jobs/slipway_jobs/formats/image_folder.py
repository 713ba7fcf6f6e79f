"""ImageFolder: [<part>/]<class>/<image>, as in torchvision."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from slipway.contract.config import Schema
from slipway_jobs.failure import InvalidConfig, Unreadable
from slipway_jobs.formats import PARTS, Rows

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}


def read(folder: Path, schema: Schema) -> dict[str, Rows]:
    """Rows by part; a folder without parts is all train."""
    tops = sorted(path for path in folder.iterdir() if path.is_dir())
    parts = {PARTS[top.name.lower()]: top for top in tops if top.name.lower() in PARTS}
    if parts and len(parts) < len(tops):
        others = ", ".join(top.name for top in tops if top.name.lower() not in PARTS)
        raise Unreadable(
            f"Folders {others} lie beside the parts {', '.join(parts)}; classes belong inside a part."
        )
    if schema.classes is None:
        raise InvalidConfig("schema.target.classes is needed: it gives the order of the classes' numbers.")
    return {part: _part(path, folder, schema) for part, path in (parts or {"train": folder}).items()}


def _part(top: Path, root: Path, schema: Schema) -> Rows:
    numbers = {name: number for number, name in enumerate(schema.classes or [])}
    tensor = schema.inputs[0]
    if tensor.datatype != "UINT8":
        raise InvalidConfig(f"schema.inputs[0].datatype is {tensor.datatype}; images are UINT8.")
    images: list[NDArray[np.uint8]] = []
    targets: list[int] = []
    for group in sorted(path for path in top.iterdir() if path.is_dir()):
        # A class such as T-shirt/top can't be a folder's name: "_" stands for "/".
        number = numbers.get(group.name, numbers.get(group.name.replace("_", "/")))
        if number is None:
            raise Unreadable(
                f"{group.relative_to(root)}: no such class; schema.target.classes has {', '.join(numbers)}."
            )
        for path in sorted(p for p in group.iterdir() if p.suffix.lower() in ENDINGS):
            images.append(_image(path, root, tensor.shape))
            targets.append(number)
    if not images:
        raise Unreadable(
            f"{top.relative_to(root)}: no image in any class folder ({', '.join(sorted(ENDINGS))})."
        )
    return Rows(np.stack(images), np.array(targets, np.int64))


def _image(path: Path, root: Path, shape: list[int]) -> NDArray[np.uint8]:
    """The pixels in the schema's shape: [h, w] grey, [h, w, 3] or [3, h, w] colour."""
    colour = len(shape) == 3 and 3 in (shape[0], shape[2])
    if not colour and len(shape) != 2:
        raise InvalidConfig(f"schema.inputs[0].shape is {shape}; an image is [h, w], [h, w, 3] or [3, h, w].")
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB" if colour else "L"))
    except (UnidentifiedImageError, OSError) as error:
        raise Unreadable(f"{path.relative_to(root)}: no readable image: {error}.") from error
    if colour and shape[0] == 3 and shape[2] != 3:
        pixels = pixels.transpose(2, 0, 1)
    if list(pixels.shape) != shape:
        raise Unreadable(f"{path.relative_to(root)}: size {list(pixels.shape)}, schema input says {shape}.")
    return pixels
