"""The rollout of a ModelDeployment: from what the routers saw to the next move. Pure.

Intervals of the routers are gathered into looks of spec.analysis.interval; each look is folded into the evidence
of the present step once, and the evidence is written down with the end of the last one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from slipway.api.model_deployment import Analysis, ModelDeployment, RolloutSpec, Step
from slipway.api.units import seconds
from slipway.kinds.model_deployment import shown
from slipway.kinds.model_deployment.objects import Outcome
from slipway.kinds.model_deployment.world import Trial, World
from slipway.rollout import analysis, plan, sample_ratio, steps
from slipway.rollout.analysis import MetricState, Table, Verdict
from slipway.rollout.sample_ratio import SampleRatio
from slipway.router.buckets import edge_at_or_above
from slipway.router.traffic import Counters

ACTS = ("abort", "promote", "retry")
"""Of two asked for at once the first here counts."""
ANNOTATION = "slipway.dev/"


@dataclass(frozen=True)
class Look:
    """One interval of both arms."""

    end: datetime
    canary: Counters
    stable: Counters


def way(deployment: ModelDeployment, subject: str, kept: Trial | None) -> plan.Plan:
    """spec.rollout as the state machine takes it, with the steps that the trial began with."""
    rollout = deployment.spec.rollout or RolloutSpec()
    stated = kept.stated if kept is not None and kept.stated is not None else _stated(deployment)
    metrics = deployment.spec.analysis.metrics if deployment.spec.analysis is not None else []
    return plan.Plan(
        subject=subject,
        steps=tuple(
            plan.SetWeight(step.set_weight)
            if step.set_weight is not None
            else plan.Hold(seconds(step.pause.duration) if step.pause and step.pause.duration else None)
            for step in stated
        ),
        step_deadline=seconds(rollout.step_deadline),
        on_inconclusive=rollout.on_inconclusive,
        progress_deadline=seconds(rollout.progress_deadline),
        metrics=tuple(metric.name for metric in metrics),
    )


def at_weight(way: plan.Plan, position: plan.Position) -> bool:
    """The step that is being taken is a weight, and the canary has it."""
    step = way.steps[position.step] if position.step < len(way.steps) and not position.outcome else None
    return isinstance(step, plan.SetWeight) and step.weight == position.weight


def begin(world: World, revision: str) -> Trial:
    """A rollout from its start. What was asked for before it began isn't meant for it."""
    return Trial(
        plan.begin(revision, world.now), acts=asked(world.deployment), stated=_stated(world.deployment)
    )


def _stated(deployment: ModelDeployment) -> tuple[Step, ...]:
    rollout = deployment.spec.rollout
    return tuple(rollout.canary.steps) if rollout is not None and rollout.canary is not None else ()


def outcome_of(position: plan.Position) -> Outcome | None:
    """As its record tells it."""
    if position.outcome is None or position.reason is None or position.completed is None:
        return None
    return Outcome(position.outcome, position.reason, position.message, position.started, position.completed)


def with_outcome(world: World) -> World:
    """The world as it is once the record tells what the trial came to: the trial is written first, and a pass may
    have ended between the two."""
    position = world.trial.position if world.trial is not None else None
    arm = world.arms.get(position.revision) if position is not None else None
    outcome = outcome_of(position) if position is not None else None
    if arm is None or outcome is None:
        return world
    return replace(world, arms={**world.arms, arm.name: replace(arm, outcome=outcome)})


def known(world: World) -> Trial | None:
    """The trial as kept. Without its ConfigMap, or with an older one: what the records tell of the last rollout."""
    kept = world.trial or _last_on_record(world)
    if kept is None:
        return None
    arm = world.arms.get(kept.position.revision)
    outcome = arm.outcome if arm is not None else None
    if kept.position.outcome or outcome is None or outcome.started != kept.position.started:
        return kept
    position = replace(
        kept.position,
        outcome=outcome.word,
        reason=outcome.reason,
        message=outcome.message,
        weight=100 if outcome.word == "Promoted" else 0,
        completed=outcome.completed,
    )
    return replace(kept, position=position, metrics={}, ratio=None, folded_until=None)


def _last_on_record(world: World) -> Trial | None:
    """The rollout that ended last, from its start; its steps as status still shows them."""
    ended = [(arm.outcome, arm) for arm in world.arms.values() if arm.outcome is not None]
    if not ended:
        return None
    outcome, arm = max(ended, key=lambda pair: (pair[0].completed, pair[1].number))
    told = world.deployment.status.rollout
    steps_told = tuple(told.steps) if told is not None and told.revision == arm.name else ()
    return Trial(plan.begin(arm.name, outcome.started), steps=steps_told, acts=asked(world.deployment))


def asked(deployment: ModelDeployment) -> dict[str, str]:
    """promote, abort, retry -> value of its annotation, where there is one."""
    annotations = deployment.metadata.annotations
    return {act: annotations[ANNOTATION + act] for act in ACTS if ANNOTATION + act in annotations}


def new_act(world: World, trial: Trial) -> steps.Act | None:
    """What is asked for with a value not acted upon yet."""
    for act, value in asked(world.deployment).items():
        if trial.acts.get(act) != value:
            return act  # type: ignore[return-value]  # the keys are those of ACTS
    return None


def gather(world: World, trial: Trial, canary: str, stable: str | None) -> Trial:
    """The trial with every whole look folded that its evidence lacks."""
    since = trial.position.evidence_since
    settings = world.deployment.spec.analysis
    if since is None or stable is None or settings is None or trial.position.outcome:
        return trial
    begun = trial
    if not trial.metrics:
        states: dict[str, MetricState] = {
            metric.name: analysis.start(metric.max_increase) for metric in settings.metrics
        }
        begun = replace(trial, metrics=states, ratio=SampleRatio(trial.position.weight))
    for look in _looks(
        world, max(since, trial.folded_until or since), canary, stable, seconds(settings.interval)
    ):
        begun = _fold(world.deployment, settings, begun, look)
    return begun


def _looks(world: World, since: datetime, canary: str, stable: str, length: float) -> list[Look]:
    """Intervals after `since`, summed up to looks of at least `length` seconds; the rest waits for the next pass."""
    looks: list[Look] = []
    ours, theirs, begun = Counters(), Counters(), None
    for interval in world.traffic.intervals.get(world.key, ()):
        if interval.start < since:
            continue
        begun = begun or interval.start
        ours += interval.revisions.get(canary, Counters())
        theirs += interval.revisions.get(stable, Counters())
        if (interval.end - begun).total_seconds() >= length:
            looks.append(Look(interval.end, ours, theirs))
            ours, theirs, begun = Counters(), Counters(), None
    return looks


def _fold(deployment: ModelDeployment, settings: Analysis, trial: Trial, look: Look) -> Trial:
    metrics: dict[str, MetricState] = {
        metric.name: analysis.fold(
            trial.metrics.get(metric.name) or analysis.start(metric.max_increase),
            _table(deployment, metric.name, look),
        )
        for metric in settings.metrics
    }
    ratio = sample_ratio.fold(
        trial.ratio or SampleRatio(trial.position.weight),
        trial.position.weight,
        look.canary.total,
        look.stable.total,
    )
    return replace(trial, metrics=metrics, ratio=ratio, folded_until=look.end)


def _table(deployment: ModelDeployment, metric: str, look: Look) -> Table:
    if metric == "error_rate":
        return Table(look.canary.total, look.canary.bad, look.stable.total, look.stable.bad)
    slo = deployment.spec.slo
    assert slo is not None  # a rule of the CRD: slow_rate needs slo.latency
    assert slo.latency is not None
    edge = edge_at_or_above(1000 * seconds(slo.latency.threshold))
    return Table(
        look.canary.measured,
        look.canary.slower_than(edge),
        look.stable.measured,
        look.stable.slower_than(edge),
    )


def verdicts(deployment: ModelDeployment, trial: Trial, weights: int) -> Mapping[str, Verdict]:
    """On the present step, by metric, in the order of the spec."""
    settings = deployment.spec.analysis
    if settings is None:
        return {}
    share = analysis.rollback_share(1 - settings.rollback_confidence, len(settings.metrics), max(1, weights))
    return {
        metric.name: analysis.judge(
            trial.metrics[metric.name], metric.max_increase, share, 1 - settings.promote_confidence
        )
        for metric in settings.metrics
        if metric.name in trial.metrics
    }


def mismatch(trial: Trial) -> str | None:
    """The sentence that says that the shares seen aren't those asked for."""
    if trial.ratio is None:
        return None
    match = sample_ratio.judge(trial.ratio)
    if not match.mismatch or match.seen is None:
        return None
    return (
        f"Canary gets {match.seen:.1f} % of the requests, {match.asked:.0f} % are asked for: the comparison is void. "
        "Look for clients that don't come through the router, then abort or promote."
    )


def move(world: World, trial: Trial, facts: steps.Facts, way: plan.Plan) -> tuple[Trial, steps.Action]:
    """One move of the state machine; a new step starts without evidence, and an act asked for is done with."""
    position, action = steps.advance(way, trial.position, facts)
    acts = dict(trial.acts)
    if facts.act:
        acts[facts.act] = asked(world.deployment)[facts.act]
    if position.started != trial.position.started:
        # retry: everything anew
        return Trial(position, acts=asked(world.deployment), stated=_stated(world.deployment)), action
    done = shown.done(world.deployment, way, trial, position, facts.verdicts)
    if position.evidence_since != trial.position.evidence_since or position.weight != trial.position.weight:
        trial = replace(trial, metrics={}, ratio=None, folded_until=None)
    return replace(trial, position=position, steps=done, acts=acts), action
