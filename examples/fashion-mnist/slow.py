"""Test-time augmentation as an ONNX graph: a model averaged over shifted and flipped copies of its input.

    python slow.py model.onnx slow.onnx [--shift 4]

Shifts of -4 to 4 pixels both ways, each flipped or not, make 162 copies: as many times the work, one shift after
the other in a Loop, so that memory stays that of one. Inputs and outputs are those of the model it is made of.
"""

import argparse

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper


def averaged(model: onnx.ModelProto, shift: int) -> onnx.ModelProto:
    """The model's logits, averaged over (2 * shift + 1)**2 * 2 copies of an image [batch, height, width]."""
    inner = compose.add_prefix(model, "model/").graph
    image, logits = model.graph.input[0], model.graph.output[0]
    height, width = (d.dim_value for d in image.type.tensor_type.shape.dim[1:])
    classes = logits.type.tensor_type.shape.dim[1].dim_value
    positions = [[y, x] for y in range(2 * shift + 1) for x in range(2 * shift + 1)]
    constants = {
        "pads": np.array([0, shift, shift] * 2),
        "positions": np.array(positions),
        "size": np.array([height, width]),
        "axes": np.array([1, 2]),
        "width_axis": np.array([2]),
        "last": np.array([-1]),
        "before_first": np.array([np.iinfo(np.int64).min]),
        "first": np.array([0]),
        "classes": np.array([classes]),
        "by_copy": np.array([2, -1, classes]),
        "count": np.array(len(positions)),
    }
    body = helper.make_graph(
        [
            helper.make_node("Gather", ["positions", "index"], ["from"]),
            helper.make_node("Add", ["from", "size"], ["to"]),
            helper.make_node("Slice", ["padded", "from", "to", "axes"], ["shifted"]),
            helper.make_node("Slice", ["shifted", "last", "before_first", "width_axis", "last"], ["flipped"]),
            helper.make_node("Concat", ["shifted", "flipped"], [inner.input[0].name], axis=0),
            *inner.node,
            helper.make_node("Reshape", [inner.output[0].name, "by_copy"], ["two"]),
            helper.make_node("ReduceMean", ["two", "first"], ["mean"], keepdims=0),
            helper.make_node("Add", ["sum", "mean"], ["next_sum"]),
            helper.make_node("Identity", ["go_on"], ["goes_on"]),
        ],
        "one_shift",
        [
            helper.make_tensor_value_info("index", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["batch", classes]),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next_sum", TensorProto.FLOAT, ["batch", classes]),
        ],
    )
    nodes = [
        helper.make_node("Pad", [image.name, "pads"], ["padded"]),
        helper.make_node("Shape", [image.name], ["batch_size"], start=0, end=1),
        helper.make_node("Concat", ["batch_size", "classes"], ["answers"], axis=0),
        helper.make_node("ConstantOfShape", ["answers"], ["nothing"]),
        helper.make_node("Loop", ["count", "", "nothing"], ["whole"], body=body),
        helper.make_node("CastLike", ["count", "whole"], ["divisor"]),
        helper.make_node("Div", ["whole", "divisor"], [logits.name]),
    ]
    tensors = [numpy_helper.from_array(value.astype(np.int64), name) for name, value in constants.items()]
    graph = helper.make_graph(
        nodes, "averaged", [image], [logits], [*tensors, *inner.initializer]
    )  # the loop sees the weights of the graph around it
    result = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    result.metadata_props.extend(model.metadata_props)
    onnx.checker.check_model(result)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("result")
    parser.add_argument("--shift", type=int, default=4, help="pixels, both ways (default 4)")
    arguments = parser.parse_args()
    onnx.save(averaged(onnx.load(arguments.model), arguments.shift), arguments.result)


if __name__ == "__main__":
    main()
