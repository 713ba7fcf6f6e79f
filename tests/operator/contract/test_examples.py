import json
import struct

import pytest

from slipway.contract.examples import Example, TensorData, difference, infer_answer, infer_request

CLASSES = ["Shirt", "Bag"]


def logits(*values: float, name: str = "logits") -> TensorData:
    raw = struct.pack(f"<{len(values)}f", *values)
    return TensorData.of(name, "FP32", [1, len(values)], raw, CLASSES if len(values) == 2 else None)


def example(*values: float) -> Example:
    return Example(
        inputs=[TensorData.of("image", "UINT8", [1, 3], b"\x01\x02\x03")], outputs=[logits(*values)]
    )


def test_a_request_is_in_the_binary_data_extension() -> None:
    headers, body = infer_request(example(1, 2))
    end = int(headers["Inference-Header-Content-Length"])
    assert json.loads(body[:end]) == {
        "inputs": [
            {"name": "image", "datatype": "UINT8", "shape": [1, 3], "parameters": {"binary_data_size": 3}}
        ],
        "outputs": [{"name": "logits", "parameters": {"binary_data": True}}],
    }
    assert body[end:] == b"\x01\x02\x03"


def test_an_answer_may_be_binary_or_json() -> None:
    head = json.dumps(
        {
            "outputs": [
                {"name": "logits", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
            ]
        }
    ).encode()
    raw = struct.pack("<2f", 1, 2)
    binary = infer_answer({"inference-header-content-length": str(len(head))}, head + raw)
    text = infer_answer(
        {},
        json.dumps(
            {"outputs": [{"name": "logits", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}
        ).encode(),
    )
    assert binary == text
    assert difference(example(1, 2), binary, 0) is None


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'{"outputs": [{"name": "a"}]}', b'{"outputs": 3}'])
def test_what_is_no_answer_is_said_so(body: bytes) -> None:
    with pytest.raises(ValueError, match="the answer is no inference answer"):
        infer_answer({}, body)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ([logits(1.0005, 2)], None),
        ([logits(1.1, 2)], "gives logits 1.1, recorded 1 (tolerance 0.001)"),
        ([logits(3, 2)], "answers with class Shirt, recorded Bag"),
        ([logits(float("nan"), 2)], "gives logits nan, recorded 1 (tolerance 0.001)"),
        ([logits(1, 2, 3)], "gives logits as FP32 [1, 3], recorded FP32 [1, 2]"),
        ([logits(1, 2, name="other")], "gives no output logits"),
        ([], "gives no output logits"),
    ],
)
def test_a_difference_is_told_as_people_would(answer: list[TensorData], sentence: str | None) -> None:
    assert difference(example(1, 2), answer, 1e-3) == sentence


def test_every_width_of_float_is_read() -> None:
    half = TensorData.of("x", "FP16", [2], struct.pack("<2e", 1.5, -2))
    brain = TensorData.of("x", "BF16", [2], struct.pack("<2H", 0x3FC0, 0xC000))
    assert half.values() == brain.values() == [1.5, -2.0]


def test_integers_must_be_equal() -> None:
    recorded = TensorData.of("x", "INT64", [1], struct.pack("<q", 5))
    other = TensorData.of("x", "INT64", [1], struct.pack("<q", 6))
    told = Example(inputs=[], outputs=[recorded])
    assert difference(told, [recorded], 1.0) is None
    assert difference(told, [other], 1.0) == "gives other values of x than recorded"
