"""The status of a ModelDeployment: what serves, what is on trial with which evidence, and what to do. Pure."""

from collections.abc import Mapping
from datetime import timedelta

from slipway import conditions
from slipway.api.meta import NamedDigest, ObjectRef
from slipway.api.model_deployment import (
    ArmCounts,
    AutoscalingStatus,
    DeploymentInputs,
    Difference,
    Evidence,
    HistoryEntry,
    MetricResult,
    ModelDeploymentStatus,
    Pause,
    RevisionStatus,
    RolloutStatus,
    StepStatus,
)
from slipway.api.reasons import Reason
from slipway.api.units import duration
from slipway.conditions import State
from slipway.kinds.model_deployment import objects, trial
from slipway.kinds.model_deployment.sizes import Sizes
from slipway.kinds.model_deployment.world import Arm, Run, Trial, Waiting, World
from slipway.rollout import plan, sentences, steps
from slipway.rollout.analysis import Verdict
from slipway.router.traffic import Counters

NOTABLE = 0.1
"""Relative change from which a figure in status is written anew: an object at rest causes no writes."""
NOTABLE_SHARE = 2.0
"""Percent points, for shares of traffic."""
HISTORY = 10


def status(world: World, desired: Arm | Waiting, run: Run, sized: Sizes) -> ModelDeploymentStatus:
    deployment = world.deployment
    old = deployment.status
    namespace, name = deployment.metadata.namespace, deployment.metadata.name
    ready, phase, work = _ready(world, desired, run)
    inputs = old.inputs
    if isinstance(desired, Arm):
        model = desired.revision.model
        inputs = DeploymentInputs(model_version=NamedDigest(name=model.name, digest=model.digest))
    stable = run.stable
    return ModelDeploymentStatus(
        observed_generation=deployment.metadata.generation,
        phase=phase,
        summary=_summary(world, desired, run, ready),
        result=f"serves {stable.version}" if stable is not None else "serves nothing yet",
        url=f"http://{name}.{namespace}.svc.{world.platform.cluster_domain}",
        grpc_url=f"{name}.{namespace}.svc.{world.platform.cluster_domain}:{objects.GRPC_PORT}",
        replicas=sized.replicas[stable.name] if stable is not None else 0,
        selector=f"slipway.dev/revision={stable.name}" if stable is not None else "slipway.dev/revision=none",
        inputs=inputs,
        metrics=_metrics(world, run, old.metrics),
        revisions=_revisions(world, run, sized),
        rollout=_rollout(world, run),
        autoscaling=_autoscaling(world, sized, stable),
        history=_history(world, run),
        conditions=conditions.of(
            deployment,
            world.now,
            [
                _inputs_ready(world, desired),
                _available(run, sized),
                _verified(world, run),
                _scaling(world, sized),
                ready,
            ],
            work,
        ),
    )


# --- conditions ---


def _inputs_ready(world: World, desired: Arm | Waiting) -> State:
    if isinstance(desired, Waiting):
        return State("InputsReady", "False", desired.reason, desired.message)
    pin = world.deployment.metadata.annotations.get("slipway.dev/pin")
    if pin is not None:
        return State(
            "InputsReady", "True", Reason.PINNED, f"Pinned to {pin}, which serves {desired.version}."
        )
    meaning = "" if isinstance(world.wanted, Waiting) else world.wanted.meaning
    return State("InputsReady", "True", Reason.RESOLVED, meaning)


def _available(run: Run, sized: Sizes) -> State:
    arms = run.arms
    if run.stable is None or not run.stable.ready:
        trouble = next((arm.trouble for arm in arms if arm.trouble), None)
        if trouble is not None:
            return State("Available", "False", Reason.REPLICAS_UNHEALTHY, trouble)
        if arms:
            return State("Available", "False", Reason.STARTING_REPLICAS, f"Starting {arms[0].name}.")
        return State("Available", "False", Reason.NO_REPLICAS, "There is nothing to serve yet.")
    ready, wanted = sum(arm.ready for arm in arms), sum(sized.replicas[arm.name] for arm in arms)
    return State("Available", "True", Reason.SERVING, f"{min(ready, wanted)} of {wanted} replicas answer.")


def _verified(world: World, run: Run) -> State:
    """Whether traffic goes where it is asked to go: by the routers' word and by what was seen."""
    traffic, name = world.traffic, "TrafficVerified"
    if traffic.nacks:
        nack = traffic.nacks[0]
        return State(name, "False", Reason.ROUTER_REJECTED, f"Router {nack.router}: {nack.message}")
    if not traffic.routers:
        return State(name, "Unknown", Reason.ROUTER_UNAVAILABLE, "No router is connected.")
    conflicts = traffic.conflicts.get(world.key)
    if conflicts:
        said = f"{conflicts[0].host} is held by ModelDeployment {conflicts[0].holder}; it is left out here."
        return State(name, "False", Reason.HOST_CONFLICT, said)
    if run.stable is None:
        return State(name, "Unknown", Reason.NO_TRAFFIC, "Nothing serves yet.")
    watched = run.canary or run.stable
    asked = run.weights[watched.name]
    if traffic.acked.get(f"{world.key}/{watched.name}") != asked:
        return State(name, "False", Reason.NOT_ACKNOWLEDGED, f"Not every router has taken {asked} % yet.")
    share = _observed(world, run, watched)
    if share is None:
        return State(name, "Unknown", Reason.NO_TRAFFIC, "No requests in the last minute.")
    said = f"{asked} % asked, {share:g} % seen in the last minute."
    if run.judged is not None and trial.mismatch(run.judged) is not None:
        return State(name, "False", Reason.SHARES_DIFFER, said)
    return State(name, "True", Reason.SHARES_MATCH, said)


def _scaling(world: World, sized: Sizes) -> State:
    settings, name = world.deployment.spec.autoscaling, "ScalingActive"
    if settings is None:
        return State(name, "False", Reason.FIXED_REPLICAS, "The spec states the number of replicas.")
    if settings.scaler == "External":
        return State(name, "True", Reason.EXTERNAL_SCALER, "An HPA or KEDA writes spec.replicas.")
    if sized.scale is None:
        return State(name, "Unknown", Reason.NO_METRICS, "Nothing serves yet.")
    known = sized.scale.reason is not Reason.NO_METRICS
    return State(name, "True" if known else "Unknown", sized.scale.reason, _settled(world, sized))


def _settled(world: World, sized: Sizes) -> str:
    """The autoscaler's sentence; the one of before while the figures have not moved."""
    before, scale = world.deployment.status.autoscaling, sized.scale
    assert scale is not None
    same = before is not None and before.message and before.desired_replicas == scale.desired
    if same and before is not None and _moved(before.metrics, scale.metrics) == before.metrics:
        return before.message or scale.message
    return scale.message


def _ready(world: World, desired: Arm | Waiting, run: Run) -> tuple[State, str, conditions.Work]:
    """Ready, the phase that goes with it, and what kstatus reads."""
    if run.canary is not None:
        return _on_trial(world, run)
    if isinstance(desired, Waiting):
        phase = "Degraded" if desired.stalled else "Pending" if run.stable is None else "Progressing"
        return (
            State("Ready", "False", desired.reason, desired.message),
            phase,
            "Stalled" if desired.stalled else "Reconciling",
        )
    position = run.trial.position if run.trial is not None else None
    if run.stable is None or run.stable.name != desired.name:
        if position is not None and position.revision == desired.name and position.rejected:
            reason = Reason.INCONCLUSIVE if position.reason is Reason.INCONCLUSIVE else _rejection(position)
            return State("Ready", "False", reason, position.message), "Degraded", "Stalled"
        return (
            State("Ready", "False", Reason.ROLLOUT_IN_PROGRESS, f"{desired.name} is wanted."),
            "Progressing",
            "Reconciling",
        )
    if not run.stable.ready:
        reason = Reason.REPLICAS_UNHEALTHY if run.stable.trouble else Reason.NO_REPLICAS
        said = run.stable.trouble or f"No replica of {run.stable.name} is ready."
        return State("Ready", "False", reason, said), "Degraded", "Reconciling"
    if world.traffic.acked.get(f"{world.key}/{run.stable.name}") != 100:
        said = "Not every router has taken 100 % yet."
        return State("Ready", "False", Reason.NOT_ACKNOWLEDGED, said), "Progressing", "Reconciling"
    return (
        State("Ready", "True", Reason.UP_TO_DATE, f"{run.stable.version} answers all requests."),
        "Healthy",
        "Done",
    )


def _rejection(position: plan.Position) -> Reason:
    """One word for rollbacks by figures; those of another cause keep theirs."""
    if (
        position.reason in (Reason.ERROR_RATE_INCREASED, Reason.SLOW_RATE_INCREASED)
        or position.reason is None
    ):
        return Reason.ROLLED_BACK
    return position.reason


def _on_trial(world: World, run: Run) -> tuple[State, str, conditions.Work]:
    canary = run.canary
    assert canary is not None
    if isinstance(run.action, steps.Pause):
        return State("Ready", "False", run.action.reason, run.action.message), "Paused", "Reconciling"
    if isinstance(run.action, steps.Wait):
        reason, said = run.action.reason, run.action.message
    else:
        reason, said = Reason.ROLLOUT_IN_PROGRESS, f"{canary.name} is on trial."
    if run.stable is None:
        phase = "Pending" if world.deployment.status.phase in (None, "Pending") else "Progressing"
        return State("Ready", "False", reason, said), phase, "Reconciling"
    return State("Ready", "False", reason, said), "Progressing", "Reconciling"


# --- the sentence ---


def _summary(world: World, desired: Arm | Waiting, run: Run, ready: State) -> str:
    serving = f"Serving {run.stable.version}. " if run.stable is not None else ""
    position = run.trial.position if run.trial is not None else None
    if run.canary is not None and position is not None:
        if position.weight and isinstance(run.action, steps.Wait) and run.verdicts:
            return _trial_summary(world, run, run.canary, position)
        return f"{serving}{run.canary.version}: {ready.message}"
    if ready.status == "True" and run.stable is not None:
        return f"Serving {run.stable.version} at {_host(world)}."
    rejected = position is not None and position.rejected and ready.status == "False"
    if rejected and position is not None and isinstance(desired, Arm) and desired.name == position.revision:
        return f"{serving}{position.message.rstrip('.')}. {_way_on(world)}"
    return f"{serving}{ready.message}"


def _trial_summary(world: World, run: Run, canary: Arm, position: plan.Position) -> str:
    way = trial.way(world.deployment, canary.version)
    rates = world.traffic.rates.get(f"{world.key}/{canary.name}")
    return sentences.on_trial(
        canary.version,
        position.weight,
        position.number(way),
        len(way.weights),
        run.verdicts,
        _margins(world),
        rates.requests_per_s if rates is not None else None,
    )


def _way_on(world: World) -> str:
    spec, name = world.deployment.spec, world.deployment.metadata.name
    follow = (
        f"Point {spec.model_ref.alias} elsewhere" if spec.model_ref is not None else "Name another version"
    )
    relax = ", relax slo.latency" if spec.slo is not None and spec.slo.latency is not None else ""
    return f"{follow}{relax}, or: kubectl slipway retry {name}."


def _host(world: World) -> str:
    metadata = world.deployment.metadata
    return f"{metadata.name}.{metadata.namespace}"


# --- figures ---


def _metrics(world: World, run: Run, old: Mapping[str, float]) -> dict[str, float]:
    """All arms, last minute; as before where nothing moved notably."""
    rates = [r for a in run.arms if (r := world.traffic.rates.get(f"{world.key}/{a.name}")) is not None]
    if not rates:
        return {"requests_per_s": 0.0} if old else {}
    counters = sum((rate.counters for rate in rates), Counters())
    found = {
        "requests_per_s": sum(rate.requests_per_s for rate in rates),
        "error_rate": counters.bad / counters.total if counters.total else 0.0,
    }
    for percent in (50, 99):
        value = counters.percentile(percent)
        if value is not None:
            found[f"latency_p{percent}_ms"] = value
    return _moved(old, {name: float(f"{value:.3g}") for name, value in found.items()})


def _moved(old: Mapping[str, float], new: Mapping[str, float]) -> dict[str, float]:
    """The new figures if any moved notably, else the old ones."""
    same = old.keys() == new.keys() and all(
        abs(new[name] - old[name]) <= NOTABLE * max(abs(new[name]), abs(old[name])) for name in new
    )
    return dict(old if same else new)


def _observed(world: World, run: Run, arm: Arm) -> float | None:
    """Share of requests seen, in percent; the one in status while it is near."""
    shares = world.traffic.shares(world.key)
    if arm.name not in shares:
        return None
    seen = round(shares[arm.name], 1)
    for before in world.deployment.status.revisions:
        if before.name == arm.name and before.observed_weight is not None:
            same_weight = before.weight == run.weights[arm.name]
            if same_weight and abs(before.observed_weight - seen) < NOTABLE_SHARE:
                return before.observed_weight
    return seen


def _revisions(world: World, run: Run, sized: Sizes) -> list[RevisionStatus]:
    return [
        RevisionStatus(
            name=arm.name,
            role="Stable" if arm is run.stable else "Canary",
            model_version_ref=ObjectRef(name=arm.version),
            weight=run.weights[arm.name],
            acknowledged_weight=world.traffic.acked.get(f"{world.key}/{arm.name}"),
            observed_weight=_observed(world, run, arm),
            replicas=sized.replicas[arm.name],
            ready_replicas=arm.ready,
        )
        for arm in run.arms
    ]


def _autoscaling(world: World, sized: Sizes, stable: Arm | None) -> AutoscalingStatus | None:
    scale, old = sized.scale, world.deployment.status.autoscaling
    if scale is None or stable is None:
        return None
    return AutoscalingStatus(
        current_replicas=stable.ready,
        desired_replicas=scale.desired,
        last_scale_time=sized.scaling.last_scale or (old.last_scale_time if old is not None else None),
        metrics=_moved(old.metrics if old is not None else {}, scale.metrics),
        message=_settled(world, sized),
    )


# --- the rollout ---


def _rollout(world: World, run: Run) -> RolloutStatus | None:
    if run.trial is None:
        return world.deployment.status.rollout
    position = run.trial.position
    arm = world.arms.get(position.revision) or run.canary
    way = trial.way(world.deployment, arm.version if arm is not None else position.revision)
    verdict = {"Promoted": "Pass", "RolledBack": "Fail"}.get(position.outcome or "", "Continue")
    if position.outcome == "RolledBack" and position.reason is Reason.INCONCLUSIVE:
        verdict = "Inconclusive"
    return RolloutStatus(
        revision=position.revision,
        step=min(position.number(way), len(way.weights)) if position.weight or position.records else 0,
        total_steps=len(way.weights),
        verdict=verdict,
        reason=position.reason.value if position.reason is not None else None,
        start_time=position.started,
        completion_time=position.completed,
        steps=_steps(world, run, run.trial, way),
    )


def _steps(world: World, run: Run, kept: Trial, way: plan.Plan) -> list[StepStatus]:
    """Weights that are done with keep the figures they ended with; the present one gets the newest."""
    position = kept.position
    known = _known_steps(world, position)
    found = []
    judged = run.judged.position if run.judged is not None else position
    for record in position.records:
        fresh = (
            record.weight == judged.weight and run.verdicts and len(position.records) > len(judged.records)
        )
        metrics = _results(world, run.verdicts) if fresh else known.get(record.weight, [])
        found.append(
            StepStatus(
                set_weight=record.weight,
                verdict=record.verdict,
                start_time=record.started,
                completion_time=record.completed,
                metrics=metrics,
            )
        )
    # The weight under trial, or the one at which the trial ended.
    weight = judged.weight if position.outcome else position.weight
    done = {record.weight for record in position.records}
    if weight and weight not in done and weight < 100:
        since = position.evidence_since
        deadline = since + timedelta(seconds=way.step_deadline) if since is not None else None
        fresh = run.judged is not None and judged.evidence_since == since and run.verdicts
        results = (
            _results(world, run.verdicts) if fresh else known.get(weight, []) if position.outcome else []
        )
        found.append(
            StepStatus(
                set_weight=weight,
                verdict=_step_verdict(position, results),
                start_time=since,
                completion_time=position.completed,
                deadline_time=deadline if position.completed is None else None,
                metrics=results,
            )
        )
    elif position.outcome and not done:
        found = list(_old_steps(world, position))
    paused = way.steps[position.step] if position.step < len(way.steps) else None
    if isinstance(paused, plan.Hold) and not position.outcome:
        length = duration(paused.duration) if paused.duration is not None else None
        found.append(StepStatus(pause=Pause(duration=length), verdict="Continue", start_time=position.since))
    return found


def _step_verdict(position: plan.Position, results: list[MetricResult]) -> str:
    if position.outcome == "RolledBack":
        return "Inconclusive" if position.reason is Reason.INCONCLUSIVE else "Fail"
    if not results:
        return "Continue"
    words = [result.verdict for result in results]
    return "Pass" if all(word == "Pass" for word in words) else "Fail" if "Fail" in words else "Continue"


def _old_steps(world: World, position: plan.Position) -> list[StepStatus]:
    before = world.deployment.status.rollout
    same = (
        before is not None and before.revision == position.revision and before.start_time == position.started
    )
    return list(before.steps) if same and before is not None else []


def _known_steps(world: World, position: plan.Position) -> dict[int, list[MetricResult]]:
    return {s.set_weight: s.metrics for s in _old_steps(world, position) if s.set_weight is not None}


def _margins(world: World) -> dict[str, float]:
    """maxIncrease by metric."""
    settings = world.deployment.spec.analysis
    return {metric.name: metric.max_increase for metric in settings.metrics} if settings is not None else {}


def _results(world: World, verdicts: Mapping[str, Verdict]) -> list[MetricResult]:
    margins = _margins(world)
    settings = world.deployment.spec.analysis
    margins = (
        {metric.name: metric.max_increase for metric in settings.metrics} if settings is not None else {}
    )
    return [
        MetricResult(
            name=name,
            max_increase=margins[name],
            verdict=verdict.verdict,
            canary=ArmCounts(
                total=verdict.canary.total, bad=verdict.canary.bad, rate=round(verdict.canary.rate, 4)
            ),
            stable=ArmCounts(
                total=verdict.stable.total, bad=verdict.stable.bad, rate=round(verdict.stable.rate, 4)
            ),
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


def _history(world: World, run: Run) -> list[HistoryEntry]:
    """Newest first. An entry is known by its revision and start, so it is written once however often we look."""
    entries = list(world.deployment.status.history)
    position = run.trial.position if run.trial is not None else None
    if position is None or not position.outcome or position.completed is None or position.reason is None:
        return entries
    start = position.started.replace(microsecond=0)
    if any(entry.revision == position.revision and entry.start_time == start for entry in entries):
        return entries
    arm = world.arms.get(position.revision) or run.ended
    if arm is None:
        return entries
    outcome = {Reason.SUPERSEDED: "Superseded", Reason.ABORTED: "Aborted"}.get(
        position.reason, position.outcome
    )
    entry = HistoryEntry(
        revision=position.revision,
        model_version_ref=ObjectRef(name=arm.version),
        outcome=outcome,
        reason=position.reason.value,
        start_time=position.started,
        completion_time=position.completed,
    )
    return [entry, *entries][:HISTORY]
