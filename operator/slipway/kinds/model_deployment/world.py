"""What a ModelDeployment is decided by."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from slipway.api.model_deployment import ModelDeployment, Step, StepStatus
from slipway.api.reasons import Reason
from slipway.decision import Target
from slipway.kinds.model_deployment.objects import Model, Outcome, Revision
from slipway.rollout import plan, steps
from slipway.rollout.analysis import MetricState, Verdict
from slipway.rollout.autoscale import Scaling
from slipway.rollout.sample_ratio import SampleRatio
from slipway.router.traffic import Rates, Traffic
from slipway.settings import Platform

PIN = "slipway.dev/pin"
"""Annotation: stay on the revision of that name while set."""
STALE_SECONDS = 15.0
"""Figures older than that say nothing about now."""


@dataclass(frozen=True)
class Waiting:
    """What is to be served isn't known, or can't be: what serves goes on."""

    reason: Reason
    message: str
    stalled: bool = False
    """It doesn't come by itself: someone has to change something."""


@dataclass(frozen=True)
class Wanted:
    """The version that the spec means now."""

    model: Model
    signature: Mapping[str, Any]
    meaning: str
    """What the reference meant, as a sentence."""


@dataclass(frozen=True)
class Arm:
    """A revision and what runs of it."""

    revision: Revision
    number: int
    record: Target | None = None
    """Its ControllerRevision; None: not made yet."""
    outcome: Outcome | None = None
    """Of its last rollout."""
    children: tuple[Target, ...] = ()
    """Everything that runs for it: its Deployment and what goes with it."""
    replicas: int = 0
    """Asked of its Deployment."""
    ready: int = 0
    trouble: str | None = None
    """What keeps a pod from answering, in a sentence."""

    @property
    def name(self) -> str:
        return self.revision.name

    @property
    def version(self) -> str:
        return self.revision.model.name


@dataclass(frozen=True)
class Trial:
    """The rollout under way or ended last, as kept in a ConfigMap: a leader that starts anew goes on from it."""

    position: plan.Position
    metrics: Mapping[str, MetricState] = field(default_factory=dict)
    """By name, of the present step."""
    ratio: SampleRatio | None = None
    folded_until: datetime | None = None
    """Intervals up to here are in the evidence."""
    steps: tuple[StepStatus, ...] = ()
    """Those that are done with, and the figures they ended with."""
    acts: Mapping[str, str] = field(default_factory=dict)
    """promote, abort, retry -> value of the annotation that was acted upon last."""
    stated: tuple[Step, ...] | None = None
    """rollout.canary.steps when it began: an edit counts from the next rollout on, or a shorter list would promote
    what hasn't passed the steps it had."""

    def to_json(self) -> str:
        data = {
            "position": self.position.to_json(),
            "metrics": {name: state.to_json() for name, state in self.metrics.items()},
            "ratio": self.ratio.to_json() if self.ratio is not None else None,
            "foldedUntil": self.folded_until.isoformat() if self.folded_until is not None else None,
            "steps": [step.dump() for step in self.steps],
            "acts": dict(self.acts),
            "stated": [step.dump() for step in self.stated] if self.stated is not None else None,
        }
        return json.dumps(data, separators=(",", ":"), sort_keys=True)

    @classmethod
    def parse(cls, text: str) -> "Trial | None":
        """None for what nobody of us wrote: it counts as lost, and the records say what had been decided."""
        try:
            data = json.loads(text)
            until, ratio, stated = data["foldedUntil"], data["ratio"], data["stated"]
            return cls(
                position=plan.Position.from_json(data["position"]),
                metrics={name: MetricState.from_json(state) for name, state in data["metrics"].items()},
                ratio=SampleRatio.from_json(ratio) if ratio is not None else None,
                folded_until=datetime.fromisoformat(until) if until is not None else None,
                steps=tuple(StepStatus.model_validate(step) for step in data["steps"]),
                acts=data["acts"],
                stated=tuple(Step.model_validate(step) for step in stated) if stated is not None else None,
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


@dataclass(frozen=True)
class Run:
    """What is so after this pass: who serves, who is on trial, and the move that was made."""

    stable: Arm | None = None
    canary: Arm | None = None
    """On trial; None once it has ended."""
    trial: Trial | None = None
    begun: bool = False
    """The trial begins with this pass."""
    action: steps.Action | None = None
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    """On the step that is being taken."""
    mismatch: str | None = None
    """The sentence that says that the shares seen aren't those asked for."""
    ended: Arm | None = None
    """The revision whose trial ended with this pass."""

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Those that run, stable first."""
        return tuple(arm for arm in (self.stable, self.canary) if arm is not None)

    @property
    def weights(self) -> dict[str, int]:
        """Percent of requests by revision; the first revision gets none before it is promoted."""
        weight = self.trial.position.weight if self.canary is not None and self.trial is not None else 0
        found = {self.stable.name: 100 - weight} if self.stable is not None else {}
        return {**found, **({self.canary.name: weight} if self.canary is not None else {})}


@dataclass(frozen=True)
class World:
    now: datetime
    platform: Platform
    deployment: ModelDeployment
    wanted: Wanted | Waiting
    arms: Mapping[str, Arm]
    """Every revision there is a record of, by name."""
    traffic: Traffic
    trial: Trial | None = None
    scaling: Scaling = field(default_factory=Scaling)
    """What the autoscaler remembers; lost with the leader, and learnt anew."""

    @property
    def key(self) -> str:
        """Of this deployment in Traffic."""
        metadata = self.deployment.metadata
        return f"{metadata.namespace}/{metadata.name}"

    @property
    def stable(self) -> Arm | None:
        """The revision promoted last: noted on its record, so that it is known without a status, too."""
        promoted = [
            (arm.outcome.completed, arm.number, arm.name)
            for arm in self.arms.values()
            if arm.outcome is not None and arm.outcome.word == "Promoted"
        ]
        return self.arms[max(promoted)[2]] if promoted else None

    @property
    def has_figures(self) -> bool:
        """The routers were read lately; without figures, those of before stand."""
        scraped = self.traffic.scraped_at
        return scraped is not None and (self.now - scraped).total_seconds() <= STALE_SECONDS

    def rates(self, arm: Arm) -> Rates | None:
        """Of the last minute."""
        return self.traffic.rates.get(f"{self.key}/{arm.name}")

    def acknowledged(self, arm: Arm) -> int | None:
        """The weight that every router has. Without one connected (a leader that just started), the one last
        known: routers go on with what they have."""
        if self.traffic.routers:
            return self.traffic.acked.get(f"{self.key}/{arm.name}")
        known = (old for old in self.deployment.status.revisions if old.name == arm.name)
        return next((old.acknowledged_weight for old in known), None)
