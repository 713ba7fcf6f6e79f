"""JobConfig: what a pod is asked to do. One JSON file in an immutable ConfigMap, mounted at CONFIG_PATH."""

from typing import Annotated, Literal

from pydantic import Field

from slipway.contract.base import VERSION, Contract, Gate, Named, Signature, Tensor

CONFIG_PATH = "/etc/slipway/job.json"
"""Where the JobConfig is mounted."""
TERMINATION_PATH = "/dev/termination-log"
"""Where the Report is written; kubelet copies at most 4096 bytes of it to the pod's status."""
PROGRESS_TOKEN_PATH = "/var/run/secrets/slipway/token"
"""Projected service-account token for the progress port, audience PROGRESS_AUDIENCE."""
PROGRESS_AUDIENCE = "slipway-progress"
WORKSPACE = "/workspace"
"""emptyDir of a job pod: `dataset` and `output` below it."""
STORE_ENV = {
    "SLIPWAY_STORE_URI": "uri",
    "SLIPWAY_STORE_ENDPOINT": "endpoint",
    "SLIPWAY_STORE_ACCESS_KEY_ID": "accessKeyId",
    "SLIPWAY_STORE_SECRET_ACCESS_KEY": "secretAccessKey",
}
"""Environment variable -> key of the Secret slipway-store, set by kubelet from the Secret."""
STORE_SECRET = "slipway-store"


class Owner(Contract):
    """The object this pod works for."""

    kind: str
    namespace: str
    name: str
    uid: str


class ProgressTarget(Contract):
    """Where progress is pushed, with the token at PROGRESS_TOKEN_PATH."""

    url: str
    ca: str
    """PEM bundle to trust."""


class Split(Contract):
    method: Literal["Random", "Stratified"] = "Stratified"
    validation_fraction: float = 0.1
    """Taken from train."""
    test_fraction: float = 0.0
    """Taken from train where the source has no test split."""
    seed: int = 0


class Schema(Contract):
    inputs: list[Tensor]
    target: str
    """Name of the target column."""
    target_type: Literal["Class", "Number"] = "Class"
    classes: list[str] | None = None


class DatasetTask(Contract):
    task: Literal["dataset"] = "dataset"
    source_uri: str
    format: Literal["IDX", "ImageFolder"]
    schema_: Schema = Field(alias="schema")
    split: Split
    preprocessing: list[dict[str, dict[str, object]]] = []
    """One-of steps as in the Dataset spec, e.g. {"scale": {"divisor": 255}}; empty normalize: computed."""
    gates: list[Gate] = []
    output_uri: str
    """Parent of the prepared copy; the copy goes to <output_uri>/<first 12 of digest>/."""


class DatasetInput(Contract):
    """A prepared dataset as a job reads it."""

    name: str
    digest: str
    storage_uri: str
    augmentation: list[dict[str, dict[str, object]]] = []


class Architecture(Contract):
    """Exactly one is set."""

    cnn: dict[str, object] | None = None
    """width, blocks as in the TrainingRun spec."""
    resnet: dict[str, object] | None = None


class Hyperparameters(Contract):
    epochs: int
    batch_size: int = 256
    optimizer: Literal["SGD", "AdamW"] = "SGD"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: Literal["Constant", "Cosine", "OneCycle"] = "OneCycle"
    precision: Literal["FP32", "BF16"] = "FP32"
    seed: int = 0


class TrainTask(Contract):
    task: Literal["train"] = "train"
    dataset: DatasetInput
    model: Architecture
    hyperparameters: Hyperparameters
    checkpoint_uri: str
    checkpoint_interval_seconds: float = 60.0
    checkpoints_keep: int = 2
    evaluation_split: str = "test"
    gates: list[Gate] = []
    output_uri: str
    num_nodes: int = 1
    num_proc_per_node: int = 1
    progress: ProgressTarget | None = None


class EvaluateTask(Contract):
    task: Literal["evaluate"] = "evaluate"
    model: Named
    model_uri: str
    dataset: DatasetInput
    split: str = "test"
    gates: list[Gate] = []
    output_uri: str


class Calibration(Contract):
    split: str = "train"
    samples: int = 512
    method: Literal["MinMax", "Entropy", "Percentile"] = "MinMax"
    seed: int = 0


class StaticQuantize(Contract):
    activation_type: Literal["UINT8", "INT8"] = "UINT8"
    weight_type: Literal["INT8", "UINT8"] = "INT8"
    per_channel: bool = True
    calibration: Calibration = Calibration()


class Pass(Contract):
    """One step of a CompressionJob; exactly one member beside name is set."""

    name: str
    static_quantize: StaticQuantize | None = None


class CompressTask(Contract):
    task: Literal["compress"] = "compress"
    source: Named
    source_uri: str
    dataset: DatasetInput
    passes: list[Pass]
    device: Literal["CPU", "GPU"] = "CPU"
    threads: int = 1
    batch_sizes: list[int] = [1]
    evaluation_split: str = "test"
    gates: list[Gate] = []
    output_uri: str
    progress: ProgressTarget | None = None


class VerifyTask(Contract):
    """Read a version's bytes: digest, signature, examples. Runs once for every ModelVersion."""

    task: Literal["verify"] = "verify"
    storage_uri: str
    format: Literal["ONNX"] = "ONNX"
    digest: str | None = None
    """Expected; a difference is the outcome DigestMismatch."""
    signature: Signature | None = None
    examples_uri: str
    """Where examples.json is, or is written when there is none."""


class FetchTask(Contract):
    """Lay out a Triton repository: <repository>/<model_name>/config.pbtxt and 1/model.onnx, and
    <repository>/<model_name>/examples.json, which Triton leaves alone."""

    task: Literal["fetch"] = "fetch"
    storage_uri: str
    digest: str
    examples_uri: str
    model_name: str
    config_pbtxt: str
    repository: str = "/models"


class ProbeTask(Contract):
    """Replay examples against Triton on localhost; /ready, /live and /example over HTTP."""

    task: Literal["probe"] = "probe"
    model_name: str
    repository: str = "/models"
    port: int = 8080
    triton_url: str = "http://127.0.0.1:8000"
    tolerance: float = 1e-3
    """Relative and absolute, for floating-point answers; class decisions must be equal."""


Task = Annotated[
    DatasetTask | TrainTask | EvaluateTask | CompressTask | VerifyTask | FetchTask | ProbeTask,
    Field(discriminator="task"),
]


class JobConfig(Contract):
    """The whole of what a pod is told."""

    version: int = VERSION
    owner: Owner
    attempt: int = 1
    task: Task
