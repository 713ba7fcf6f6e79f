from dataclasses import replace

import pytest

from slipway.contract.base import Signature, Tensor
from slipway.kinds.model_deployment.triton import InstanceGroup, NotServable, TritonConfig, render

IMAGE = Tensor(name="image", datatype="UINT8", shape=[-1, 28, 28])
LOGITS = Tensor(name="logits", datatype="FP32", shape=[-1, 10])
DEFAULTS = TritonConfig(
    max_batch_size=64,
    dynamic_batching=True,
    max_queue_delay_us=None,
    instance_groups=(InstanceGroup(1, "KIND_AUTO"),),
    threads=1,
)


def config(*inputs: Tensor, outputs: tuple[Tensor, ...] = (LOGITS,), of: TritonConfig = DEFAULTS) -> str:
    return render("fashion", Signature(inputs=list(inputs), outputs=list(outputs)), of)


def test_the_batch_dimension_is_left_to_triton() -> None:
    assert config(IMAGE) == (
        'name: "fashion"\n'
        'backend: "onnxruntime"\n'
        "max_batch_size: 64\n"
        'input [ { name: "image" data_type: TYPE_UINT8 dims: [ 28, 28 ] } ]\n'
        'output [ { name: "logits" data_type: TYPE_FP32 dims: [ 10 ] } ]\n'
        "instance_group [ { count: 1 kind: KIND_AUTO } ]\n"
        "dynamic_batching {}\n"
        'parameters { key: "intra_op_thread_count" value { string_value: "1" } }\n'
    )


def test_without_batching_shapes_are_as_they_are() -> None:
    found = config(IMAGE, of=replace(DEFAULTS, max_batch_size=0))
    assert "max_batch_size: 0\n" in found
    assert "dims: [ -1, 28, 28 ]" in found
    assert "dynamic_batching" not in found


def test_text_is_a_string_to_triton() -> None:
    found = config(Tensor(name="text", datatype="BYTES", shape=[-1, 1]))
    assert 'input [ { name: "text" data_type: TYPE_STRING dims: [ 1 ] } ]' in found


def test_one_figure_a_row_is_reshaped_to_what_the_model_takes() -> None:
    found = config(Tensor(name="age", datatype="FP32", shape=[-1]))
    assert 'input [ { name: "age" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } } ]' in found


@pytest.mark.parametrize("datatype", ["BOOL", "INT64", "FP16", "FP64", "BF16"])
def test_other_datatypes_keep_their_names(datatype: str) -> None:
    assert f"data_type: TYPE_{datatype} " in config(Tensor(name="x", datatype=datatype, shape=[-1, 3]))


def test_every_input_and_output_is_there() -> None:
    found = config(IMAGE, Tensor(name="mask", datatype="BOOL", shape=[-1, -1]), outputs=(LOGITS, IMAGE))
    assert [line.split('"')[1] for line in found.splitlines() if line.startswith("input")] == [
        "image",
        "mask",
    ]
    assert [line.split('"')[1] for line in found.splitlines() if line.startswith("output")] == [
        "logits",
        "image",
    ]
    assert 'name: "mask" data_type: TYPE_BOOL dims: [ -1 ]' in found


def test_delay_copies_and_threads_are_those_of_the_spec() -> None:
    found = config(
        IMAGE,
        of=replace(
            DEFAULTS,
            max_queue_delay_us=100,
            instance_groups=(InstanceGroup(2, "KIND_CPU"), InstanceGroup(1, "KIND_GPU")),
            threads=4,
        ),
    )
    assert "dynamic_batching { max_queue_delay_microseconds: 100 }" in found
    assert "instance_group [ { count: 2 kind: KIND_CPU } ]" in found
    assert "instance_group [ { count: 1 kind: KIND_GPU } ]" in found
    assert 'string_value: "4"' in found


@pytest.mark.parametrize("shape", [[1, 28, 28], []])
def test_a_fixed_batch_is_refused_with_what_to_set(shape: list[int]) -> None:
    with pytest.raises(NotServable) as refused:
        config(Tensor(name="image", datatype="UINT8", shape=shape))
    assert str(refused.value) == (
        f"triton.maxBatchSize is 64, but image has shape {shape}: its first dimension isn't a free batch (-1); "
        "set triton.maxBatchSize to 0"
    )
