"""Report: how a pod ended. At most 4096 bytes of JSON as termination message, in full beside the artefact."""

from enum import IntEnum
from typing import Annotated, Literal

from pydantic import Field

from slipway.contract.base import VERSION, Contract, Measurement, Signature


class ExitCode(IntEnum):
    """Exit codes of slipway-jobs; what the launcher and the operator classify by."""

    OK = 0
    USER_ERROR = 10
    """The configuration or the user's code is wrong; trying again won't help."""
    DATA = 11
    """The data or model bytes are unreadable or not what they should be."""
    STORE = 12
    """The store can't be reached or refused; trying again may help."""
    PREEMPTED = 13
    """SIGTERM: saved and left; goes on in the next attempt."""
    COMMUNICATION = 14
    HANG = 15
    OUT_OF_MEMORY = 16
    INCONCLUSIVE = 17
    """The node was too busy to measure; trying again, or elsewhere, may help."""
    INTERNAL = 70


class Outcome(Contract):
    """The head of every report."""

    version: int = VERSION
    outcome: Literal["Succeeded", "Failed"]
    reason: str | None = None
    """On failure: one word such as SourceUnreadable, DigestMismatch, StoreUnreachable."""
    message: str | None = None
    """On failure: a sentence with what was found, what is allowed, what to do."""
    exit_code: int = 0
    attempt: int = 1


class SplitRows(Contract):
    name: str
    rows: int


class InputProfile(Contract):
    name: str
    min: float
    max: float
    mean: float
    std: float
    missing_rate: float = 0.0


class DatasetReport(Outcome):
    task: Literal["dataset"] = "dataset"
    digest: str | None = None
    storage_uri: str | None = None
    source_uri: str | None = None
    """The resolved source."""
    source_files: int = 0
    source_bytes: int = 0
    rows: int = 0
    size_bytes: int = 0
    splits: list[SplitRows] = []
    classes: int | None = None
    profile: list[InputProfile] = []
    profile_uri: str | None = None
    measurements: list[Measurement] = []


class Evaluation(Contract):
    split: str
    samples: int
    metrics: dict[str, float]
    report_uri: str | None = None


class Examples(Contract):
    count: int
    storage_uri: str


class Artifact(Contract):
    """A model that a job wrote to the store."""

    storage_uri: str
    digest: str
    size_bytes: int
    files: int
    signature: Signature
    examples: Examples


class Checkpoint(Contract):
    step: int
    storage_uri: str
    time: str


class TrainReport(Outcome):
    task: Literal["train"] = "train"
    artifact: Artifact | None = None
    evaluation: Evaluation | None = None
    measurements: list[Measurement] = []
    steps: int = 0
    seconds: float = 0.0
    resumed_from_step: int | None = None
    checkpoint: Checkpoint | None = None
    log_tail: str | None = None


class EvaluateReport(Outcome):
    task: Literal["evaluate"] = "evaluate"
    evaluation: Evaluation | None = None
    measurements: list[Measurement] = []


class MeasuredOn(Contract):
    node: str | None = None
    cpu_model: str
    isa: list[str]
    runtime: str
    threads: int
    noise: float
    """Wall time over CPU time of the measured runs; near 1 on a quiet node."""


class Variant(Contract):
    name: str
    metrics: dict[str, float]
    notes: list[str] = []


class CompressReport(Outcome):
    task: Literal["compress"] = "compress"
    artifact: Artifact | None = None
    evaluation: Evaluation | None = None
    variants: list[Variant] = []
    """baseline first, then the result of each pass in order."""
    measured_on: MeasuredOn | None = None
    runs: int = 0
    """Interleaved latency runs of baseline and variant each."""
    measurements: list[Measurement] = []
    report_uri: str | None = None


class VerifyReport(Outcome):
    task: Literal["verify"] = "verify"
    storage_uri: str | None = None
    digest: str | None = None
    size_bytes: int = 0
    files: int = 0
    signature: Signature | None = None
    examples: Examples | None = None
    runtime: str | None = None
    """e.g. onnxruntime 1.32.0."""


class ToolReport(Outcome):
    """fetch, receive and send: nothing but how it ended."""

    task: Literal["fetch", "receive", "send"] = "fetch"


Report = Annotated[
    DatasetReport | TrainReport | EvaluateReport | CompressReport | VerifyReport | ToolReport,
    Field(discriminator="task"),
]


class Progress(Contract):
    """Latest state of a running job, kept in the leader's memory."""

    percent: int | None = None
    """0 to 100."""
    step: int | None = None
    total_steps: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    remaining_seconds: float | None = None
    metrics: dict[str, float] = {}
    checkpoint: Checkpoint | None = None
    attempt: int = 1
    time: str | None = None
    """RFC 3339, when it was received."""
