"""Data and models small enough that a test takes seconds: 8x8 images of three classes, and ONNX files made here."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

CLASSES = ["top", "middle", "bottom"]
SIZE = 8
WHITE = np.full((1, SIZE, SIZE), 255, np.uint8)
"""The image that fragile() can't answer."""
OPSET, IR = 17, 8


def images(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Noise with a bright band at the class's place."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % len(CLASSES)).astype(np.uint8)
    pixels = rng.integers(0, 120, (count, SIZE, SIZE), dtype=np.uint8)
    for row, label in enumerate(labels):
        pixels[row, 1 + 2 * label : 3 + 2 * label] += 130
    return pixels, labels


def idx(values: NDArray[np.uint8]) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()


def write_dataset(folder: Path, train: int = 600, test: int = 150) -> None:
    """As MNIST is laid out: train, and t10k for the test split."""
    folder.mkdir(parents=True)
    for part, count, seed in (("train", train, 1), ("t10k", test, 2)):
        pixels, labels = images(count, seed)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(pixels))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))


def write_broken_dataset(folder: Path) -> None:
    """Its image file has no IDX magic number."""
    write_dataset(folder, 12, 6)
    file = folder / "train-images-idx3-ubyte"
    file.write_bytes(bytes(4) + file.read_bytes()[4:])


def plain(seed: int) -> onnx.ModelProto:
    """image UINT8 [batch, 8, 8] -> logits FP32 [batch, 3], by one matrix."""
    return _model(seed, [], [], adds=None)


def slow(seed: int, products: int = 40, width: int = 768) -> onnx.ModelProto:
    """The same answers after much work. It is done once for a batch, so waiting requests don't add to it."""
    zeros = numpy_helper.from_array(np.zeros((width, width), np.float32), "zeros")
    nodes = [
        helper.make_node("ReduceMax", ["pixels"], ["brightest"], keepdims=0),
        # Depends on the input, so that it isn't worked out once when the model is loaded.
        helper.make_node("Mul", ["zeros", "brightest"], ["work_0"]),
        *(helper.make_node("MatMul", [f"work_{n}", "work_0"], [f"work_{n + 1}"]) for n in range(products)),
        helper.make_node("ReduceMax", [f"work_{products}"], ["nothing"], keepdims=0),
    ]
    return _model(seed, nodes, [zeros], adds="nothing")


def fragile(seed: int) -> onnx.ModelProto:
    """The same answers, but an error for WHITE: an index beyond a table's end."""
    constants = [
        numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
        numpy_helper.from_array(np.array(WHITE.size * 255, np.float32), "all_white"),
        numpy_helper.from_array(np.zeros((1, 1), np.float32), "table"),
    ]
    nodes = [
        helper.make_node("ReduceSum", ["pixels", "axes"], ["sum"], keepdims=0),
        helper.make_node("Equal", ["sum", "all_white"], ["is_white"]),
        helper.make_node("Cast", ["is_white"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["looked_up"], axis=0),
    ]
    return _model(seed, nodes, constants, adds="looked_up")


def _model(
    seed: int, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], adds: str | None
) -> onnx.ModelProto:
    weights = np.random.default_rng(seed).standard_normal((SIZE * SIZE, len(CLASSES))).astype(np.float32)
    result = "logits" if adds is None else "product"
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["pixels"], ["rows"], axis=1),
            helper.make_node("MatMul", ["rows", "weights"], [result]),
            *nodes,
            *([helper.make_node("Add", [result, adds], ["logits"])] if adds is not None else []),
        ],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(CLASSES)])],
        [numpy_helper.from_array(weights / 255, "weights"), *constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    onnx.checker.check_model(model)
    return model
