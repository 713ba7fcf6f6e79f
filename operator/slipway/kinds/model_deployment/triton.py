"""config.pbtxt of a revision: Triton's model configuration, from the version's signature and spec.triton. Pure.

The same file serves on NVIDIA's image and on the small CPU image (images/triton-cpu): both have a backend
called onnxruntime. Reference: https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/
user_guide/model_configuration.html
"""

from collections.abc import Iterable
from dataclasses import dataclass

from slipway.contract.base import Signature, Tensor

_TYPES = {"BYTES": "TYPE_STRING"}


@dataclass(frozen=True)
class InstanceGroup:
    count: int
    kind: str


@dataclass(frozen=True)
class TritonConfig:
    """spec.triton with its defaults filled in."""

    max_batch_size: int
    dynamic_batching: bool
    max_queue_delay_us: int | None
    instance_groups: tuple[InstanceGroup, ...]
    threads: int
    """Intra-op threads of one instance."""


class NotServable(Exception):
    """The signature and the configuration can't go together; the message says which field and what to set."""


def render(model_name: str, signature: Signature, config: TritonConfig) -> str:
    """config.pbtxt as text."""
    batched = config.max_batch_size > 0
    for tensor in (*signature.inputs, *signature.outputs):
        if batched and (not tensor.shape or tensor.shape[0] != -1):
            raise NotServable(
                f"triton.maxBatchSize is {config.max_batch_size}, but {tensor.name} has shape {tensor.shape}: "
                f"its first dimension isn't a free batch (-1); set triton.maxBatchSize to 0"
            )
    lines = [
        f'name: "{model_name}"',
        'backend: "onnxruntime"',
        f"max_batch_size: {config.max_batch_size}",
        *_tensors("input", signature.inputs, batched),
        *_tensors("output", signature.outputs, batched),
        *(
            f"instance_group [ {{ count: {group.count} kind: {group.kind} }} ]"
            for group in config.instance_groups
        ),
    ]
    if batched and config.dynamic_batching:
        delay = config.max_queue_delay_us
        inner = "" if delay is None else f" max_queue_delay_microseconds: {delay} "
        lines.append(f"dynamic_batching {{{inner}}}")
    lines.append(
        f'parameters {{ key: "intra_op_thread_count" value {{ string_value: "{config.threads}" }} }}'
    )
    return "\n".join(lines) + "\n"


def _tensors(field: str, tensors: Iterable[Tensor], batched: bool) -> list[str]:
    lines = []
    for tensor in tensors:
        shape = tensor.shape[1:] if batched else tensor.shape
        # Triton has no scalars: a batch of them is a vector whose rows have one element, by reshape.
        dims = ", ".join(map(str, shape or [1]))
        reshape = " reshape { shape: [ ] }" if not shape else ""
        datatype = _TYPES.get(tensor.datatype, f"TYPE_{tensor.datatype}")
        lines.append(
            f'{field} [ {{ name: "{tensor.name}" data_type: {datatype} dims: [ {dims} ]{reshape} }} ]'
        )
    return lines
