"""What a user says of a ModelDeployment."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from slipway.api.meta import ATOMIC, ModelRef, ObjectRef, Wire, expressed, list_map, rule, rules
from slipway.api.pods import PodSettings, Resources
from slipway.api.units import Duration, span


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
