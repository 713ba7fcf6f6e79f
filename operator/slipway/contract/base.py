"""The base of everything that crosses the pod boundary."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

VERSION = 1
"""Version of JobConfig and Report. Raised on any change an older reader would misread."""


class Contract(BaseModel):
    """Frozen, camelCase on the wire; unknown fields are kept out so that a newer writer can be read."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )

    def to_json(self) -> str:
        """Compact JSON without unset optionals; this is what travels."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class Named(Contract):
    """An input by name and content."""

    name: str
    digest: str


class Tensor(Contract):
    """One tensor of a signature, in the words of the Open Inference Protocol."""

    name: str
    datatype: str
    """BOOL, INT8..INT64, UINT8..UINT64, FP16, FP32, FP64, BF16 or BYTES."""
    shape: list[int]
    """-1 = any; the first dimension is the batch."""
    classes: list[str] | None = None
    """Names of the classes along the last dimension."""


class Signature(Contract):
    """What a model takes and gives."""

    inputs: list[Tensor]
    outputs: list[Tensor]


class Gate(Contract):
    """A bound on a metric, as a user states it."""

    metric: str
    class_: str | None = None
    """One class by name, or "*" for each: the worst is reported."""
    min: float | None = None
    max: float | None = None
    confidence: float | None = None
    """Judged on the confidence bound instead of the estimate when set (0.5 to 1)."""

    model_config = ConfigDict(alias_generator=lambda name: to_camel(name.rstrip("_")))


class Measurement(Contract):
    """A figure a job measured for one gate; the operator judges it."""

    metric: str
    class_: str | None = None
    value: float | None = None
    """None: could not be measured; the verdict is NoData."""
    lower: float | None = None
    upper: float | None = None
    samples: int | None = None

    model_config = ConfigDict(alias_generator=lambda name: to_camel(name.rstrip("_")))
