"""ModelVersion: bytes of a model with all that is known of their birth. The spec never changes."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slipway.api.dataset import Classes, Datatype, Shape
from slipway.api.gates import GateResults
from slipway.api.meta import (
    AGE,
    ATOMIC,
    PHASE,
    RESULT,
    SUMMARY,
    Column,
    NamedDigest,
    ObjectRef,
    Resource,
    Status,
    Wire,
    list_map,
)
from slipway.api.units import CamelWord, Digest, Metrics, Name, Phrase, StorageUri, Time, Uri, Word, capped


class Tensor(Wire):
    """One tensor, in the words of the Open Inference Protocol."""

    name: Word
    """Name of the tensor."""
    datatype: Datatype
    """Type of its elements."""
    shape: Shape
    """Its shape; -1: any. The first dimension is the batch."""
    classes: Classes = []
    """Names of the classes along the last dimension."""


Tensors = Annotated[list[Tensor], Field(min_length=1, max_length=16, json_schema_extra=list_map("name"))]


class Signature(Wire):
    """What the model takes and gives."""

    inputs: Tensors
    """What it takes."""
    outputs: Tensors
    """What it gives."""


class MeasuredOn(Wire):
    """The machine figures of time were measured on."""

    node: Phrase | None = None
    """Name of the node."""
    cpu_model: Phrase | None = None
    """Model of its CPU."""
    isa: Annotated[list[Phrase], capped(16), Field(max_length=16, json_schema_extra=ATOMIC)] = []
    """Instruction sets that matter, e.g. avx512_vnni."""
    runtime: Phrase | None = None
    """The runtime and its version."""
    threads: int | None = None
    """Threads of the runtime."""
    noise: float | None = None
    """Wall time over CPU time; near 1 on a quiet node."""


class EvaluatedOn(Wire):
    """The rows figures of quality were measured on."""

    name: Name
    """Name of the Dataset."""
    digest: Digest | None = None
    """Digest of its content."""
    split: Phrase | None = None
    """Part of it."""


class VersionEvaluation(Wire):
    """Figures of the model, as measured when it was made or as told by its author."""

    dataset: EvaluatedOn | None = None
    """What they were measured on."""
    samples: int | None = None
    """How many rows."""
    metrics: Metrics = {}
    """Figures by metric name."""
    measured_on: MeasuredOn | None = None
    """The machine, for figures of time."""
    report_uri: Uri | None = None
    """The full report."""


class Producer(Wire):
    """What made the version."""

    kind: Literal["TrainingRun", "CompressionJob", "User"]
    """Its kind."""
    name: Name
    """Its name."""
    uid: Name | None = None
    """Its uid."""


class Lineage(Wire):
    """Where the version comes from."""

    producer: Producer | None = None
    """What made it."""
    parent: NamedDigest | None = None
    """The version it was made from."""
    dataset: NamedDigest | None = None
    """The data it was made with."""
    image: Uri | None = None
    """The image that made it."""
    parameters: Annotated[dict[Word, Annotated[str, Field(max_length=512)]], Field(max_length=64)] = {}
    """What it was made with, in words."""


class ModelVersionSpec(Wire):
    """The bytes and all facts of their birth."""

    model_ref: ObjectRef | None = None
    """The Model it belongs to; left out: none."""
    storage_uri: StorageUri
    """The ONNX file, or the folder of it."""
    digest: Digest | None = None
    """What the bytes must be; left out: as found, and fixed from then on."""
    format: Literal["ONNX"]
    """Format of the bytes."""
    signature: Signature | None = None
    """What it must take and give; left out: as the file says."""
    evaluation: VersionEvaluation | None = None
    """Its figures."""
    gates: GateResults = []
    """Gates as judged when it was made; one that isn't Pass makes it Rejected."""
    lineage: Lineage | None = None
    """Where it comes from."""

    MUTABLE: ClassVar[tuple[str, ...]] = ()
    """Nothing may change after creation."""


class Examples(Wire):
    """Inputs with the answers the model gave; replayed wherever it is loaded."""

    count: int
    """How many."""
    storage_uri: Uri
    """Where they are."""


class Use(Wire):
    """An object that uses the version."""

    kind: CamelWord
    """Its kind."""
    name: Name
    """Its name."""
    alias: Name | None = None
    """The alias by which it points here."""


class ModelVersionStatus(Status):
    """What follows from the bytes."""

    phase: Literal["Pending", "Ready", "Rejected", "Failed"] | None = None
    """Pending, Ready, Rejected (a gate was missed) or Failed (the bytes are wrong)."""
    digest: Digest | None = None
    """Digest of the bytes, as verified."""
    storage_uri: Uri | None = None
    """Where they are, resolved."""
    size: Phrase | None = None
    """How large they are."""
    signature: Signature | None = None
    """What the file takes and gives."""
    examples: Examples | None = None
    """Inputs with the answers the model gave."""
    used_by: Annotated[list[Use], capped(16), Field(max_length=16, json_schema_extra=ATOMIC)] = []
    """What uses it; deletion waits for them."""
    attempt: int | None = None
    """Which try of the verification this is."""
    completion_time: Time | None = None
    """When the verification ended."""


class ModelVersion(Resource):
    """Bytes of a model with all that is known of their birth. The spec never changes."""

    PLURAL: ClassVar[str] = "modelversions"
    SHORT: ClassVar[tuple[str, ...]] = ("mver",)
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("Model", ".spec.modelRef.name", description="The Model it belongs to."),
        PHASE,
        RESULT,
        Column("From", ".spec.lineage.producer.name", description="What made it."),
        AGE,
        Column("Format", ".spec.format", wide=True, description="Format of the bytes."),
        Column("Size", ".status.size", wide=True, description="How large they are."),
        Column("Digest", ".status.digest", wide=True, description="Digest of the bytes."),
        SUMMARY,
    )

    spec: ModelVersionSpec
    """What it is."""
    status: ModelVersionStatus = ModelVersionStatus()
    """What follows from it."""
