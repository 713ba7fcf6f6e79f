"""Dataset: data that is read, checked, split and kept under its digest."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from slipway.api.gates import DATA, Check, GateResults, gates_of
from slipway.api.meta import (
    AGE,
    ATOMIC,
    PHASE,
    RESULT,
    SUMMARY,
    Column,
    Resource,
    Status,
    Wire,
    expressed,
    list_map,
    rule,
    rules,
)
from slipway.api.pods import PodSettings, Resources
from slipway.api.units import Digest, Name, Phrase, StorageUri, Time, Uri, Word, capped

Datatype = Literal[
    "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64",
    "FP16", "BF16", "FP32", "FP64", "BYTES",
]  # fmt: skip
Shape = Annotated[
    list[Annotated[int, Field(ge=-1)]],
    Field(max_length=8, json_schema_extra=ATOMIC),
]
Classes = Annotated[list[Word], Field(max_length=1000, json_schema_extra=ATOMIC)]


class Source(Wire):
    """Where the data is."""

    storage_uri: StorageUri
    """Folder of the files, e.g. store://datasets/fashion-mnist/ or s3://bucket/path/."""


class Input(Wire):
    """One input of a row, in the words of the Open Inference Protocol."""

    name: Word
    """Name of the tensor, for clients of the model too."""
    datatype: Datatype
    """Type of its elements, e.g. UINT8."""
    shape: Shape
    """Shape of one row, e.g. [28, 28]."""


class Target(Wire):
    """What is to be predicted."""

    name: Word
    """Name of the column."""
    type: Literal["Class", "Number"] = "Class"
    """Class: one of several kinds. Number: a figure."""
    classes: Classes = []
    """Names of the classes, in the order of their numbers in the data; left out: as the source says."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.type == 'Class' || !has(self.classes)",
                "classes belong to type Class: remove them, or set type: Class",
            )
        )
    )


class Schema(Wire):
    """What a row is."""

    inputs: Annotated[list[Input], Field(min_length=1, max_length=16, json_schema_extra=list_map("name"))]
    """Inputs of a row; these are the inputs of a model trained on it."""
    target: Target
    """What is to be predicted."""


class Split(Wire):
    """How rows are split. Parts that the source names are kept."""

    method: Literal["Random", "Stratified"] = "Stratified"
    """Stratified keeps the shares of the classes in each part."""
    validation_fraction: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of train that becomes validation, where the source has none."""
    test_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of train that becomes test, where the source has none."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """The same seed gives the same rows."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            expressed(
                "self.validationFraction + self.testFraction < 1.0",
                "'split: validationFraction and testFraction add up to %s; they must leave rows for train'.format("
                "[double(int((self.validationFraction + self.testFraction) * 1000.0 + 0.5)) / 1000.0])",
            )
        )
    )


class Scale(Wire):
    """Divides by a number."""

    divisor: Annotated[float, Field(gt=0)]
    """E.g. 255 for pixels."""


class Normalize(Wire):
    """Subtracts a mean and divides by a standard deviation, per channel."""

    mean: Annotated[list[float], Field(max_length=16, json_schema_extra=ATOMIC)] = []
    """One per channel; left out: computed on train."""
    std: Annotated[
        list[Annotated[float, Field(gt=0)]],
        Field(max_length=16, json_schema_extra=ATOMIC),
    ] = []
    """One per channel; left out: computed on train."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.mean) == has(self.std) && (!has(self.mean) || self.mean.size() == self.std.size())",
                "normalize: give mean and std for the same channels, or neither",
            )
        )
    )


class Preprocessing(Wire):
    """One step; it is exported inside the model."""

    scale: Scale | None = None
    """Divide by a number."""
    normalize: Normalize | None = None
    """Subtract a mean, divide by a standard deviation; {} computes them on train."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("has(self.scale) != has(self.normalize)", "set exactly one of scale and normalize")
        )
    )


class RandomHorizontalFlip(Wire):
    """Mirrors an image left to right now and then."""

    probability: Annotated[float, Field(ge=0, le=1)] = 0.5
    """How often."""


class Augmentation(Wire):
    """One random change of rows of train, while training."""

    random_horizontal_flip: RandomHorizontalFlip | None = None
    """Mirror left to right."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("has(self.randomHorizontalFlip)", "set exactly one of: randomHorizontalFlip")
        )
    )


class DatasetSpec(Wire):
    """Where the data is, what a row is, and what must hold."""

    source: Source
    """Where the data is."""
    format: Literal["IDX", "ImageFolder"]
    """IDX: the files of MNIST and its relatives. ImageFolder: one folder per split and class."""
    schema_: Schema
    """What a row is."""
    split: Split = Split()
    """How rows are split."""
    preprocessing: Annotated[list[Preprocessing], Field(max_length=16, json_schema_extra=ATOMIC)] = []
    """Steps from the raw input to what the network sees, in order; exported inside the model."""
    augmentation: Annotated[list[Augmentation], Field(max_length=16, json_schema_extra=ATOMIC)] = []
    """Random changes of rows of train, while training; not part of the digest."""
    checks: Annotated[
        list[Check], Field(max_length=32, json_schema_extra=gates_of(DATA, ("class_share",)))
    ] = []
    """What must hold of the data."""
    resources: Resources = Resources()
    """Requests and limits of the pod that prepares it."""
    pod: PodSettings = PodSettings()
    """Settings of that pod."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.schema.target.type == 'Class' || self.split.method != 'Stratified'",
                "split.method Stratified needs classes, and the target is a Number: set split.method: Random",
            )
        )
    )


class SplitRows(Wire):
    """One part."""

    name: Name
    """train, validation or test."""
    rows: int
    """How many rows it has."""


class InputProfile(Wire):
    """What an input's values are like on train; drift is measured against it."""

    name: Word
    """Name of the input."""
    min: float
    """Least value."""
    max: float
    """Greatest value."""
    mean: float
    """Mean."""
    std: float
    """Standard deviation."""
    # snake_case on the wire: it is the name of a metric.
    missing_rate: Annotated[float, Field(alias="missing_rate")] = 0.0
    """Share of rows without a value."""


class Profile(Wire):
    """What the values are like."""

    inputs: Annotated[
        list[InputProfile], capped(16), Field(max_length=16, json_schema_extra=list_map("name"))
    ] = []
    """Per input."""
    report_uri: Uri | None = None
    """The full profile."""


class DatasetStatus(Status):
    """What the data is."""

    phase: Literal["Pending", "Running", "Ready", "Rejected", "Failed"] | None = None
    """Pending, Running, Ready, Rejected (a check failed) or Failed (it couldn't be read)."""
    digest: Digest | None = None
    """Of what the rows are: source, schema, split, preprocessing."""
    storage_uri: Uri | None = None
    """The prepared copy."""
    rows: int | None = None
    """Rows in all parts."""
    size: Phrase | None = None
    """Size of the prepared copy."""
    classes: int | None = None
    """Number of classes."""
    splits: Annotated[
        list[SplitRows], capped(16), Field(max_length=16, json_schema_extra=list_map("name"))
    ] = []
    """The parts."""
    profile: Profile | None = None
    """What the values are like."""
    gates: GateResults = []
    """The checks and what came of them."""
    attempt: int | None = None
    """Which try this is."""
    start_time: Time | None = None
    """When preparing began."""
    completion_time: Time | None = None
    """When it ended."""


class Dataset(Resource):
    """Data that models are trained, calibrated and measured on; read, checked, split and kept under its digest."""

    PLURAL: ClassVar[str] = "datasets"
    SHORT: ClassVar[tuple[str, ...]] = ("dset",)
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        PHASE,
        RESULT,
        Column("Rows", ".status.rows", "integer", description="Rows in all parts."),
        Column("Size", ".status.size", description="Size of the prepared copy."),
        AGE,
        Column("Digest", ".status.digest", wide=True, description="Digest of the content."),
        SUMMARY,
    )

    spec: DatasetSpec
    """What is wanted."""
    status: DatasetStatus = DatasetStatus()
    """What is."""
