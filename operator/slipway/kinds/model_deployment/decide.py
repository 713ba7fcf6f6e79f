"""ModelDeployment: which revision serves, which is on trial, and what follows from it. Pure.

    Pending --first revision answers its examples--> Healthy
    Healthy --another revision is wanted--> Progressing (Paused) --promoted--> Healthy
                                                \\--rolled back--> Degraded --another wanted, or retry--> Progressing

The trial itself (steps, evidence, verdicts) is in trial.py and rollout/; how many replicas in sizes.py; what is
said about it in report.py. Here the pass is put together: what is wanted, one move, the children, the status.
"""

from dataclasses import replace

from slipway import manifests
from slipway.api.reasons import Reason
from slipway.api.units import seconds
from slipway.contract.base import Signature
from slipway.contract.config import Owner
from slipway.decision import Decision, Event, Manifest, Target
from slipway.kinds.model_deployment import objects, report, shown, sizes, trial, triton
from slipway.kinds.model_deployment.world import PIN, Arm, Run, Trial, Waiting, Wanted, World
from slipway.rollout import plan, steps

HISTORY = 10
"""Revisions kept to go back to, beside those that run."""
DRAIN_SECONDS = 5.0
"""Between the routers' taking a revision out and its end: requests under way are answered."""
SCALING_SECONDS = 5.0
"""How often a deployment is looked at whose replicas follow the load."""
STEADY_SECONDS = 15.0
"""Any other one at rest: its figures are kept fresh."""


def decide(world: World) -> Decision:
    deployment = world.deployment
    if deployment.metadata.deletion_timestamp is not None:
        return Decision()
    world = trial.with_outcome(world)
    owner = owner_of(world)
    desired = _desired(world, owner)
    run = _run(world, desired)
    sized = sizes.of(world, run)
    retired = _retired(world, run)
    status = report.status(world, desired, run, sized)
    return Decision(
        apply=tuple(_children(world, owner, run, sized)),
        delete=tuple(retired),
        status=status.dump(),
        events=tuple(_events(world, run)),
        memory=sized.scaling,
        again_in=_again_in(world, run, waits_for_drain=bool(_leftovers(world, run))),
    )


def owner_of(world: World) -> Owner:
    metadata = world.deployment.metadata
    return Owner(kind="ModelDeployment", namespace=metadata.namespace, name=metadata.name, uid=metadata.uid)


# --- what is wanted ---


def _desired(world: World, owner: Owner) -> Arm | Waiting:
    """The revision that the spec means now; it may not exist yet."""
    pinned = world.deployment.metadata.annotations.get(PIN)
    if pinned is not None:
        if pinned in world.arms:
            return world.arms[pinned]
        there = ", ".join(sorted(world.arms)) or "none"
        return Waiting(
            Reason.INVALID_SPEC,
            f"Annotation {PIN} names {pinned}, which is no revision of this deployment; there are: {there}.",
            stalled=True,
        )
    if isinstance(world.wanted, Waiting):
        return world.wanted
    try:
        config = triton.render(
            owner.name, Signature.model_validate(world.wanted.signature), triton_config(world)
        )
    except triton.NotServable as error:
        return Waiting(Reason.INVALID_SPEC, str(error), stalled=True)
    found = _arm(world, owner, world.wanted, config)
    if (said := _signature_change(world.stable, found)) is not None:
        return Waiting(Reason.SIGNATURE_CHANGED, said, stalled=True)
    return found


def _arm(world: World, owner: Owner, wanted: Wanted, config: str) -> Arm:
    spec = world.deployment.spec
    resources, pod = spec.resources.dump(), spec.pod.dump()
    identity = {"model": wanted.model.digest, "config": config, "resources": resources, "pod": pod}
    for image in _images(world):
        name = objects.revision_name(owner.name, {**identity, "image": image})
        if name in world.arms:
            return world.arms[name]
    name = objects.revision_name(owner.name, {**identity, "image": world.platform.triton_image})
    revision = objects.render(
        owner,
        name,
        wanted.model,
        wanted.signature,
        config,
        platform=world.platform,
        resources=resources,
        pod=pod,
    )
    return Arm(revision=revision, number=max((arm.number for arm in world.arms.values()), default=0) + 1)


def _images(world: World) -> list[str]:
    """Runtime images in use, what serves first: a newer one of the installation is taken with the next change
    of the revision, not by rolling out everything anew."""
    known = sorted(world.arms.values(), key=lambda arm: arm.number, reverse=True)
    first = [world.stable] if world.stable is not None else []
    return list(dict.fromkeys(objects.image(arm.revision) for arm in (*first, *known)))


def triton_config(world: World) -> triton.TritonConfig:
    spec = world.deployment.spec
    delay = spec.triton.dynamic_batching.max_queue_delay
    return triton.TritonConfig(
        max_batch_size=spec.triton.max_batch_size,
        dynamic_batching=True,
        max_queue_delay_us=round(seconds(delay) * 1e6) if delay is not None else None,
        instance_groups=tuple(
            triton.InstanceGroup(group.count, group.kind) for group in spec.triton.instance_group
        ),
        threads=manifests.threads_of(spec.resources.dump()),
    )


def _signature_change(stable: Arm | None, arm: Arm) -> str | None:
    """Clients know the tensors of what serves: others would break them all at once."""
    if stable is None:
        return None
    before, after = (_tensors(revision.signature) for revision in (stable.revision, arm.revision))
    if before == after:
        return None
    return (
        f"{arm.version} takes and gives {_said(after)}; {stable.version}, which serves, {_said(before)}. "
        "Serve it by a ModelDeployment of its own."
    )


def _tensors(signature: Manifest) -> list[tuple[str, str, str]]:
    return [
        (tensor["name"], tensor["datatype"], str(list(tensor["shape"])))
        for side in ("inputs", "outputs")
        for tensor in signature[side]
    ]


def _said(tensors: list[tuple[str, str, str]]) -> str:
    return ", ".join(" ".join(tensor) for tensor in tensors)


# --- one move ---


def _run(world: World, desired: Arm | Waiting) -> Run:
    stable, kept = world.stable, trial.known(world)
    target = desired if isinstance(desired, Arm) else None
    if kept is not None and not kept.position.outcome:
        canary = _canary(world, kept, target)
        if canary is not None:
            # While nobody knows what is wanted, what is under way goes on.
            return _moved(world, kept, canary, stable, target.name if target else canary.name)
        kept = None  # its record was removed by hand: there is nothing to go on with
    resting = Run(stable=stable, trial=kept)
    if target is None or (stable is not None and target.name == stable.name):
        return resting
    if not shown.is_told(world, resting):
        return resting
    if kept is not None and kept.position.rejected and kept.position.revision == target.name:
        return _moved(world, kept, target, stable, target.name)
    return Run(stable=stable, canary=target, trial=trial.begin(world, target.name), begun=True)


def _canary(world: World, kept: Trial, target: Arm | None) -> Arm | None:
    """The revision on trial, by its record or as it is wanted still."""
    name = kept.position.revision
    return world.arms.get(name) or (target if target is not None and target.name == name else None)


def _moved(world: World, kept: Trial, canary: Arm, stable: Arm | None, desired: str) -> Run:
    deployment = world.deployment
    way = trial.way(deployment, canary.version, kept)
    gathered = trial.gather(world, kept, canary.name, stable.name if stable else None)
    verdicts = trial.verdicts(deployment, gathered, len(way.weights))
    facts = _facts(world, gathered, way, canary, stable, desired)
    facts = replace(facts, verdicts=verdicts, sample_ratio_mismatch=trial.mismatch(gathered))
    moved, action = trial.move(world, gathered, facts, way)
    position = moved.position
    under_way = trial.at_weight(way, position) and position.evidence_since == gathered.position.evidence_since
    return Run(
        stable=canary if position.outcome == "Promoted" else stable,
        canary=None if position.outcome else canary,
        trial=moved,
        begun=position.started != kept.position.started,
        action=action,
        verdicts=verdicts if under_way else {},
        mismatch=facts.sample_ratio_mismatch if under_way else None,
        ended=canary if position.outcome and not kept.position.outcome else None,
    )


def _facts(
    world: World, kept: Trial, way: plan.Plan, canary: Arm, stable: Arm | None, desired: str
) -> steps.Facts:
    position, traffic = kept.position, world.traffic
    needed = sizes.canary_replicas(
        world, stable, plan.next_weight(way, position, stable is not None), canary.replicas
    )
    said = f"{canary.ready} of {needed} replicas of {canary.name} are ready."
    test = traffic.self_tests.get(f"{world.key}/{canary.name}")
    if test is not None and not test.passed and test.time < position.started:
        test = None  # of an earlier try; right answers stay right, since a revision never changes
    rollout = world.deployment.spec.rollout
    return steps.Facts(
        now=world.now,
        desired=desired,
        has_stable=stable is not None,
        capacity_ready=canary.ready >= needed,
        capacity_message=f"{said} {canary.trouble}" if canary.trouble else said,
        self_test=test.passed if test is not None else None,
        self_test_message=test.message if test is not None else "",
        acknowledged=_acknowledged(world, {canary.name: position.weight, **_rest(stable, position.weight)}),
        act=trial.new_act(world, kept),
        paused=rollout is not None and rollout.paused,
    )


def _rest(stable: Arm | None, weight: int) -> dict[str, int]:
    return {stable.name: 100 - weight} if stable is not None else {}


def _acknowledged(world: World, weights: dict[str, int]) -> bool:
    """Every ready router serves these weights, and there is a router."""
    acked = world.traffic.acked
    return bool(world.traffic.routers) and all(
        acked.get(f"{world.key}/{name}") == weight for name, weight in weights.items()
    )


# --- what there is to be ---


def _children(world: World, owner: Owner, run: Run, sized: sizes.Sizes) -> list[Manifest]:
    rollout = world.deployment.spec.rollout
    deadline = round(seconds(rollout.progress_deadline)) if rollout is not None else 600
    found: list[Manifest] = [
        objects.service(owner, world.platform),
        objects.network_policy(owner, world.platform),
    ]
    told = run.ended
    if run.trial is not None:
        # First of all: it is what a pass that ends between two writes is gone on from.
        found.append(objects.trial(owner, run.trial.to_json()))
        told = told or world.arms.get(run.trial.position.revision)
    if told is not None and told.name not in {arm.name for arm in run.arms}:
        found.append(_record(owner, run, told))
    for arm in run.arms:
        found.append(_record(owner, run, arm))
        found.append(objects.config_map(owner, arm.revision))
        found.append(objects.deployment(owner, arm.revision, sized.replicas[arm.name], deadline))
        found.append(objects.disruption_budget(owner, arm.revision))
    return found


def _record(owner: Owner, run: Run, arm: Arm) -> Manifest:
    own = run.trial is not None and run.trial.position.revision == arm.name
    outcome = trial.outcome_of(run.trial.position) if own and run.trial is not None else None
    return objects.controller_revision(owner, arm.revision, arm.number, outcome or arm.outcome)


def _leftovers(world: World, run: Run) -> list[Arm]:
    """Revisions that run and have no part any more."""
    kept = {arm.name for arm in run.arms}
    return [arm for arm in world.arms.values() if arm.children and arm.name not in kept]


def _retired(world: World, run: Run) -> list[Target]:
    """What may go now: capacity once the routers have sent no more to it for a while, records beyond the history."""
    gone = [child for arm in _leftovers(world, run) for child in arm.children] if _drained(world, run) else []
    kept = {arm.name for arm in run.arms}
    if run.trial is not None:
        kept.add(run.trial.position.revision)
    idle = [arm for arm in world.arms.values() if arm.name not in kept and not arm.children and arm.record]
    idle.sort(key=lambda arm: arm.outcome.completed if arm.outcome is not None else world.now, reverse=True)
    return gone + [arm.record for arm in idle[HISTORY:] if arm.record is not None]


def _drained(world: World, run: Run) -> bool:
    """Every router has had the weights of now for long enough."""
    if run.ended is not None:
        return False
    if run.stable is None:
        return True  # nothing ever had a weight
    if not _acknowledged(world, run.weights):
        return False
    since = world.traffic.acked_at.get(world.key)
    return since is not None and (world.now - since).total_seconds() >= DRAIN_SECONDS


def _again_in(world: World, run: Run, *, waits_for_drain: bool) -> float:
    spec, action = world.deployment.spec, run.action
    if run.begun or run.ended is not None or waits_for_drain:
        return 1.0
    if run.canary is None:
        scales = spec.autoscaling is not None and spec.autoscaling.scaler == "Slipway"
        return SCALING_SECONDS if scales else STEADY_SECONDS
    if not isinstance(action, steps.Wait | steps.Pause):
        return 1.0
    # Looks are as long as the interval; asking more often only shortens the wait for the end of one.
    look = max(1.0, seconds(spec.analysis.interval) / 5 if spec.analysis is not None else SCALING_SECONDS)
    return look if action.again_in is None else min(look, max(1.0, action.again_in))


def _events(world: World, run: Run) -> list[Event]:
    canary = run.canary
    if run.begun and canary is not None:
        return [Event("Normal", "RolloutStarted", f"{canary.version} is on trial as {canary.name}.")]
    match run.action:
        case steps.Shift(weight) if canary is not None:
            return [Event("Normal", "WeightShifted", f"{canary.version} gets {weight} %.")]
        case steps.Promote(_, message):
            return [Event("Normal", "Promoted", message)]
        case steps.Rollback(reason, message):
            asked_for = reason in (Reason.SUPERSEDED, Reason.ABORTED)
            return [Event("Normal" if asked_for else "Warning", "RolledBack", message)]
        case steps.Pause(reason, message) if world.deployment.status.phase != "Paused":
            return [Event("Warning" if reason is Reason.INCONCLUSIVE else "Normal", "RolloutPaused", message)]
    return []
