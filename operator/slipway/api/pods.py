"""What a user may say about pods: resources, and an allow-list of the pod's settings."""

from typing import Annotated, Literal

from pydantic import Field

from slipway.api.meta import ObjectRef, Wire
from slipway.api.units import Label, Quantity, Word

Quantities = Annotated[dict[Word, Quantity], Field(max_length=16)]
LabelMap = Annotated[dict[Annotated[str, Field(max_length=317)], Label], Field(max_length=32)]
AnnotationMap = Annotated[
    dict[Annotated[str, Field(max_length=317)], Annotated[str, Field(max_length=1024)]], Field(max_length=32)
]


class Resources(Wire):
    """Requests and limits of the container, as in Kubernetes. Threads follow the CPU request."""

    requests: Quantities = {}
    """What is reserved, e.g. cpu and memory."""
    limits: Quantities = {}
    """What may not be exceeded, e.g. memory and nvidia.com/gpu."""


class Toleration(Wire):
    """A taint that the pods bear, as in Kubernetes."""

    key: Word | None = None
    """Key of the taint; left out with operator Exists: all."""
    operator: Literal["Exists", "Equal"] | None = None
    """Exists, or Equal to value (the default)."""
    value: Label | None = None
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; left out: every effect."""
    toleration_seconds: int | None = None
    """With NoExecute: how long the pod stays; left out: for ever."""


class PodSettings(Wire):
    """Settings handed to the pods; everything else about them is fixed."""

    node_selector: LabelMap = {}
    """Labels the node must have."""
    tolerations: Annotated[list[Toleration], Field(max_length=16)] = []
    """Taints that the pods bear."""
    priority_class_name: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """PriorityClass of the pods."""
    image_pull_secrets: Annotated[list[ObjectRef], Field(max_length=8)] = []
    """Secrets to pull images with."""
    labels: LabelMap = {}
    """Labels added to the pods; those of slipway.dev stay as they are."""
    annotations: AnnotationMap = {}
    """Annotations added to the pods."""
