"""ModelDeployment: serves a version, and replaces it only by one that is shown to be no worse."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from slipway.api.gates import Verdict
from slipway.api.meta import (
    AGE,
    PHASE,
    SUMMARY,
    Column,
    ModelRef,
    NamedDigest,
    ObjectRef,
    Resource,
    Status,
    Wire,
    expressed,
    list_map,
    rule,
    rules,
)
from slipway.api.pods import PodSettings, Resources
from slipway.api.units import CamelWord, Duration, Metrics, Name, Phrase, Sentence, Time, Uri, capped, span

ATOMIC = {"x-kubernetes-list-type": "atomic"}


class Latency(Wire):
    """How long requests may take, at the router."""

    percentile: Annotated[int, Field(ge=1, le=99)] = 99
    """Share of requests that must be within the threshold, in percent."""
    threshold: Annotated[Duration, span("slo.latency.threshold")]
    """A request that takes longer is slow, e.g. 25ms."""


class Slo(Wire):
    """What clients are promised; analysis and autoscaling hold it."""

    latency: Latency | None = None
    """How long requests may take."""


class DynamicBatching(Wire):
    """Requests that arrive together are answered together."""

    max_queue_delay: Annotated[Duration, span("triton.dynamicBatching.maxQueueDelay")] | None = None
    """How long a request waits for others; left out: not at all."""


class InstanceGroup(Wire):
    """Copies of the model in one replica."""

    count: Annotated[int, Field(ge=1, le=64)] = 1
    """How many."""
    kind: Literal["KIND_AUTO", "KIND_CPU", "KIND_GPU"] = "KIND_AUTO"
    """Where they run."""


class Triton(Wire):
    """Triton's config.pbtxt, in camelCase."""

    max_batch_size: Annotated[int, Field(ge=0, le=65536)] = 64
    """Rows that are answered together at most; 0: batching is the client's."""
    dynamic_batching: DynamicBatching = DynamicBatching()
    """Requests that arrive together are answered together."""
    instance_group: Annotated[
        list[InstanceGroup], Field(min_length=1, max_length=8, json_schema_extra=ATOMIC)
    ] = [InstanceGroup()]
    """Copies of the model in one replica."""


class Pause(Wire):
    """Waits."""

    duration: Annotated[Duration, span("pause.duration")] | None = None
    """That long; left out: until promote is asked."""


class Step(Wire):
    """One step of a rollout; exactly one is set."""

    set_weight: Annotated[int, Field(json_schema_extra={"format": "int32"})] | None = None
    """Share of requests for the new revision, in whole percent."""
    pause: Pause | None = None
    """Wait; {} waits for promote."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("has(self.setWeight) != has(self.pause)", "set exactly one of setWeight and pause")
        )
    )


_WEIGHTS = "self.filter(s, has(s.setWeight)).map(s, s.setWeight)"


class Canary(Wire):
    """The new revision gets more of the requests step by step."""

    steps: Annotated[
        list[Step],
        Field(
            min_length=1,
            max_length=20,
            json_schema_extra=ATOMIC
            | rules(
                expressed(
                    f"{_WEIGHTS}.all(w, w >= 1 && w <= 99) && {_WEIGHTS}.isSorted()"
                    f" && {_WEIGHTS}.all(w, {_WEIGHTS}.exists_one(v, v == w))",
                    "'rollout.canary.steps: weights must rise and stay between 1 and 99, got %s'"
                    f".format([{_WEIGHTS}])",
                )
            ),
        ),
    ]
    """Steps in order; 100 is implied."""


class RolloutSpec(Wire):
    """How a new revision takes over."""

    canary: Canary | None = None
    """Step by step; left out: at once, after its self-test."""
    step_deadline: Annotated[Duration, span("rollout.stepDeadline")] = "5m"
    """A step without a verdict by then is Inconclusive."""
    on_inconclusive: Literal["Pause", "Rollback", "Promote"] = "Pause"
    """What happens then."""
    progress_deadline: Annotated[Duration, span("rollout.progressDeadline")] = "10m"
    """A revision that isn't ready by then is given up."""
    paused: bool = False
    """True: the rollout stays where it is."""


class AnalysisMetric(Wire):
    """A rate that may not rise."""

    name: Literal["error_rate", "slow_rate"]
    """error_rate: failed requests. slow_rate: requests over slo.latency.threshold."""
    max_increase: float
    """Tolerated rise over stable, as an absolute difference of the two rates."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            expressed(
                "self.maxIncrease > 0.0 && self.maxIncrease <= 1.0",
                "self.maxIncrease > 1.0 && self.maxIncrease <= 100.0"
                " ? 'maxIncrease is %s; it is a difference of fractions, over 0 and at most 1: did you mean %s?'"
                ".format([self.maxIncrease, self.maxIncrease / 100.0])"
                " : 'maxIncrease is %s; it is a difference of fractions, over 0 and at most 1'"
                ".format([self.maxIncrease])",
            )
        )
    )


class Analysis(Wire):
    """What is compared at every step: canary against stable, at the same time."""

    interval: Annotated[Duration, span("analysis.interval")] = "5s"
    """How often counts are looked at."""
    metrics: Annotated[
        list[AnalysisMetric], Field(min_length=1, max_length=2, json_schema_extra=list_map("name"))
    ]
    """The rates that may not rise."""
    rollback_confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.99
    """A canary that is no worse is rolled back with at most the rest, e.g. 1 time in 100."""
    promote_confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    """A canary that is worse by maxIncrease passes with at most the rest, e.g. 1 time in 20."""


class Autoscaling(Wire):
    """How many replicas there are."""

    min_replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    """At least."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)]
    """At most."""
    target_concurrency: Annotated[float, Field(gt=0)] | None = None
    """Requests in flight per replica, beside the latency."""
    scale_down_window: Annotated[Duration, span("autoscaling.scaleDownWindow")] | None = None
    """How long fewer replicas must suffice before some are removed; left out: 2m."""
    scaler: Literal["Slipway", "External"] = "Slipway"
    """External: an HPA or KEDA drives the scale subresource instead."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            expressed(
                "self.minReplicas <= self.maxReplicas",
                "'autoscaling.minReplicas (%d) is above maxReplicas (%d)'.format([self.minReplicas, self.maxReplicas])",
            )
        )
    )


class TrafficSpec(Wire):
    """How clients get here."""

    hosts: Annotated[
        list[
            Annotated[
                str,
                Field(
                    max_length=253,
                    pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$",
                ),
            ]
        ],
        Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = []
    """Host names beside those of the cluster."""


class ModelDeploymentSpec(Wire):
    """What serves, how well, and how it is replaced."""

    model_version_ref: ObjectRef | None = None
    """The version that serves."""
    model_ref: ModelRef | None = None
    """Or: the version an alias points to; a move of the alias starts a rollout."""
    slo: Slo | None = None
    """What clients are promised."""
    triton: Triton = Triton()
    """How Triton runs the model."""
    resources: Resources = Resources()
    """Requests and limits of a replica."""
    pod: PodSettings = PodSettings()
    """Settings of the pods."""
    replicas: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Replicas without autoscaling (left out: 1), or what an External scaler writes."""
    rollout: RolloutSpec | None = None
    """How a new revision takes over; left out: at once, after its self-test."""
    analysis: Analysis | None = None
    """What is compared at every step."""
    autoscaling: Autoscaling | None = None
    """How many replicas there are."""
    traffic: TrafficSpec | None = None
    """How clients get here."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.modelRef) != has(self.modelVersionRef)",
                "set exactly one of modelRef and modelVersionRef",
            ),
            rule(
                "!has(self.replicas) || !has(self.autoscaling) || self.autoscaling.scaler == 'External'",
                "replicas and autoscaling are both set: remove replicas",
            ),
            rule(
                "!has(self.analysis) || self.analysis.metrics.all(m, m.name != 'slow_rate')"
                " || (has(self.slo) && has(self.slo.latency))",
                "analysis metric slow_rate needs slo.latency",
            ),
            rule(
                "!has(self.analysis) || (has(self.rollout) && has(self.rollout.canary))",
                "analysis has nothing to compare without rollout.canary: add its steps, or remove analysis",
            ),
        )
    )


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
    handled_requests: Annotated[dict[Name, Annotated[str, Field(max_length=256)]], Field(max_length=8)] = {}
    """Per asking annotation (promote, abort, retry) the value that was acted on last."""


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
