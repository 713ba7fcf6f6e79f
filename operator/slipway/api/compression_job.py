"""CompressionJob: makes a smaller or faster version of a version, measured against it; it runs once."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from slipway.api.gates import CompressionGates, GateResults, Verdict
from slipway.api.meta import (
    AGE,
    ATOMIC,
    PHASE,
    RESULT,
    SUMMARY,
    Column,
    DatasetRef,
    Evaluation,
    ModelRef,
    NamedDigest,
    ObjectRef,
    Output,
    Resource,
    Status,
    Wire,
    expressed,
    list_map,
    rule,
    rules,
)
from slipway.api.model_version import MeasuredOn
from slipway.api.pods import PodSettings, Resources
from slipway.api.units import Duration, Metrics, Name, Phrase, Time, Uri, capped, span


class Calibration(Wire):
    """Rows by which the ranges of activations are found."""

    split: Literal["train", "validation", "test"] = "train"
    """Part of the Dataset; it may not be the one of evaluation."""
    samples: Annotated[int, Field(ge=1, le=1_000_000)] = 512
    """How many rows."""
    method: Literal["MinMax", "Entropy", "Percentile"] = "MinMax"
    """How a range follows from the values seen."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """The same seed takes the same rows."""


class StaticQuantize(Wire):
    """8-bit integers for weights and activations, with ranges fixed beforehand."""

    activation_type: Literal["UINT8", "INT8"] = "UINT8"
    """Type of activations; UINT8 with INT8 weights is what CPUs with VNNI run fastest."""
    weight_type: Literal["INT8", "UINT8"] = "INT8"
    """Type of weights."""
    per_channel: bool = True
    """A scale for each output channel instead of one for each tensor."""
    calibration: Calibration = Calibration()
    """Rows by which ranges are found."""


class Pass(Wire):
    """One step; exactly one member beside name is set."""

    name: Name
    """Name of the variant it makes."""
    static_quantize: StaticQuantize | None = None
    """Quantize to 8-bit integers with calibration."""

    model_config = ConfigDict(
        json_schema_extra=rules(rule("has(self.staticQuantize)", "set exactly one of: staticQuantize"))
    )


class TargetDevice(Wire):
    """Where the result is to run; it is measured there."""

    device: Literal["CPU"] | None = None
    """CPU. Setting it says that INT8 activations are wanted there."""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Threads of the runtime while it is measured."""
    batch_sizes: Annotated[
        list[Annotated[int, Field(ge=1, le=4096)]],
        Field(min_length=1, max_length=8, json_schema_extra=ATOMIC),
    ] = [1]
    """Rows per request; the first one decides speedup and latency."""


class CompressionJobSpec(Wire):
    """What is compressed how, and what must hold of the result."""

    model_version_ref: ObjectRef | None = None
    """The version to compress."""
    model_ref: ModelRef | None = None
    """Or: the version an alias points to when the job starts."""
    dataset_ref: DatasetRef | None = None
    """Rows for calibration and evaluation; left out: the Dataset of the source version."""
    passes: Annotated[list[Pass], Field(min_length=1, max_length=8, json_schema_extra=list_map("name"))]
    """Steps, in order."""
    target: TargetDevice = TargetDevice()
    """Where the result is to run."""
    evaluation: Evaluation = Evaluation()
    """What the result is measured on."""
    gates: CompressionGates = []
    """What must hold of the result; the source version, measured in the same run, is the baseline."""
    resources: Resources = Resources()
    """Requests and limits of the pod."""
    pod: PodSettings = PodSettings()
    """Settings of the pod."""
    active_deadline: Annotated[Duration, span("activeDeadline")] | None = None
    """Ends the job after that much time."""
    output: Output = Output()
    """The Model that the version joins."""

    MUTABLE: ClassVar[tuple[str, ...]] = ()
    """Nothing may change after creation."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.modelRef) != has(self.modelVersionRef)",
                "set exactly one of modelRef and modelVersionRef",
            ),
            rule(
                "self.passes.filter(p, has(p.staticQuantize)).size() <= 1",
                "passes: a model can be quantized once; keep one staticQuantize",
            ),
            expressed(
                "self.passes.all(p, !has(p.staticQuantize)"
                " || p.staticQuantize.calibration.split != self.evaluation.split)",
                "'calibration.split and evaluation.split are both %s: calibrate on train or validation'"
                ".format([self.evaluation.split])",
            ),
            rule(
                "has(self.target.device) || self.passes.all(p, !has(p.staticQuantize)"
                " || p.staticQuantize.activationType != 'INT8')",
                "activationType INT8 is slower than FP32 on x86 CPUs; use UINT8 or set target.device",
            ),
        )
    )


class CompressionInputs(Wire):
    """What each reference meant."""

    model_version: NamedDigest | None = None
    """The source version and its content."""
    dataset: NamedDigest | None = None
    """The Dataset and its content."""


class Variant(Wire):
    """A model that was measured."""

    name: Name
    """baseline, or the name of the pass that made it."""
    metrics: Metrics = {}
    """Its figures."""
    verdict: Verdict | None = None
    """Whether it passed the gates."""
    notes: Annotated[list[Phrase], capped(8), Field(max_length=8, json_schema_extra=ATOMIC)] = []
    """What was done to the graph."""


class CompressionJobStatus(Status):
    """Where the job stands, and what came out."""

    phase: Literal["Pending", "Running", "Succeeded", "Rejected", "Failed"] | None = None
    """Pending, Running, Succeeded, Rejected (a gate was missed) or Failed."""
    attempt: int | None = None
    """Which try this is."""
    start_time: Time | None = None
    """When it began."""
    completion_time: Time | None = None
    """When it ended."""
    inputs: CompressionInputs | None = None
    """What each reference meant."""
    model_version_ref: ObjectRef | None = None
    """The ModelVersion it made."""
    measured_on: MeasuredOn | None = None
    """The machine it was measured on."""
    variants: Annotated[
        list[Variant], capped(20), Field(max_length=20, json_schema_extra=list_map("name"))
    ] = []
    """The baseline and what each pass made of it; the rest is in the report."""
    gates: GateResults = []
    """The gates and what came of them."""
    report_uri: Uri | None = None
    """The full report."""


class CompressionJob(Resource):
    """Makes a smaller or faster version of a version and measures it against that one. It runs once."""

    PLURAL: ClassVar[str] = "compressionjobs"
    SHORT: ClassVar[tuple[str, ...]] = ("cjob",)
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        PHASE,
        RESULT,
        Column("Version", ".status.modelVersionRef.name", description="The ModelVersion it made."),
        AGE,
        Column(
            "Source",
            ".status.inputs.modelVersion.name",
            wide=True,
            description="The version it started from.",
        ),
        SUMMARY,
    )

    spec: CompressionJobSpec
    """What is wanted."""
    status: CompressionJobStatus = CompressionJobStatus()
    """What is."""
