"""How a rollout is shown in status: its steps with the figures they were judged by, and the history. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from slipway.api.gates import Verdict as Word
from slipway.api.meta import ObjectRef
from slipway.api.model_deployment import (
    ArmCounts,
    Difference,
    Evidence,
    HistoryEntry,
    MetricResult,
    ModelDeployment,
    Pause,
    RolloutStatus,
    StepStatus,
)
from slipway.api.reasons import Reason
from slipway.api.units import duration
from slipway.kinds.model_deployment.world import Run, Trial, World
from slipway.rollout import analysis, plan
from slipway.rollout.analysis import Verdict
from slipway.rollout.steps import FAILURES

HISTORY = 10
MANNERS = {Reason.SUPERSEDED: "Superseded", Reason.ABORTED: "Aborted"}
"""How a rollback ended is said in one word; the others are RolledBack."""


def rollout(world: World, run: Run, way: plan.Plan) -> RolloutStatus | None:
    if run.trial is None:
        return None
    position = run.trial.position
    number = min(position.number(way), len(way.weights))
    return RolloutStatus(
        revision=position.revision,
        step=number if position.weight or run.trial.steps else 0,
        total_steps=len(way.weights),
        verdict=_verdict(position),
        reason=position.reason.value if position.reason is not None else None,
        start_time=position.started,
        completion_time=position.completed,
        steps=[*run.trial.steps, *_present(world.deployment, way, run, position)],
    )


def _verdict(position: plan.Position) -> Word:
    if position.outcome is None:
        return "Continue"
    if position.outcome == "Promoted":
        return "Pass"
    # Superseded or aborted by someone: nothing was shown about it.
    nothing = position.reason in (Reason.INCONCLUSIVE, Reason.SUPERSEDED, Reason.ABORTED)
    return "Inconclusive" if nothing else "Fail"


def done(
    deployment: ModelDeployment,
    way: plan.Plan,
    before: Trial,
    after: plan.Position,
    verdicts: Mapping[str, Verdict],
) -> tuple[StepStatus, ...]:
    """The steps done with, once a move has led from `before` to `after`."""
    position = before.position
    if position.outcome:
        return before.steps
    failed = after.outcome == "RolledBack" and after.reason in FAILURES.values()
    left = after.step != position.step or bool(after.outcome)
    step = way.steps[position.step] if position.step < len(way.steps) else None
    found = before.steps
    if left and isinstance(step, plan.Hold):
        word: Word = "Continue" if after.outcome else "Pass"
        found = (*found, _pause(step, word, position).model_copy(update={"completion_time": _end(after)}))
    at_weight = isinstance(step, plan.SetWeight) and position.weight == step.weight
    if position.weight and ((left and at_weight) or failed):
        found = _with(found, _weight(deployment, position, after, verdicts))
    return found


def _with(found: tuple[StepStatus, ...], weight: StepStatus) -> tuple[StepStatus, ...]:
    """Evidence goes on after a weight's verdict; where it ends in a Fail, that is what the weight came to."""
    if any(shown.set_weight == weight.set_weight for shown in found):
        return tuple(weight if shown.set_weight == weight.set_weight else shown for shown in found)
    return (*found, weight)


def _weight(
    deployment: ModelDeployment,
    position: plan.Position,
    after: plan.Position,
    verdicts: Mapping[str, Verdict],
) -> StepStatus:
    """The weight that is left with this move."""
    record = next((record for record in after.records if record.weight == position.weight), None)
    word: Word = record.verdict if record is not None else _overall(verdicts)
    if after.outcome == "RolledBack" and record is None and after.reason is Reason.INCONCLUSIVE:
        word = "Inconclusive"
    if after.reason in FAILURES.values():
        word = "Fail"
    return StepStatus(
        set_weight=position.weight,
        verdict=word,
        start_time=position.evidence_since,
        completion_time=_end(after),
        metrics=results(deployment, verdicts),
    )


def _end(after: plan.Position) -> datetime:
    return after.completed or after.since


def _present(
    deployment: ModelDeployment, way: plan.Plan, run: Run, position: plan.Position
) -> list[StepStatus]:
    """The step that is being taken."""
    if position.outcome or position.step >= len(way.steps):
        return []
    step = way.steps[position.step]
    if isinstance(step, plan.Hold):
        return [_pause(step, "Continue", position)]
    if position.weight != step.weight:
        return []
    since = position.evidence_since
    return [
        StepStatus(
            set_weight=step.weight,
            verdict=_overall(run.verdicts),
            start_time=since,
            deadline_time=since + timedelta(seconds=way.step_deadline) if since is not None else None,
            metrics=results(deployment, run.verdicts),
        )
    ]


def _pause(step: plan.Hold, word: Word, position: plan.Position) -> StepStatus:
    length = duration(step.duration) if step.duration is not None else None
    return StepStatus(pause=Pause(duration=length), verdict=word, start_time=position.since)


def _overall(verdicts: Mapping[str, Verdict]) -> Word:
    """The worst word that was said, or that there is more to come."""
    words = {verdict.verdict for verdict in verdicts.values()}
    if words == {"Pass"}:
        return "Pass"
    return "Fail" if "Fail" in words else "NoData" if words == {"NoData"} else "Continue"


def results(deployment: ModelDeployment, verdicts: Mapping[str, Verdict]) -> list[MetricResult]:
    margins = margins_of(deployment)
    return [
        MetricResult(
            name=name,
            max_increase=margins[name],
            verdict=verdict.verdict,
            canary=_counts(verdict.canary),
            stable=_counts(verdict.stable),
            difference=Difference(
                estimate=round(verdict.difference.estimate, 4),
                lower=round(verdict.difference.lower, 4),
                upper=round(verdict.difference.upper, 4),
            ),
            evidence=Evidence(log_e=round(verdict.log_e, 2), rollback_at=round(verdict.rollback_at, 2)),
            samples_needed=verdict.samples_needed,
        )
        for name, verdict in verdicts.items()
    ]


def _counts(arm: analysis.Arm) -> ArmCounts:
    return ArmCounts(total=arm.total, bad=arm.bad, rate=round(arm.rate, 4))


def margins_of(deployment: ModelDeployment) -> dict[str, float]:
    """maxIncrease by metric."""
    settings = deployment.spec.analysis
    return {metric.name: metric.max_increase for metric in settings.metrics} if settings is not None else {}


# --- history ---


def history(world: World, run: Run) -> list[HistoryEntry]:
    """Newest first. An entry is known by its revision and start, so it is written once however often we look."""
    entries = list(world.deployment.status.history) or _on_record(world)
    entry = _entry(world, run)
    if entry is None or _tells(entries, entry):
        return entries
    return [entry, *entries][:HISTORY]


def is_told(world: World, run: Run) -> bool:
    """The history in status has this rollout; till then no other one begins, or it would be lost."""
    entry = _entry(world, run)
    return entry is None or _tells(world.deployment.status.history, entry)


def _tells(entries: list[HistoryEntry], entry: HistoryEntry) -> bool:
    return any((old.revision, old.start_time) == (entry.revision, entry.start_time) for old in entries)


def _entry(world: World, run: Run) -> HistoryEntry | None:
    position = run.trial.position if run.trial is not None else None
    if position is None or not position.outcome or position.completed is None or position.reason is None:
        return None
    arm = run.ended or world.arms.get(position.revision)
    if arm is None:
        return None
    return HistoryEntry(
        revision=arm.name,
        model_version_ref=ObjectRef(name=arm.version),
        outcome=MANNERS.get(position.reason, position.outcome),
        reason=position.reason.value,
        start_time=position.started,
        completion_time=position.completed,
    )


def _on_record(world: World) -> list[HistoryEntry]:
    """What the records know, where the status is lost: the last rollout of each revision."""
    ended = [(arm.outcome, arm) for arm in world.arms.values() if arm.outcome is not None]
    ended.sort(key=lambda pair: (pair[0].completed, pair[1].number), reverse=True)
    return [
        HistoryEntry(
            revision=arm.name,
            model_version_ref=ObjectRef(name=arm.version),
            outcome=MANNERS.get(outcome.reason, outcome.word),
            reason=outcome.reason.value,
            start_time=outcome.started,
            completion_time=outcome.completed,
        )
        for outcome, arm in ended[:HISTORY]
    ]
