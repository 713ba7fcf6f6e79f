"""IDX, the format of MNIST: pairs of files <part>-images-idx3-ubyte[.gz] and <part>-labels-idx1-ubyte[.gz].

The magic number is 0x0000TTNN: element type TT, number of dimensions NN, then each dimension as a big-endian
32-bit integer, then the values.
"""

import gzip
import math
import re
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slipway.contract.config import Schema
from slipway_jobs.failure import Unreadable
from slipway_jobs.formats import DATATYPES, PARTS, Rows, datatype

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
NAME = re.compile(r"(?P<part>[A-Za-z0-9]+)[-.](?P<role>images|labels)[-.]idx\d-ubyte(\.gz)?")


def read(folder: Path, schema: Schema) -> dict[str, Rows]:
    """Rows by part; every image file needs its label file."""
    files: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        match = NAME.fullmatch(path.name)
        if match and match["part"].lower() in PARTS:
            files.setdefault(PARTS[match["part"].lower()], {})[match["role"]] = path
    if not files:
        seen = ", ".join(sorted(p.name for p in folder.iterdir())[:6])
        raise Unreadable(f"No IDX files among {seen}; expected names like train-images-idx3-ubyte.gz.")
    return {part: _pair(part, roles, schema) for part, roles in files.items()}


def _pair(part: str, roles: dict[str, Path], schema: Schema) -> Rows:
    for role in ("images", "labels"):
        if role not in roles:
            other = next(iter(roles.values())).name
            raise Unreadable(f"Part {part} has {other} but no {role} file.")
    tensor = schema.inputs[0]
    images = array(roles["images"], "image", 1 + len(tensor.shape))
    labels = array(roles["labels"], "label", 1)
    name = roles["images"].name
    if len(images) != len(labels):
        raise Unreadable(f"{name} has {len(images)} rows, {roles['labels'].name} has {len(labels)}.")
    if list(images.shape[1:]) != tensor.shape:
        raise Unreadable(
            f"{name}: rows have shape {list(images.shape[1:])}, schema input {tensor.name} says {tensor.shape}."
        )
    if images.dtype != np.dtype(DATATYPES[tensor.datatype]):
        raise Unreadable(
            f"{name}: values are {datatype(images)}, schema input {tensor.name} says {tensor.datatype}."
        )
    targets = labels.astype(np.int64)
    if schema.classes is not None and len(targets):
        count = len(schema.classes)
        wrong = targets[(targets < 0) | (targets >= count)]
        if len(wrong):
            raise Unreadable(
                f"{roles['labels'].name}: label {wrong[0]} in {len(wrong)} rows; "
                f"schema.target.classes has {count} classes, 0 to {count - 1}."
            )
    return Rows(images, targets)


def array(path: Path, what: str, dimensions: int) -> NDArray[np.generic]:
    """The array in one IDX file, in the machine's byte order."""
    raw = _bytes(path)
    if len(raw) < 4:
        raise Unreadable(f"{path.name}: {len(raw)} bytes, too short for an IDX file.")
    magic = int.from_bytes(raw[:4], "big")
    code, found = magic >> 8 & 0xFF, magic & 0xFF
    if magic >> 16 or code not in TYPES or found != dimensions:
        raise Unreadable(
            f"{path.name}: magic number 0x{magic:08X}, an IDX {what} file has 0x{0x0800 + dimensions:08X}."
        )
    start = 4 + 4 * dimensions
    if len(raw) < start:
        raise Unreadable(f"{path.name}: {len(raw)} bytes, its head alone has {start}.")
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)]
    kind = np.dtype(TYPES[code])
    wanted = math.prod(shape) * kind.itemsize
    if len(raw) - start != wanted:
        raise Unreadable(
            f"{path.name}: {len(raw) - start} bytes of values, its head says {shape} which needs {wanted}; "
            "the file is cut or has something behind it."
        )
    values: NDArray[np.generic] = np.frombuffer(raw, kind, offset=start).reshape(shape)
    return values.astype(kind.newbyteorder("="), copy=False)


def _bytes(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(f"{path.name}: can't be unpacked by gzip: {error}.") from error
