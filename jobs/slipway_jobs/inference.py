"""ONNX files as they are served: signature, safety, sessions of onnxruntime, predictions."""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # it has no types
from numpy.typing import NDArray

from slipway.contract.base import Signature, Tensor
from slipway.contract.report import ExitCode
from slipway_jobs.failure import Failure

CLASSES = "slipway.classes"
"""Key of the file's metadata: JSON, output name -> names of the classes."""
BATCH = 256
_DATATYPES = {
    "BOOL": onnx.TensorProto.BOOL,
    "UINT8": onnx.TensorProto.UINT8,
    "UINT16": onnx.TensorProto.UINT16,
    "UINT32": onnx.TensorProto.UINT32,
    "UINT64": onnx.TensorProto.UINT64,
    "INT8": onnx.TensorProto.INT8,
    "INT16": onnx.TensorProto.INT16,
    "INT32": onnx.TensorProto.INT32,
    "INT64": onnx.TensorProto.INT64,
    "FP16": onnx.TensorProto.FLOAT16,
    "BF16": onnx.TensorProto.BFLOAT16,
    "FP32": onnx.TensorProto.FLOAT,
    "FP64": onnx.TensorProto.DOUBLE,
    "BYTES": onnx.TensorProto.STRING,
}


def unloadable(message: str) -> Failure:
    return Failure("NotLoadable", message, ExitCode.DATA)


def read(path: Path) -> onnx.ModelProto:
    """The graph without its external data, whose places are checked first."""
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's DecodeError has no public type in common with onnx's own
        raise unloadable(f"{path.name}: no ONNX file: {str(error)[:200]}.") from error
    if not model.graph.output:
        raise unloadable(f"{path.name}: no ONNX file: its graph has no outputs.")
    for tensor in _tensors(model.graph):
        _check_place(path, tensor)
    return model


def _check_place(path: Path, tensor: onnx.TensorProto) -> None:
    """External data must be a plain file in the model's own folder: a path out of it would read the node's files."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return
    place = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    parts = PurePosixPath(place).parts
    target = path.parent / place
    if not place or place.startswith("/") or ".." in parts or "\\" in place:
        raise unloadable(
            f"{path.name}: tensor {tensor.name} keeps its data at {place!r}, outside the model's folder."
        )
    if target.is_symlink() or not target.resolve().is_relative_to(path.parent.resolve()):
        raise unloadable(f"{path.name}: tensor {tensor.name} keeps its data behind a link, {place!r}.")
    if not target.is_file():
        raise unloadable(
            f"{path.name}: its data file {place!r} isn't beside it; push the folder, not the file."
        )


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from ([attribute.t] if attribute.HasField("t") else [])
            yield from attribute.tensors
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from _tensors(inner)


def signature(model: onnx.ModelProto) -> Signature:
    classes = {entry.key: entry.value for entry in model.metadata_props}.get(CLASSES)
    named: dict[str, list[str]] = json.loads(classes) if classes else {}
    weights = {tensor.name for tensor in model.graph.initializer}
    return Signature(
        inputs=[_tensor(value, None) for value in model.graph.input if value.name not in weights],
        outputs=[_tensor(value, named.get(value.name)) for value in model.graph.output],
    )


def _tensor(value: onnx.ValueInfoProto, classes: list[str] | None) -> Tensor:
    kind = value.type.tensor_type
    datatype = next((name for name, code in _DATATYPES.items() if code == kind.elem_type), None)
    if datatype is None or not value.type.HasField("tensor_type"):
        raise unloadable(f"{value.name} is no tensor of a type that the Open Inference Protocol has.")
    shape = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim]
    return Tensor(name=value.name, datatype=datatype, shape=shape, classes=classes)


def session(path: Path, threads: int = 1, **options: Any) -> onnxruntime.InferenceSession:
    """On the CPU. One thread unless asked: spinning threads of several jobs on a node starve each other."""
    told = onnxruntime.SessionOptions()
    told.intra_op_num_threads = threads
    told.inter_op_num_threads = 1
    told.log_severity_level = 3
    for name, value in options.items():
        setattr(told, name, value)
    try:
        return onnxruntime.InferenceSession(str(path), told, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own types, which share no base but Exception
        raise unloadable(f"{path.name}: doesn't load in {runtime()}: {str(error)[:300]}") from error


def predict(
    running: onnxruntime.InferenceSession, inputs: NDArray[np.generic], batch: int = BATCH
) -> NDArray[np.float32]:
    """The first output for every row."""
    name = running.get_inputs()[0].name
    parts = [
        running.run(None, {name: np.ascontiguousarray(inputs[i : i + batch])})[0]
        for i in range(0, len(inputs), batch)
    ]
    return np.concatenate(parts)


def runtime() -> str:
    return f"onnxruntime {onnxruntime.__version__}"
