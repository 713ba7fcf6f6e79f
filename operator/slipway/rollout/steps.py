"""One rollout as a state machine, without Kubernetes: plan, position and facts in, next position and action out.

    step 0 .. n-1, each      [setWeight]  capacity -> Shift -> every router has it -> evidence -> all Pass -> next
                             [pause]      waits for its duration or for promote; evidence goes on meanwhile
    step n                   capacity for all traffic -> Promote
    from anywhere            any Fail, abort, no capacity in time, a wrong answer -> Rollback, remembered

A call makes one move; the caller writes it down, brings it about and calls again with what it then sees.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from slipway.api.reasons import Reason
from slipway.api.units import duration
from slipway.rollout import sentences
from slipway.rollout.analysis import Verdict, VerdictWord
from slipway.rollout.plan import Hold, Outcome, Plan, Position, Record, SetWeight, begin, next_weight

Act = Literal["promote", "abort", "retry"]


@dataclass(frozen=True)
class Facts:
    """What is so now."""

    now: datetime
    desired: str
    """The revision that the spec asks for."""
    has_stable: bool
    """False: nothing serves yet."""
    capacity_ready: bool
    """The canary's ready replicas are enough for `next_weight`."""
    capacity_message: str = ""
    """What is there and what is wanted, for people."""
    self_test: bool | None = None
    """None: hasn't come to an end."""
    self_test_message: str = ""
    acknowledged: bool = False
    """Every ready router serves `position.weight`, and there is at least one."""
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    """On the evidence since `position.evidence_since`."""
    sample_ratio_mismatch: str | None = None
    """The sentence that says so, if the shares seen aren't those asked for."""
    act: Act | None = None
    """Asked for since the last pass."""
    paused: bool = False
    """spec.rollout.paused."""


@dataclass(frozen=True)
class Wait:
    reason: Reason
    message: str
    again_in: float | None = None
    """Seconds until it must be looked at even if nothing happens; evidence is folded at its own interval."""


@dataclass(frozen=True)
class Shift:
    """The router is to give the canary this share; evidence starts anew."""

    weight: int


@dataclass(frozen=True)
class Promote:
    """All traffic to the canary, which becomes the stable revision."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Rollback:
    """No traffic to the canary, and `position.rejected` tells whether it is remembered as rejected."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Pause:
    """Waits for a person; evidence goes on, and a Fail still rolls back."""

    reason: Reason
    message: str
    again_in: float | None = None


Action = Wait | Shift | Promote | Rollback | Pause

FAILURES = {"error_rate": Reason.ERROR_RATE_INCREASED, "slow_rate": Reason.SLOW_RATE_INCREASED}


def advance(plan: Plan, position: Position, facts: Facts) -> tuple[Position, Action]:
    """One move. Ends first, then what holds it, then the way up."""
    if position.outcome:
        return _ended(position, facts)
    position = _looked_over(plan, position, facts)
    if end := _end(plan, position, facts):
        return _finish(position, facts.now, "RolledBack", end), end
    if not position.tested:
        return position, _not_ready(
            plan, position, facts, Reason.SELF_TESTING, "Its examples are being sent."
        )
    if not facts.has_stable or position.step >= len(plan.steps):
        return _promote(plan, position, facts)
    step = plan.steps[position.step]
    if isinstance(step, Hold):
        return _hold(plan, step, position, facts)
    if position.weight != step.weight:
        return _shift(plan, step.weight, position, facts)
    if position.evidence_since is None:
        return _acknowledge(plan, position, facts)
    return _judge(plan, position, facts)


def _looked_over(plan: Plan, position: Position, facts: Facts) -> Position:
    """What is noted in any state: the self-test, since when something lacks, and that promotion was asked for."""
    if facts.act == "promote" and not facts.paused and not _goes_on_from_pause(plan, position, facts):
        position = replace(position, step=len(plan.steps), since=facts.now, finish=True)
    tested = position.tested or facts.self_test is True
    lacks = not tested or _waits_for_pods(plan, position, facts)
    lacking_since = (position.lacking_since or facts.now) if lacks else None
    return replace(position, tested=tested, lacking_since=lacking_since)


def _waits_for_pods(plan: Plan, position: Position, facts: Facts) -> bool:
    """Under a weight it has, a canary without pods fails requests, and those decide."""
    return not facts.capacity_ready and next_weight(plan, position, facts.has_stable) > position.weight


def _ended(position: Position, facts: Facts) -> tuple[Position, Action]:
    if position.rejected and facts.act == "retry" and facts.desired == position.revision:
        return begin(position.revision, facts.now), Wait(
            Reason.ROLLOUT_IN_PROGRESS, f"{position.revision} is tried again: retry was asked for.", 0.0
        )
    return position, Wait(position.reason or Reason.UP_TO_DATE, position.message)


def _end(plan: Plan, position: Position, facts: Facts) -> Rollback | None:
    """Why the rollout can't go on at all."""
    if facts.desired != position.revision:
        return Rollback(
            Reason.SUPERSEDED, f"{facts.desired} is wanted now; {position.revision} was still on trial."
        )
    if facts.act == "abort":
        return Rollback(
            Reason.ABORTED, f"{plan.subject} was aborted at {position.weight} % by slipway.dev/abort."
        )
    # Harm is shown given each arm's requests, so it holds even where the shares aren't those asked for.
    if position.evidence_since:
        for metric, verdict in facts.verdicts.items():
            if verdict.verdict == "Fail":
                reason = FAILURES.get(metric, Reason.ROLLED_BACK)
                return Rollback(reason, sentences.rolled_back(plan.subject, metric, verdict))
    if facts.self_test is False:
        return Rollback(Reason.SELF_TEST_FAILED, facts.self_test_message)
    if position.lacking_since and _left(position.lacking_since, plan.progress_deadline, facts.now) <= 0:
        what = facts.capacity_message if not facts.capacity_ready else "its self-test came to no end"
        return Rollback(
            Reason.PROGRESS_DEADLINE_EXCEEDED,
            f"{position.revision} was not ready within {duration(plan.progress_deadline)}: {what.rstrip('.')}.",
        )
    return None


def _not_ready(plan: Plan, position: Position, facts: Facts, reason: Reason, message: str) -> Wait:
    if not facts.capacity_ready:
        reason, message = Reason.STARTING_REPLICAS, facts.capacity_message
    since = position.lacking_since or facts.now
    return Wait(reason, message, max(1.0, _left(since, plan.progress_deadline, facts.now)))


def _goes_on_from_pause(plan: Plan, position: Position, facts: Facts) -> bool:
    """Promote means "go on" where the rollout waits for a person, and "finish now" elsewhere."""
    if not facts.has_stable or position.step >= len(plan.steps):
        return True
    held = facts.sample_ratio_mismatch is not None or _inconclusive(plan, position, facts)
    return isinstance(plan.steps[position.step], Hold) or held


def _promote(plan: Plan, position: Position, facts: Facts) -> tuple[Position, Action]:
    if facts.paused and facts.has_stable:
        return position, _paused_by_spec()
    if not facts.capacity_ready:
        return position, _not_ready(plan, position, facts, Reason.STARTING_REPLICAS, "")
    if not facts.has_stable:
        reason, why = Reason.FIRST_REVISION, "nothing served before"
    elif position.finish:
        reason, why = Reason.PROMOTED_BY_USER, "promotion was asked for"
    elif not plan.steps:
        reason, why = Reason.NO_CANARY, "its self-test passed"
    else:
        reason, why = Reason.ALL_PASSED, "every step passed"
        if any(record.verdict != "Pass" for record in position.records):
            why = "every step is done"
    action = Promote(reason, f"{plan.subject} takes all traffic: {why}.")
    return _finish(position, facts.now, "Promoted", action), action


def _hold(plan: Plan, step: Hold, position: Position, facts: Facts) -> tuple[Position, Action]:
    if facts.paused:
        return position, _paused_by_spec()
    if facts.act == "promote":
        return _next(plan, position, facts)
    if step.duration is None:
        return position, Pause(Reason.ROLLOUT_PAUSED, f"Paused at {position.weight} %: promote or abort.")
    left = _left(position.since, step.duration, facts.now)
    if left <= 0:
        return _next(plan, position, facts)
    return position, Pause(
        Reason.ROLLOUT_PAUSED, f"Paused at {position.weight} % for {duration(step.duration)}.", left
    )


def _shift(plan: Plan, weight: int, position: Position, facts: Facts) -> tuple[Position, Action]:
    if facts.paused:
        return position, _paused_by_spec()
    if not facts.capacity_ready:
        return position, _not_ready(plan, position, facts, Reason.STARTING_REPLICAS, "")
    return replace(position, weight=weight, evidence_since=None, since=facts.now), Shift(weight)


def _acknowledge(plan: Plan, position: Position, facts: Facts) -> tuple[Position, Action]:
    if not facts.acknowledged:
        return position, Wait(
            Reason.NOT_ACKNOWLEDGED, f"Waiting for every router to take {position.weight} %.", 5.0
        )
    position = replace(position, evidence_since=facts.now)
    return position, Wait(Reason.ROLLOUT_IN_PROGRESS, _step(plan, position), plan.step_deadline)


def _judge(plan: Plan, position: Position, facts: Facts) -> tuple[Position, Action]:
    if facts.sample_ratio_mismatch:
        if facts.act == "promote" and not facts.paused:
            return _done(plan, position, facts, "Inconclusive")
        return position, Pause(Reason.SHARES_DIFFER, facts.sample_ratio_mismatch)
    if all(_word(facts, metric) == "Pass" for metric in plan.metrics):
        return _done(plan, position, facts, "Pass")
    if not _inconclusive(plan, position, facts):
        assert position.evidence_since is not None  # _acknowledge comes first
        left = _left(position.evidence_since, plan.step_deadline, facts.now)
        return position, Wait(Reason.ROLLOUT_IN_PROGRESS, _step(plan, position), max(1.0, left))
    why = sentences.inconclusive(facts.verdicts, plan.step_deadline)
    if plan.on_inconclusive == "Rollback":
        action = Rollback(Reason.INCONCLUSIVE, f"{why} Rolled back, as onInconclusive says.")
        return _finish(position, facts.now, "RolledBack", action), action
    if not facts.paused and (plan.on_inconclusive == "Promote" or facts.act == "promote"):
        return _done(plan, position, facts, "Inconclusive")
    return position, Pause(Reason.INCONCLUSIVE, f"{why} Paused: promote, abort, or send more traffic.")


def _inconclusive(plan: Plan, position: Position, facts: Facts) -> bool:
    return (
        position.evidence_since is not None
        and isinstance(plan.steps[position.step], SetWeight)
        and _left(position.evidence_since, plan.step_deadline, facts.now) <= 0
    )


def _done(plan: Plan, position: Position, facts: Facts, verdict: VerdictWord) -> tuple[Position, Action]:
    assert position.evidence_since is not None  # only a weight with evidence is done with
    record = Record(position.weight, verdict, position.evidence_since, facts.now)
    return _next(plan, replace(position, records=(*position.records, record)), facts)


def _next(plan: Plan, position: Position, facts: Facts) -> tuple[Position, Action]:
    position = replace(position, step=position.step + 1, since=facts.now)
    return position, Wait(Reason.ROLLOUT_IN_PROGRESS, _step(plan, position), 0.0)


def _finish(position: Position, now: datetime, outcome: Outcome, action: Promote | Rollback) -> Position:
    return replace(
        position,
        outcome=outcome,
        reason=action.reason,
        message=action.message,
        weight=100 if outcome == "Promoted" else 0,
        completed=now,
    )


def _word(facts: Facts, metric: str) -> VerdictWord:
    return facts.verdicts[metric].verdict if metric in facts.verdicts else "NoData"


def _step(plan: Plan, position: Position) -> str:
    return f"Step {position.number(plan)} of {len(plan.weights)}."


def _paused_by_spec() -> Pause:
    return Pause(Reason.ROLLOUT_PAUSED, "Paused by rollout.paused: set it to false to go on.")


def _left(since: datetime, allowed: float, now: datetime) -> float:
    return (since + timedelta(seconds=allowed) - now).total_seconds()
