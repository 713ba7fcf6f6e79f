"""Test-time augmentation as an ONNX graph: a model averaged over shifted and flipped copies of its input.

    python slow.py model.onnx slow.onnx [--shift 6]

The copies become one large batch, so the result has the inputs and outputs of the model it is made of. Shifts of
-6 to 6 pixels both ways, each flipped or not, make 338 copies: as many times the work.
"""

import argparse

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper


def averaged(model: onnx.ModelProto, shift: int) -> onnx.ModelProto:
    """The model's logits, averaged over (2 * shift + 1)**2 * 2 copies of an image [batch, height, width]."""
    image, logits = model.graph.input[0], model.graph.output[0]
    height, width = (d.dim_value for d in image.type.tensor_type.shape.dim[1:])
    classes = logits.type.tensor_type.shape.dim[1].dim_value
    nodes, constants, copies = [], [], []

    def constant(name: str, values: list[int]) -> str:
        constants.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    nodes.append(helper.make_node("Pad", ["raw", constant("pads", [0, shift, shift] * 2)], ["padded"]))
    axes, ones = constant("axes", [1, 2]), constant("ones", [1, 1])
    for y in range(2 * shift + 1):
        for x in range(2 * shift + 1):
            name = f"copy_{y}_{x}"
            starts, ends = constant(f"{name}_from", [y, x]), constant(f"{name}_to", [y + height, x + width])
            nodes.append(helper.make_node("Slice", ["padded", starts, ends, axes, ones], [name]))
            copies.append(name)
    nodes.append(helper.make_node("Concat", copies, ["shifted"], axis=0))
    last, first = constant("last", [-1]), constant("before_first", [np.iinfo(np.int64).min])
    nodes.append(
        helper.make_node(
            "Slice", ["shifted", last, first, constant("width", [2]), constant("back", [-1])], ["flipped"]
        )
    )
    nodes.append(helper.make_node("Concat", ["shifted", "flipped"], ["copies"], axis=0))
    datatype = image.type.tensor_type.elem_type
    before = helper.make_graph(
        nodes,
        "copies",
        [helper.make_tensor_value_info("raw", datatype, ["batch", height, width])],
        [helper.make_tensor_value_info("copies", datatype, ["copies", height, width])],
        constants,
    )
    count = 2 * (2 * shift + 1) ** 2
    after = helper.make_graph(
        [
            helper.make_node("Reshape", ["each", "by_copy"], ["grouped"]),
            helper.make_node("ReduceMean", ["grouped", "over_copies"], ["mean"], keepdims=0),
        ],
        "mean",
        [helper.make_tensor_value_info("each", TensorProto.FLOAT, ["copies", classes])],
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["batch", classes])],
        [
            numpy_helper.from_array(np.array([count, -1, classes], np.int64), "by_copy"),
            numpy_helper.from_array(np.array([0], np.int64), "over_copies"),
        ],
    )
    versions = {"opset_imports": model.opset_import, "ir_version": model.ir_version}
    inner = compose.add_prefix(model, "model/")
    result = compose.merge_models(
        helper.make_model(before, **versions), inner, io_map=[("copies", f"model/{image.name}")]
    )
    result = compose.merge_models(
        result, helper.make_model(after, **versions), io_map=[(f"model/{logits.name}", "each")]
    )
    renamed = {"raw": image.name, "mean": logits.name}
    for node in result.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    for value in (*result.graph.input, *result.graph.output):
        value.name = renamed.get(value.name, value.name)
    for entry in model.metadata_props:
        if entry.key not in {known.key for known in result.metadata_props}:
            result.metadata_props.add(key=entry.key, value=entry.value)
    onnx.checker.check_model(result)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("result")
    parser.add_argument("--shift", type=int, default=6, help="pixels, both ways (default 6)")
    arguments = parser.parse_args()
    onnx.save(averaged(onnx.load(arguments.model), arguments.shift), arguments.result)


if __name__ == "__main__":
    main()
