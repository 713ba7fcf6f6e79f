"""Examples of a version (examples.json): inputs with the answers the model gave where it was made.

Tensors are in the words of the Open Inference Protocol; `data` is base64 of the raw little-endian values in C
order (BYTES: each element behind its length as a 4-byte integer), the same bytes as in the protocol's binary
data extension, so nothing is lost in decimal and any datatype travels.

    {"version": 1, "examples": [
      {"inputs":  [{"name": "image", "datatype": "UINT8", "shape": [1, 28, 28], "data": "..."}],
       "outputs": [{"name": "logits", "datatype": "FP32", "shape": [1, 10], "data": "...",
                    "classes": ["T-shirt/top", ...]}]}]}
"""

import base64
import json
import math
import struct
from collections.abc import Mapping, Sequence

from slipway.contract.base import VERSION, Contract

FILE = "examples.json"
BINARY_HEADER = "Inference-Header-Content-Length"
"""Header of the binary data extension: length of the JSON part."""
_FORMATS = {
    "BOOL": "?", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "UINT8": "B", "UINT16": "H",
    "UINT32": "I", "UINT64": "Q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
_FLOATS = ("FP16", "BF16", "FP32", "FP64")


class TensorData(Contract):
    name: str
    datatype: str
    shape: list[int]
    data: str
    classes: list[str] | None = None

    @property
    def raw(self) -> bytes:
        return base64.b64decode(self.data)

    @classmethod
    def of(
        cls, name: str, datatype: str, shape: Sequence[int], raw: bytes, classes: list[str] | None = None
    ) -> "TensorData":
        data = base64.b64encode(raw).decode()
        return cls(name=name, datatype=datatype, shape=list(shape), data=data, classes=classes)

    def values(self) -> list[float]:
        """The values as numbers, flat. Not for BYTES."""
        if self.datatype == "BF16":
            # A BF16 is the upper half of an FP32.
            halves = struct.unpack(f"<{len(self.raw) // 2}H", self.raw)
            return list(
                struct.unpack(f"<{len(halves)}f", struct.pack(f"<{len(halves)}I", *(h << 16 for h in halves)))
            )
        code = _FORMATS[self.datatype]
        return list(struct.unpack(f"<{len(self.raw) // struct.calcsize(code)}{code}", self.raw))


class Example(Contract):
    inputs: list[TensorData]
    outputs: list[TensorData]


class IndexedExample(Example):
    """As the probe sidecar gives it to the operator's self-test."""

    index: int
    """Which one of the version's examples, from 1."""


class ExampleSet(Contract):
    version: int = VERSION
    examples: list[Example]


def infer_request(example: Example) -> tuple[dict[str, str], bytes]:
    """Headers and body of POST /v2/models/<name>/infer, inputs and outputs binary."""
    head = {
        "inputs": [
            {
                "name": t.name,
                "datatype": t.datatype,
                "shape": t.shape,
                "parameters": {"binary_data_size": len(t.raw)},
            }
            for t in example.inputs
        ],
        "outputs": [{"name": t.name, "parameters": {"binary_data": True}} for t in example.outputs],
    }
    text = json.dumps(head, separators=(",", ":")).encode()
    headers = {"Content-Type": "application/octet-stream", BINARY_HEADER: str(len(text))}
    return headers, text + b"".join(t.raw for t in example.inputs)


def infer_answer(headers: Mapping[str, str], body: bytes) -> list[TensorData]:
    """The outputs in an answer, binary or JSON. ValueError with a sentence if it is neither."""
    lengths = [value for name, value in headers.items() if name.lower() == BINARY_HEADER.lower()]
    try:
        end = int(lengths[0]) if lengths else len(body)
        told = json.loads(body[:end])["outputs"]
        outputs = []
        for tensor in told:
            size = tensor.get("parameters", {}).get("binary_data_size")
            if size is None:
                code = _FORMATS[tensor["datatype"]]
                raw = struct.pack(f"<{len(tensor['data'])}{code}", *tensor["data"])
            else:
                raw, end = body[end : end + size], end + size
            outputs.append(TensorData.of(tensor["name"], tensor["datatype"], tensor["shape"], raw))
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ValueError(f"the answer is no inference answer ({error!r}): {body[:200]!r}") from error
    return outputs


def difference(example: Example, answer: Sequence[TensorData], tolerance: float) -> str | None:
    """How an answer differs from the recorded one, as the end of a sentence; None: it is the same."""
    given = {tensor.name: tensor for tensor in answer}
    for recorded in example.outputs:
        found = given.get(recorded.name)
        if found is None:
            return f"gives no output {recorded.name}"
        said = _tensor_difference(recorded, found, tolerance)
        if said:
            return said
    return None


def _tensor_difference(recorded: TensorData, found: TensorData, tolerance: float) -> str | None:
    if (recorded.datatype, recorded.shape) != (found.datatype, found.shape):
        return (
            f"gives {recorded.name} as {found.datatype} {found.shape}, "
            f"recorded {recorded.datatype} {recorded.shape}"
        )
    if recorded.raw == found.raw:
        return None
    if recorded.datatype not in _FLOATS:
        return f"gives other values of {recorded.name} than recorded"
    wanted, got = recorded.values(), found.values()
    if len(wanted) != len(got):
        return f"gives {len(got)} values of {recorded.name}, recorded {len(wanted)}"
    if recorded.classes:
        width = len(recorded.classes)
        for row in range(0, len(wanted), width):
            was = _largest(wanted[row : row + width])
            now = _largest(got[row : row + width])
            if was != now:
                return f"answers with class {recorded.classes[now]}, recorded {recorded.classes[was]}"
    for a, b in zip(wanted, got, strict=True):
        same = (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)
        if not same:
            return f"gives {recorded.name} {b:.6g}, recorded {a:.6g} (tolerance {tolerance:g})"
    return None


def _largest(values: Sequence[float]) -> int:
    """NaN counts as the smallest: it decides for no class."""
    return max(range(len(values)), key=lambda i: -math.inf if math.isnan(values[i]) else values[i])
