"""The six kinds of slipway.dev/v1alpha1 as models; only pydantic and the standard library."""

from slipway.api.compression_job import CompressionJob
from slipway.api.dataset import Dataset
from slipway.api.meta import API_VERSION, GROUP, VERSION, Condition, Metadata, Resource, Status, Wire
from slipway.api.model import Model
from slipway.api.model_deployment import ModelDeployment
from slipway.api.model_version import ModelVersion
from slipway.api.reasons import Reason
from slipway.api.training_run import TrainingRun

KINDS: dict[str, type[Resource]] = {
    kind.__name__: kind
    for kind in (Dataset, TrainingRun, CompressionJob, Model, ModelVersion, ModelDeployment)
}
"""Every kind by its name."""

__all__ = [
    "API_VERSION",
    "GROUP",
    "KINDS",
    "VERSION",
    "CompressionJob",
    "Condition",
    "Dataset",
    "Metadata",
    "Model",
    "ModelDeployment",
    "ModelVersion",
    "Reason",
    "Resource",
    "Status",
    "TrainingRun",
    "Wire",
]
