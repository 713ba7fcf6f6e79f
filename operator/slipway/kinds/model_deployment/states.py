"""The conditions of a ModelDeployment, and the phase that goes with them. Pure."""

from typing import NamedTuple

from slipway.api.model_deployment import AutoscalingStatus
from slipway.api.reasons import Reason
from slipway.conditions import State, Work
from slipway.kinds.model_deployment import figures
from slipway.kinds.model_deployment.sizes import Sizes
from slipway.kinds.model_deployment.world import PIN, Arm, Run, Waiting, World
from slipway.rollout import plan, steps
from slipway.router.route import NOBODY


class Standing(NamedTuple):
    """Ready, the phase, and what kstatus reads."""

    ready: State
    phase: str
    work: Work


def inputs_ready(world: World, desired: Arm | Waiting) -> State:
    if isinstance(desired, Waiting):
        return State("InputsReady", "False", desired.reason, desired.message)
    pin = world.deployment.metadata.annotations.get(PIN)
    if pin is not None:
        said = f"Pinned to {pin}, which serves {desired.version}."
        return State("InputsReady", "True", Reason.PINNED, said)
    meaning = "" if isinstance(world.wanted, Waiting) else world.wanted.meaning
    return State("InputsReady", "True", Reason.RESOLVED, meaning)


def available(run: Run, sized: Sizes) -> State:
    arms, name = run.arms, "Available"
    if run.stable is None or not run.stable.ready:
        trouble = next((arm.trouble for arm in arms if arm.trouble), None)
        if trouble is not None:
            return State(name, "False", Reason.REPLICAS_UNHEALTHY, trouble)
        if arms:
            return State(name, "False", Reason.STARTING_REPLICAS, f"Starting {arms[0].name}.")
        return State(name, "False", Reason.NO_REPLICAS, "There is nothing to serve yet.")
    wanted = sum(sized.replicas[arm.name] for arm in arms)
    ready = sum(min(arm.ready, sized.replicas[arm.name]) for arm in arms)
    return State(name, "True", Reason.SERVING, f"{ready} of {wanted} replicas answer.")


def traffic_verified(world: World, run: Run) -> State:
    """Whether traffic goes where it is asked to go: by the routers' word and by what was seen."""
    traffic, name = world.traffic, "TrafficVerified"
    if traffic.nacks:
        nack = traffic.nacks[0]
        return State(name, "False", Reason.ROUTER_REJECTED, f"Router {nack.router}: {nack.message}")
    if not traffic.routers:
        return State(name, "Unknown", Reason.ROUTER_UNAVAILABLE, "No router is connected.")
    if conflicts := traffic.conflicts.get(world.key):
        host, holder = conflicts[0].host, conflicts[0].holder
        if holder == NOBODY:
            namespace = world.deployment.metadata.namespace
            said = f"{host} is left out: the chart's router.hosts doesn't let namespace {namespace} have it."
            return State(name, "False", Reason.HOST_NOT_ALLOWED, said)
        said = f"{host} is held by ModelDeployment {holder}; it is left out here."
        return State(name, "False", Reason.HOST_CONFLICT, said)
    if run.stable is None:
        return State(name, "Unknown", Reason.NO_TRAFFIC, "Nothing serves yet.")
    watched = run.canary or run.stable
    asked = run.weights[watched.name]
    if world.acknowledged(watched) != asked:
        return State(name, "False", Reason.NOT_ACKNOWLEDGED, f"Not every router has taken {asked} % yet.")
    seen = figures.share(world, run, watched)
    if seen is None and run.canary is not None and asked == 0:
        return State(name, "True", Reason.SHARES_MATCH, "0 % asked, none seen in the last minute.")
    if seen is None:
        return State(name, "Unknown", Reason.NO_TRAFFIC, "No requests in the last minute.")
    said = f"{asked} % asked, {seen:g} % seen in the last minute."
    if run.mismatch is not None:
        return State(name, "False", Reason.SHARES_DIFFER, said)
    return State(name, "True", Reason.SHARES_MATCH, said)


def scaling_active(world: World, sized: Sizes, told: AutoscalingStatus | None) -> State:
    settings, name = world.deployment.spec.autoscaling, "ScalingActive"
    if settings is None:
        return State(name, "False", Reason.FIXED_REPLICAS, "The spec states the number of replicas.")
    if settings.scaler == "External":
        return State(name, "True", Reason.EXTERNAL_SCALER, "An HPA or KEDA writes spec.replicas.")
    if sized.scale is None or told is None:
        return State(name, "Unknown", Reason.NO_METRICS, "Nothing serves yet.")
    known = sized.scale.reason is not Reason.NO_METRICS
    return State(name, "True" if known else "Unknown", sized.scale.reason, told.message or "")


def standing(world: World, desired: Arm | Waiting, run: Run) -> Standing:
    if run.canary is not None:
        return _on_trial(world, run, run.canary)
    if isinstance(desired, Waiting):
        phase = "Degraded" if desired.stalled else "Pending" if run.stable is None else "Progressing"
        return _not_ready(
            desired.reason, desired.message, phase, "Stalled" if desired.stalled else "Reconciling"
        )
    stable = run.stable
    if stable is None or stable.name != desired.name:
        position = run.trial.position if run.trial is not None else None
        if position is not None and position.revision == desired.name and position.rejected:
            return _not_ready(_rejection(position), position.message, "Degraded", "Stalled")
        return _not_ready(
            Reason.ROLLOUT_IN_PROGRESS, f"{desired.name} is wanted.", "Progressing", "Reconciling"
        )
    if not stable.ready:
        reason = Reason.REPLICAS_UNHEALTHY if stable.trouble else Reason.NO_REPLICAS
        said = stable.trouble or f"No replica of {stable.name} is ready."
        return _not_ready(reason, said, "Degraded", "Reconciling")
    if world.acknowledged(stable) != 100:
        said = "Not every router has taken 100 % yet."
        return _not_ready(Reason.NOT_ACKNOWLEDGED, said, "Progressing", "Reconciling")
    said = f"{stable.version} answers all requests."
    return Standing(State("Ready", "True", Reason.UP_TO_DATE, said), "Healthy", "Done")


def _on_trial(world: World, run: Run, canary: Arm) -> Standing:
    action = run.action
    if isinstance(action, steps.Pause):
        return _not_ready(action.reason, action.message, "Paused", "Reconciling")
    first = run.stable is None and world.deployment.status.phase in (None, "Pending")
    phase = "Pending" if first else "Progressing"
    if isinstance(action, steps.Wait):
        return _not_ready(action.reason, action.message, phase, "Reconciling")
    said = f"{canary.name} is on trial."
    return _not_ready(Reason.ROLLOUT_IN_PROGRESS, said, phase, "Reconciling")


def _not_ready(reason: Reason, message: str, phase: str, work: Work) -> Standing:
    return Standing(State("Ready", "False", reason, message), phase, work)


def _rejection(position: plan.Position) -> Reason:
    """One word for rollbacks by figures; those of another cause keep theirs."""
    by_figures = position.reason in steps.FAILURES.values()
    return Reason.ROLLED_BACK if by_figures or position.reason is None else position.reason
