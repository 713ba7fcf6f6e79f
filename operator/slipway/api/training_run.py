"""TrainingRun: one training of one model on one Dataset; it runs once."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from slipway.api.gates import GateResults, RunGates
from slipway.api.meta import (
    AGE,
    ATOMIC,
    PHASE,
    RESULT,
    SUMMARY,
    Column,
    DatasetRef,
    Evaluation,
    EvaluationResult,
    NamedDigest,
    ObjectRef,
    Output,
    Resource,
    Status,
    Wire,
    rule,
    rules,
)
from slipway.api.pods import PodSettings, Resources
from slipway.api.units import Duration, LogTail, Metrics, Time, Uri, span

Width = Annotated[int, Field(ge=1, le=1024)]
Blocks = Annotated[
    list[Annotated[int, Field(ge=1, le=64)]],
    Field(min_length=1, max_length=6, json_schema_extra=ATOMIC),
]


class Cnn(Wire):
    """A plain convolutional network: stages of 3x3 convolutions with batch normalization."""

    width: Width = 32
    """Channels of the first stage; each stage doubles them."""
    blocks: Blocks = [1, 1, 1]
    """Convolutions per stage."""


class Resnet(Wire):
    """A residual network."""

    width: Width = 32
    """Channels of the first stage; each stage doubles them."""
    blocks: Blocks = [1, 1, 1]
    """Residual blocks per stage."""


class Architecture(Wire):
    """The network; exactly one is set."""

    cnn: Cnn | None = None
    """A plain convolutional network."""
    resnet: Resnet | None = None
    """A residual network."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("has(self.cnn) != has(self.resnet)", "set exactly one of model.cnn and model.resnet")
        )
    )


class Hyperparameters(Wire):
    """How it is trained."""

    epochs: Annotated[int, Field(ge=1, le=100_000)]
    """How often each row of train is seen."""
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 256
    """Rows per step over all nodes, each of which takes an equal share: steps and learningRate stay as they are with
    more nodes."""
    optimizer: Literal["SGD", "AdamW"] = "SGD"
    """Which optimizer."""
    learning_rate: Annotated[float, Field(gt=0)]
    """Step width at its highest."""
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Of SGD; left out: 0.9."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Pull of the weights towards zero."""
    schedule: Literal["Constant", "Cosine", "OneCycle"] = "OneCycle"
    """How the learning rate goes over the steps."""
    precision: Literal["FP32", "BF16"] = "FP32"
    """Number format of the arithmetic."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """The same seed gives the same start."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.optimizer == 'SGD' || !has(self.momentum)",
                "momentum belongs to SGD: remove it, or set optimizer: SGD",
            )
        )
    )


class Trainer(Wire):
    """Where it is trained, as in Kubeflow Trainer."""

    num_nodes: Annotated[int, Field(ge=1, le=64)] = 1
    """Pods that train together; each has resourcesPerNode, and the first that fails ends the attempt of all."""
    resources_per_node: Resources = Resources()
    """Requests and limits of each."""


class Checkpoints(Wire):
    """What is kept to go on from."""

    interval: Annotated[Duration, span("checkpoints.interval")] = "1m"
    """Time between two checkpoints."""
    keep: Annotated[int, Field(ge=1, le=100)] = 2
    """How many of the newest stay; the best one stays too."""


class FailurePolicy(Wire):
    """What happens when an attempt fails, as in JobSet."""

    max_restarts: Annotated[int, Field(ge=0, le=100)] = 3
    """How often it is tried again; preemption and node loss don't count."""


class TrainingRunSpec(Wire):
    """What is trained on what, and what must come out."""

    dataset_ref: DatasetRef
    """What it is trained and measured on."""
    model: Architecture
    """The network."""
    hyperparameters: Hyperparameters
    """How it is trained."""
    trainer: Trainer = Trainer()
    """Where it is trained."""
    checkpoints: Checkpoints = Checkpoints()
    """What is kept to go on from."""
    failure_policy: FailurePolicy = FailurePolicy()
    """What happens when an attempt fails."""
    start_deadline: Annotated[Duration, span("startDeadline")] = "10m"
    """Ends the run when its pods can't start for that long."""
    active_deadline: Annotated[Duration, span("activeDeadline")] | None = None
    """Ends the run after that much active time. May change."""
    suspend: bool = False
    """True: no pod runs; work goes on from the last checkpoint later. May change."""
    ttl_after_finished: Annotated[Duration, span("ttlAfterFinished")] | None = None
    """Removes the run that long after its end, never its version. May change."""
    evaluation: Evaluation = Evaluation()
    """What the result is measured on."""
    gates: RunGates = []
    """What must hold of the result; a version that misses one is Rejected."""
    output: Output = Output()
    """The Model that the version joins."""
    pod: PodSettings = PodSettings()
    """Settings of the pods."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.trainer) || !has(self.trainer.numNodes) || !has(self.hyperparameters.batchSize)"
                " || self.hyperparameters.batchSize % self.trainer.numNodes == 0",
                "trainer.numNodes share hyperparameters.batchSize equally: make it a multiple of numNodes",
            )
        )
    )

    MUTABLE: ClassVar[tuple[str, ...]] = ("suspend", "activeDeadline", "ttlAfterFinished")
    """Fields that may change after creation."""


class RunInputs(Wire):
    """What each reference meant."""

    dataset: NamedDigest | None = None
    """The Dataset and its content."""


class RunProgress(Wire):
    """How far it is."""

    percent: int | None = None
    """0 to 100."""
    step: int | None = None
    """Steps done."""
    total_steps: int | None = None
    """Steps in all."""
    remaining: Duration | None = None
    """Time left, estimated."""
    metrics: Metrics = {}
    """Latest figures, e.g. train_loss."""
    last_update_time: Time | None = None
    """When the pod reported it."""


class RunCheckpoint(Wire):
    """The newest whole checkpoint."""

    step: int
    """Step after which it was saved."""
    storage_uri: Uri
    """Where it is."""
    time: Time
    """When it was saved."""


FailureClass = Literal[
    "OutOfMemory",
    "Image",
    "Scheduling",
    "Data",
    "Store",
    "Communication",
    "Hang",
    "UserError",
    "Deadline",
    "Preempted",
    "Internal",
]


class Failure(Wire):
    """Why the last attempt failed; it outlives the pods."""

    class_: FailureClass
    """What sort of failure it was."""
    node: int | None = None
    """Index of the node."""
    exit_code: int | None = None
    """Exit code of the container."""
    time: Time | None = None
    """When it failed."""
    log_tail: LogTail | None = None
    """Last lines of the log."""


class TrainingRunStatus(Status):
    """Where the run stands, and what came out."""

    phase: Literal["Pending", "Running", "Suspended", "Succeeded", "Rejected", "Failed"] | None = None
    """Pending, Running, Suspended, Succeeded, Rejected (a gate was missed) or Failed."""
    attempt: int | None = None
    """Which try this is, from 1."""
    restarts: int | None = None
    """Tries that count towards failurePolicy.maxRestarts."""
    active_time: Duration | None = None
    """Active time of the attempts before this one."""
    start_time: Time | None = None
    """When the first attempt began."""
    completion_time: Time | None = None
    """When the run ended."""
    inputs: RunInputs | None = None
    """What each reference meant."""
    progress: RunProgress | None = None
    """How far it is."""
    checkpoint: RunCheckpoint | None = None
    """The newest whole checkpoint."""
    model_version_ref: ObjectRef | None = None
    """The ModelVersion it made."""
    evaluation: EvaluationResult | None = None
    """Figures of the result."""
    gates: GateResults = []
    """The gates and what came of them."""
    failure: Failure | None = None
    """Why the last attempt failed."""


class TrainingRun(Resource):
    """One training of one model on one Dataset. It runs once and makes a ModelVersion of its own name."""

    PLURAL: ClassVar[str] = "trainingruns"
    SHORT: ClassVar[tuple[str, ...]] = ("trun",)
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        PHASE,
        Column("Percent", ".status.progress.percent", "integer", description="How far it is."),
        Column("Remaining", ".status.progress.remaining", description="Time left, estimated."),
        RESULT,
        Column("Attempt", ".status.attempt", "integer", description="Which try this is."),
        AGE,
        Column("Version", ".status.modelVersionRef.name", wide=True, description="The ModelVersion it made."),
        SUMMARY,
    )

    spec: TrainingRunSpec
    """What is wanted."""
    status: TrainingRunStatus = TrainingRunStatus()
    """What is."""
