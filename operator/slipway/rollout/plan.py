"""What a rollout is to do and how far it has come: values that are kept between passes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from slipway.api.reasons import Reason
from slipway.rollout.analysis import VerdictWord

Outcome = Literal["Promoted", "RolledBack"]


@dataclass(frozen=True)
class SetWeight:
    weight: int
    """Percent of requests for the canary, 1 to 99."""


@dataclass(frozen=True)
class Hold:
    """A pause among the steps."""

    duration: float | None = None
    """Seconds; None waits for promote."""


@dataclass(frozen=True)
class Plan:
    """What spec.rollout states."""

    subject: str
    """How messages call the canary: its ModelVersion."""
    steps: tuple[SetWeight | Hold, ...] = ()
    """None: the revision takes over once its self-test passes."""
    step_deadline: float = 300.0
    on_inconclusive: Literal["Pause", "Rollback", "Promote"] = "Pause"
    """Promote goes on to the next step as if all had passed."""
    progress_deadline: float = 600.0
    metrics: tuple[str, ...] = ()
    """Names that need a Pass at each weight."""

    @property
    def weights(self) -> tuple[int, ...]:
        """The weights evidence is gathered at; the chance of a false rollback is shared among them."""
        return tuple(step.weight for step in self.steps if isinstance(step, SetWeight))


@dataclass(frozen=True)
class Record:
    """A weight that is done with."""

    weight: int
    verdict: VerdictWord
    started: datetime
    completed: datetime


@dataclass(frozen=True)
class Position:
    """Where a rollout is; kept between passes. Made by `begin`, changed by `advance` only."""

    revision: str
    started: datetime
    since: datetime
    """When the present step was come to."""
    step: int = 0
    weight: int = 0
    """Percent that the router is asked to give the canary."""
    tested: bool = False
    """Its examples got the recorded answers; a leader that starts anew needn't send them again."""
    lacking_since: datetime | None = None
    """Since when it lacks the pods or the self-test that it needs to go on."""
    evidence_since: datetime | None = None
    """When every router had the weight: intervals before it tell nothing about this step."""
    finish: bool = False
    """Promotion was asked for: the steps left are skipped."""
    outcome: Outcome | None = None
    reason: Reason | None = None
    message: str = ""
    completed: datetime | None = None
    records: tuple[Record, ...] = ()

    @property
    def rejected(self) -> bool:
        """Not to be tried again unless asked for. What another revision took the place of wasn't judged."""
        return self.outcome == "RolledBack" and self.reason is not Reason.SUPERSEDED

    def number(self, plan: Plan) -> int:
        """Of the weight under trial, from 1; a pause belongs to the weight before it."""
        reached = sum(isinstance(step, SetWeight) for step in plan.steps[: self.step + 1])
        return max(1, reached)

    def to_json(self) -> dict[str, Any]:
        """Without what has its default."""
        times = {"started": self.started, "since": self.since}
        times |= {
            name: at
            for name in ("lacking_since", "evidence_since", "completed")
            if (at := getattr(self, name))
        }
        data: dict[str, Any] = {"revision": self.revision} | {k: at.isoformat() for k, at in times.items()}
        data |= {
            k: v
            for k in ("step", "weight", "tested", "finish", "outcome", "reason", "message")
            if (v := getattr(self, k))
        }
        if self.records:
            data["records"] = [
                [r.weight, r.verdict, r.started.isoformat(), r.completed.isoformat()] for r in self.records
            ]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Position":
        values = dict(data)
        for name in ("started", "since", "lacking_since", "evidence_since", "completed"):
            if name in values:
                values[name] = datetime.fromisoformat(values[name])
        if "reason" in values:
            values["reason"] = Reason(values["reason"])  # type: ignore[call-arg]  # a look-up, as in any enum
        values["records"] = tuple(
            Record(weight, verdict, datetime.fromisoformat(started), datetime.fromisoformat(completed))
            for weight, verdict, started, completed in values.get("records", ())
        )
        return cls(**values)


def begin(revision: str, now: datetime) -> Position:
    """A rollout of a revision that isn't rejected, or whose retry was asked for."""
    return Position(revision=revision, started=now, since=now)


def next_weight(plan: Plan, position: Position, has_stable: bool) -> int:
    """The share the canary needs capacity for: that of the step it is at or comes to."""
    if position.outcome:
        return position.weight
    if not has_stable or position.step >= len(plan.steps):
        return 100
    step = plan.steps[position.step]
    return step.weight if isinstance(step, SetWeight) else position.weight
