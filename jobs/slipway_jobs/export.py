"""Export: the trained model as ONNX with its preprocessing inside, checked against torch."""

import json
import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.torch import save_file

from slipway.contract.report import ExitCode
from slipway_jobs import inference
from slipway_jobs.dataset import Prepared
from slipway_jobs.failure import Failure
from slipway_jobs.model_files import MODEL
from slipway_jobs.models import Classifier

OPSET = 18
"""Old enough for every Triton release with CVE fixes, new enough for the exporter."""
OUTPUT = "logits"
TOLERANCE = 1e-3


def write(model: Classifier, prepared: Prepared, folder: Path) -> Path:
    """model.onnx and model.safetensors in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    tensor = prepared.schema.inputs[0]
    rows = np.array(prepared.rows("train").inputs[:64])
    model = model.cpu().eval()
    # torch's stubs leave out this documented form of to().
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    samples = torch.from_numpy(rows)
    # The exporter tells of every torchvision operator it can't register; none is used.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # torch 2.13 trips over its own deprecation in pytree while it copies the traced graph.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        program = torch.onnx.export(
            model,
            (samples[:2],),
            dynamo=True,
            input_names=[tensor.name],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None, "torch.onnx.export gives a program unless it is told a file"
    proto = program.model_proto
    _strip(proto)
    onnx.helper.set_model_props(proto, {inference.CLASSES: json.dumps({OUTPUT: prepared.classes})})
    onnx.save(proto, str(folder / MODEL))
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()}, folder / "model.safetensors"
    )
    _check(model, samples, folder / MODEL)
    return folder / MODEL


def _strip(proto: onnx.ModelProto) -> None:
    """The exporter notes stack traces with this machine's paths on every node; they say nothing to a reader."""
    del proto.graph.metadata_props[:]
    for value in [*proto.graph.input, *proto.graph.output, *proto.graph.value_info, *proto.graph.initializer]:
        del value.metadata_props[:]
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    proto.producer_name = "slipway"


def _check(model: Classifier, samples: torch.Tensor, path: Path) -> None:
    with torch.no_grad():
        wanted = model(samples).numpy()
    given = inference.predict(inference.session(path), samples.numpy())
    worst = float(np.abs(wanted - given).max())
    if not np.allclose(wanted, given, rtol=TOLERANCE, atol=TOLERANCE):
        raise Failure(
            "ExportMismatch",
            f"The exported model differs from the trained one by up to {worst:.3g} (allowed {TOLERANCE:g}).",
            ExitCode.INTERNAL,
        )
