"""Source formats: each reads a downloaded folder into rows by the parts that the source names."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DATATYPES: dict[str, type[np.generic]] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}
"""Open Inference Protocol -> NumPy."""
PARTS = {
    "train": "train", "training": "train", "t10k": "test", "test": "test", "val": "validation",
    "valid": "validation", "validation": "validation",
}  # fmt: skip
"""What sources call their parts -> what a split is called."""


@dataclass(frozen=True)
class Rows:
    """One input tensor and one target per row."""

    inputs: NDArray[np.generic]
    targets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, indices: NDArray[np.int64]) -> "Rows":
        return Rows(self.inputs[indices], self.targets[indices])


def datatype(array: NDArray[np.generic]) -> str:
    """The protocol's name of an array's type."""
    return next(name for name, kind in DATATYPES.items() if np.dtype(kind) == array.dtype)
