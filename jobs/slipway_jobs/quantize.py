"""Static int8 quantization by onnxruntime, QDQ format, calibrated on rows of the dataset."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (  # type: ignore[import-untyped]  # it has no types
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process  # type: ignore[import-untyped]  # as above

from slipway.contract.config import Calibration, StaticQuantize
from slipway_jobs import inference
from slipway_jobs.dataset import Prepared

BATCH = 64
"""Rows per calibration step, at most."""
_METHODS = {
    "MinMax": CalibrationMethod.MinMax,
    "Entropy": CalibrationMethod.Entropy,
    "Percentile": CalibrationMethod.Percentile,
}
_TYPES = {"INT8": QuantType.QInt8, "UINT8": QuantType.QUInt8}


class Rows(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """The calibration rows, raw as a client sends them: preprocessing is inside the graph."""

    def __init__(self, name: str, rows: NDArray[np.generic]) -> None:
        self._name = name
        # All of one size: the histograms of entropy and percentile stack the activations of every step.
        size = next(size for size in range(min(BATCH, len(rows)), 0, -1) if len(rows) % size == 0)
        self._batches = iter(np.split(rows, len(rows) // size))

    def get_next(self) -> dict[str, NDArray[np.generic]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {self._name: np.ascontiguousarray(batch)}


def calibration_rows(data: Prepared, told: Calibration) -> NDArray[np.generic]:
    """As many rows of the split as asked for (all if it has fewer), drawn by the seed."""
    inputs = data.rows(told.split).inputs
    drawn = np.random.default_rng(told.seed).permutation(len(inputs))[: told.samples]
    return np.asarray(inputs[np.sort(drawn)])


def static(source: Path, told: StaticQuantize, data: Prepared, target: Path) -> list[str]:
    """Writes the int8 model to `target`; gives notes on what became of the graph."""
    model = inference.read(source)
    name = inference.signature(model).inputs[0].name
    simplified = target.with_suffix(".simplified.onnx")
    # Symbolic shape inference stumbles over graphs that onnx itself understands; constant folding is what counts.
    quant_pre_process(str(source), str(simplified), skip_symbolic_shape=True)
    quantize_static(
        str(simplified),
        str(target),
        Rows(name, calibration_rows(data, told.calibration)),
        quant_format=QuantFormat.QDQ,
        per_channel=told.per_channel,
        activation_type=_TYPES[told.activation_type],
        weight_type=_TYPES[told.weight_type],
        calibrate_method=_METHODS[told.calibration.method],
    )
    simplified.unlink()
    _keep_metadata(model, target)
    return notes(source, target)


def _keep_metadata(source: onnx.ModelProto, target: Path) -> None:
    """The classes' names go along."""
    made = onnx.load(str(target))
    onnx.helper.set_model_props(made, {entry.key: entry.value for entry in source.metadata_props})
    made.producer_name = "slipway"
    onnx.save(made, str(target))


def notes(source: Path, target: Path) -> list[str]:
    """How much really runs in int8, from the graph as onnxruntime optimizes it.

    A convolution that isn't fused with the Q/DQ around it runs in floats and pays for the conversions: the
    commonest reason for int8 that isn't faster.
    """
    optimized = target.with_suffix(".optimized.onnx")
    inference.session(target, optimized_model_filepath=str(optimized))
    found = Counter(node.op_type for node in onnx.load(str(optimized)).graph.node)
    optimized.unlink()
    wanted: Counter[str] = Counter(node.op_type for node in onnx.load(str(source)).graph.node)
    said = []
    if wanted["Conv"]:
        said.append(f"{found['QLinearConv']} of {wanted['Conv']} Conv fused")
    if wanted["MatMul"] + wanted["Gemm"]:
        fused = found["QLinearMatMul"] + found["QGemm"] + found["MatMulIntegerToFloat"]
        said.append(f"{fused} of {wanted['MatMul'] + wanted['Gemm']} MatMul and Gemm fused")
    said.append(f"{found['QuantizeLinear'] + found['DequantizeLinear']} Q/DQ left in the optimized graph")
    return said
