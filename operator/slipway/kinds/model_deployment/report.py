"""The status of a ModelDeployment: what serves, what is on trial with which evidence, and what to do. Pure."""

from slipway import conditions
from slipway.api.meta import NamedDigest, ObjectRef
from slipway.api.model_deployment import DeploymentInputs, ModelDeploymentStatus, RevisionStatus, StepStatus
from slipway.api.reasons import Reason
from slipway.conditions import State
from slipway.kinds.model_deployment import figures, objects, shown, states, trial
from slipway.kinds.model_deployment.sizes import Sizes
from slipway.kinds.model_deployment.world import Arm, Run, Trial, Waiting, World
from slipway.rollout import plan, sentences, steps


def status(world: World, desired: Arm | Waiting, run: Run, sized: Sizes) -> ModelDeploymentStatus:
    deployment, stable = world.deployment, run.stable
    namespace, name = deployment.metadata.namespace, deployment.metadata.name
    host = f"{name}.{namespace}.svc.{world.platform.cluster_domain}"
    standing = states.standing(world, desired, run)
    autoscaling = figures.autoscaling(world, sized, stable)
    way = trial.way(deployment, _subject(world, run), run.trial)
    return ModelDeploymentStatus(
        observed_generation=deployment.metadata.generation,
        phase=standing.phase,
        summary=_summary(world, desired, run, way, standing.ready),
        result=f"serves {stable.version}" if stable is not None else "serves nothing yet",
        url=f"http://{host}",
        grpc_url=f"{host}:{objects.GRPC_PORT}",
        replicas=sized.replicas[stable.name] if stable is not None else 0,
        selector=f"slipway.dev/revision={stable.name if stable is not None else 'none'}",
        inputs=_inputs(desired) or deployment.status.inputs,
        metrics=figures.traffic(world),
        revisions=[_revision(world, run, sized, arm) for arm in run.arms],
        rollout=shown.rollout(world, run, way),
        autoscaling=autoscaling,
        history=shown.history(world, run),
        conditions=conditions.of(
            deployment,
            world.now,
            [
                states.inputs_ready(world, desired),
                states.available(run, sized),
                states.traffic_verified(world, run),
                states.scaling_active(world, sized, autoscaling),
                standing.ready,
            ],
            standing.work,
        ),
    )


def _subject(world: World, run: Run) -> str:
    """The version on trial, now or last."""
    if run.trial is None:
        return ""
    arm = run.canary or world.arms.get(run.trial.position.revision)
    return arm.version if arm is not None else run.trial.position.revision


def _inputs(desired: Arm | Waiting) -> DeploymentInputs | None:
    if isinstance(desired, Waiting):
        return None
    model = desired.revision.model
    return DeploymentInputs(model_version=NamedDigest(name=model.name, digest=model.digest))


def _revision(world: World, run: Run, sized: Sizes, arm: Arm) -> RevisionStatus:
    return RevisionStatus(
        name=arm.name,
        role="Stable" if arm is run.stable else "Canary",
        model_version_ref=ObjectRef(name=arm.version),
        weight=run.weights[arm.name],
        acknowledged_weight=world.acknowledged(arm),
        observed_weight=figures.share(world, run, arm),
        replicas=sized.replicas[arm.name],
        ready_replicas=arm.ready,
    )


# --- the sentence ---


def _summary(world: World, desired: Arm | Waiting, run: Run, way: plan.Plan, ready: State) -> str:
    serving = f"Serving {run.stable.version}. " if run.stable is not None else ""
    if run.canary is not None and run.trial is not None:
        if run.verdicts and isinstance(run.action, steps.Wait):
            return _on_trial(world, run, way, run.canary, run.trial.position)
        return f"{serving}{run.canary.version}: {ready.message}"
    if ready.status == "True" and run.stable is not None:
        metadata = world.deployment.metadata
        return f"Serving {run.stable.version} at {metadata.name}.{metadata.namespace}."
    if run.trial is not None and isinstance(desired, Arm) and _was_rejected(run, run.trial, desired):
        return _rejected(world, run, run.trial, desired)
    return f"{serving}{ready.message}"


def _on_trial(world: World, run: Run, way: plan.Plan, canary: Arm, position: plan.Position) -> str:
    # From the settled figure: what is at rest isn't said anew.
    per_second = figures.traffic(world).get("requests_per_s", 0.0) * position.weight / 100
    return sentences.on_trial(
        canary.version,
        position.weight,
        position.number(way),
        len(way.weights),
        run.verdicts,
        shown.margins_of(world.deployment),
        per_second or None,
    )


def _was_rejected(run: Run, kept: Trial, desired: Arm) -> bool:
    serves = run.stable is not None and run.stable.name == desired.name
    return kept.position.rejected and kept.position.revision == desired.name and not serves


def _rejected(world: World, run: Run, kept: Trial, desired: Arm) -> str:
    """With the figures, where figures decided."""
    way_on = _way_on(world, kept.position)
    failed = _failed_step(kept)
    if failed is not None and run.stable is not None:
        metric = next(metric for metric in failed.metrics if metric.verdict == "Fail")
        if metric.canary is not None and metric.stable is not None:
            slo = world.deployment.spec.slo
            return sentences.rolled_back_summary(
                run.stable.version,
                desired.version,
                failed.set_weight or 0,
                metric.name,
                canary=metric.canary.rate or 0.0,
                stable=metric.stable.rate or 0.0,
                threshold=slo.latency.threshold if slo is not None and slo.latency is not None else "the SLO",
                way_on=way_on,
            )
    serving = f"Serving {run.stable.version}. " if run.stable is not None else ""
    return f"{serving}{kept.position.message.rstrip('.')}. {way_on}"


def _failed_step(kept: Trial) -> StepStatus | None:
    if kept.position.reason not in steps.FAILURES.values():
        return None
    return next((s for s in kept.steps if any(metric.verdict == "Fail" for metric in s.metrics)), None)


def _way_on(world: World, position: plan.Position) -> str:
    spec, name = world.deployment.spec, world.deployment.metadata.name
    follow = (
        f"Point {spec.model_ref.alias} elsewhere" if spec.model_ref is not None else "Name another version"
    )
    relax = ", relax slo.latency" if position.reason is Reason.SLOW_RATE_INCREASED else ""
    return f"{follow}{relax}, or: kubectl slipway retry {name}."
