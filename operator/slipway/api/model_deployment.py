"""ModelDeployment: serves a version, and replaces it only by one that is shown to be no worse."""

from typing import ClassVar

from slipway.api.meta import AGE, PHASE, SUMMARY, Column, Resource
from slipway.api.model_deployment_spec import (
    Analysis,
    AnalysisMetric,
    Autoscaling,
    Canary,
    DynamicBatching,
    InstanceGroup,
    Latency,
    ModelDeploymentSpec,
    Pause,
    RolloutSpec,
    Slo,
    Step,
    TrafficSpec,
    Triton,
)
from slipway.api.model_deployment_status import (
    ArmCounts,
    AutoscalingStatus,
    DeploymentInputs,
    Difference,
    Evidence,
    HistoryEntry,
    MetricResult,
    ModelDeploymentStatus,
    RevisionStatus,
    RolloutStatus,
    StepStatus,
)

__all__ = [
    "Analysis",
    "AnalysisMetric",
    "ArmCounts",
    "Autoscaling",
    "AutoscalingStatus",
    "Canary",
    "DeploymentInputs",
    "Difference",
    "DynamicBatching",
    "Evidence",
    "HistoryEntry",
    "InstanceGroup",
    "Latency",
    "MetricResult",
    "ModelDeployment",
    "ModelDeploymentSpec",
    "ModelDeploymentStatus",
    "Pause",
    "RevisionStatus",
    "RolloutSpec",
    "RolloutStatus",
    "Slo",
    "Step",
    "StepStatus",
    "TrafficSpec",
    "Triton",
]


class ModelDeployment(Resource):
    """Serves a version of a model, and replaces it only by one that is shown to be no worse."""

    PLURAL: ClassVar[str] = "modeldeployments"
    SHORT: ClassVar[tuple[str, ...]] = ("mdep",)
    SCALE: ClassVar[dict[str, str] | None] = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        PHASE,
        Column(
            "Stable",
            '.status.revisions[?(@.role=="Stable")].modelVersionRef.name',
            description="What serves.",
        ),
        Column(
            "Canary",
            '.status.revisions[?(@.role=="Canary")].modelVersionRef.name',
            description="What is on trial.",
        ),
        Column(
            "Weight",
            '.status.revisions[?(@.role=="Canary")].weight',
            "integer",
            description="The canary's share of requests, in percent.",
        ),
        Column(
            "P99 ms",
            ".status.metrics.latency_p99_ms",
            "number",
            description="Latency within which 99 % of requests are answered.",
        ),
        AGE,
        Column(
            "Replicas",
            ".status.replicas",
            "integer",
            wide=True,
            description="Replicas of the stable revision.",
        ),
        Column("URL", ".status.url", wide=True, description="Address in the cluster."),
        SUMMARY,
    )

    spec: ModelDeploymentSpec
    """What is wanted."""
    status: ModelDeploymentStatus = ModelDeploymentStatus()
    """What is."""
