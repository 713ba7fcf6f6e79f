"""What is seen of a ModelDeployment: revisions, the evidence of a rollout, replicas."""

from typing import Annotated, Literal

from pydantic import Field

from slipway.api.gates import Verdict
from slipway.api.meta import ATOMIC, NamedDigest, ObjectRef, Status, Wire, list_map
from slipway.api.model_deployment_spec import Pause
from slipway.api.units import CamelWord, Metrics, Name, Phrase, Sentence, Time, Uri, capped


class DeploymentInputs(Wire):
    """What each reference means."""

    model_version: NamedDigest | None = None
    """The version that is wanted."""


class RevisionStatus(Wire):
    """A version with its settings, as it runs."""

    name: Name
    """Name of the revision."""
    role: Literal["Stable", "Canary"]
    """Stable serves; Canary is on trial."""
    model_version_ref: ObjectRef
    """The version it runs."""
    weight: int = 0
    """Share of requests it is to get, in percent."""
    acknowledged_weight: int | None = None
    """Share that every router has taken."""
    observed_weight: float | None = None
    """Share of requests seen in the last minute."""
    replicas: int = 0
    """Replicas wanted."""
    ready_replicas: int = 0
    """Replicas that answer."""


class ArmCounts(Wire):
    """Requests of one arm since the step began."""

    total: int = 0
    """Requests."""
    bad: int = 0
    """Those that failed, or were slow."""
    rate: float | None = None
    """Share of bad ones."""


class Difference(Wire):
    """Canary's rate minus stable's."""

    estimate: float
    """Best guess."""
    lower: float | None = None
    """Lower end of the interval; it holds however often one looks."""
    upper: float | None = None
    """Upper end of the interval; it holds however often one looks."""


class Evidence(Wire):
    """How strongly the counts speak against the canary."""

    log_e: Annotated[float, Field(alias="logE")]
    """Natural logarithm of the e-value."""
    rollback_at: float
    """The canary is rolled back where logE reaches this."""


class MetricResult(Wire):
    """A rate in both arms, and what it means."""

    name: Phrase
    """Name of the metric."""
    max_increase: float
    """Tolerated rise."""
    verdict: Verdict
    """Pass, Fail, Continue, Inconclusive or NoData."""
    canary: ArmCounts | None = None
    """Counts of the canary."""
    stable: ArmCounts | None = None
    """Counts of stable, in the same time."""
    difference: Difference | None = None
    """Canary's rate minus stable's."""
    evidence: Evidence | None = None
    """How strongly the counts speak against the canary."""
    samples_needed: int | None = None
    """Canary requests still needed, at the estimate."""
    message: Phrase | None = None
    """What else is to be said."""


class StepStatus(Wire):
    """A step that was or is being taken."""

    set_weight: int | None = None
    """Share of requests for the canary, in percent."""
    pause: Pause | None = None
    """Or: a wait."""
    verdict: Verdict
    """Pass: the next step may be taken."""
    start_time: Time | None = None
    """When it began: the routers had taken the weight."""
    completion_time: Time | None = None
    """When it ended."""
    deadline_time: Time | None = None
    """Without a verdict by then it is Inconclusive."""
    metrics: Annotated[
        list[MetricResult], capped(4), Field(max_length=4, json_schema_extra=list_map("name"))
    ] = []
    """The rates that were compared."""


class RolloutStatus(Wire):
    """The rollout under way, or the last one."""

    revision: Name
    """The revision on trial."""
    step: int = 0
    """Number of the step, from 1; 0: it isn't ready yet."""
    total_steps: int = 0
    """Steps in all."""
    verdict: Verdict
    """Pass: it took over. Fail: it was rolled back."""
    reason: CamelWord | None = None
    """Why it ended, in one word."""
    start_time: Time | None = None
    """When it began."""
    completion_time: Time | None = None
    """When it ended."""
    steps: Annotated[list[StepStatus], capped(20), Field(max_length=20, json_schema_extra=ATOMIC)] = []
    """Steps so far."""


class AutoscalingStatus(Wire):
    """How many replicas there are, and why."""

    current_replicas: int = 0
    """Replicas there are."""
    desired_replicas: int = 0
    """Replicas there should be."""
    last_scale_time: Time | None = None
    """When the number changed last."""
    metrics: Metrics = {}
    """The figures it was decided by."""
    message: Sentence | None = None
    """The decision, in a sentence."""


class HistoryEntry(Wire):
    """A rollout that has ended."""

    revision: Name
    """The revision."""
    model_version_ref: ObjectRef
    """The version it ran."""
    outcome: Literal["Promoted", "RolledBack", "Aborted", "Superseded"]
    """How it ended."""
    reason: CamelWord
    """Why, in one word."""
    start_time: Time
    """When it began."""
    completion_time: Time
    """When it ended."""


class ModelDeploymentStatus(Status):
    """What serves, and what is on trial."""

    phase: Literal["Pending", "Progressing", "Paused", "Healthy", "Degraded"] | None = None
    """Pending, Progressing, Paused, Healthy, or Degraded: it serves, but not what is wanted, or not at all."""
    url: Uri | None = None
    """Address for HTTP, in the cluster."""
    grpc_url: Uri | None = None
    """Address for gRPC, in the cluster."""
    replicas: int | None = None
    """Replicas of the stable revision; read by the scale subresource."""
    selector: Annotated[str, Field(max_length=1024)] | None = None
    """Label selector of the stable revision's pods; read by the scale subresource."""
    inputs: DeploymentInputs | None = None
    """What each reference means."""
    metrics: Metrics = {}
    """Figures of the last minute, over all revisions."""
    revisions: Annotated[
        list[RevisionStatus], capped(4), Field(max_length=4, json_schema_extra=list_map("name"))
    ] = []
    """What runs."""
    rollout: RolloutStatus | None = None
    """The rollout under way, or the last one."""
    autoscaling: AutoscalingStatus | None = None
    """How many replicas there are, and why."""
    history: Annotated[list[HistoryEntry], capped(10), Field(max_length=10, json_schema_extra=ATOMIC)] = []
    """Rollouts that have ended, newest first."""
