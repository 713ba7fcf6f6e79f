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
from slipway.api.units import rfc3339
from slipway.contract.base import Signature
from slipway.contract.config import Owner
from slipway.decision import Decision, Event, Manifest, Target
from slipway.kinds.model_deployment import objects, report, sizes, trial, triton
from slipway.kinds.model_deployment.world import Arm, Run, Trial, Waiting, Wanted, World
from slipway.rollout import plan, steps

PIN = "slipway.dev/pin"
HISTORY = 10
"""Revisions kept to go back to, beside those that run."""
DRAIN_SECONDS = 5.0
"""Between the routers' taking a revision out and its end: requests under way are answered."""
STEADY_SECONDS = 5.0
"""How often a deployment at rest is looked at: its replicas follow the load."""


def decide(world: World) -> Decision:
    deployment = world.deployment
    if deployment.metadata.deletion_timestamp is not None:
        return Decision()
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
    # A newer runtime image of the installation is taken with the next change, not by rolling everything anew.
    images = [world.platform.triton_image]
    if world.stable is not None:
        images.insert(0, objects.image(world.stable.revision))
    for image in images:
        name = objects.revision_name(owner.name, {**identity, "image": image})
        if name in world.arms:
            return world.arms[name]
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


def triton_config(world: World) -> triton.TritonConfig:
    spec = world.deployment.spec
    delay = spec.triton.dynamic_batching.max_queue_delay
    return triton.TritonConfig(
        max_batch_size=spec.triton.max_batch_size,
        dynamic_batching=True,
        max_queue_delay_us=round(sizes.seconds(delay) * 1e6) if delay is not None else None,
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
    kept, stable = world.trial, world.stable
    if kept is not None and stable is not None and kept.position.revision == stable.name:
        # The record says promoted, the ConfigMap hasn't heard of it: a pass ended between the two.
        kept = _caught_up(world, kept, stable)
    target = _target(desired, kept, stable)
    if kept is not None and not kept.position.outcome:
        canary = world.arms.get(kept.position.revision)
        if canary is None:
            # Its record was removed by hand; nothing runs of it any more that we could go on with.
            return Run(stable=stable)
        return _moved(world, kept, canary, stable, target.name if target else canary.name)
    if target is None or (stable is not None and target.name == stable.name):
        return Run(stable=stable, trial=kept)
    if kept is not None and kept.position.revision == target.name and kept.position.rejected:
        return _moved(world, kept, target, stable, target.name)
    if kept is None and (ended := _rejection_on_record(world, target)) is not None:
        return Run(stable=stable, trial=ended)
    return Run(stable=stable, canary=target, trial=trial.begin(world, target.name), begun=True)


def _target(desired: Arm | Waiting, kept: Trial | None, stable: Arm | None) -> Arm | None:
    """What to go for; without a known wish, what is under way or serves."""
    return desired if isinstance(desired, Arm) else None if kept and not kept.position.outcome else stable


def _caught_up(world: World, kept: Trial, stable: Arm) -> Trial:
    position = kept.position
    if (
        position.outcome == "Promoted"
        or stable.outcome_time is None
        or stable.outcome_time < position.started
    ):
        return kept
    reason = Reason.ALL_PASSED
    return replace(
        kept,
        position=replace(
            position,
            outcome="Promoted",
            reason=reason,
            weight=100,
            completed=stable.outcome_time,
            message=f"{stable.version} takes all traffic.",
        ),
    )


def _rejection_on_record(world: World, arm: Arm) -> Trial | None:
    """After a restore without ConfigMaps: what was rejected last stays so."""
    if arm.outcome != "RolledBack" or arm.outcome_time is None:
        return None
    if world.stable is None or (world.stable.outcome_time or world.now) > arm.outcome_time:
        return None
    position = plan.Position(
        revision=arm.name,
        started=arm.outcome_time,
        since=arm.outcome_time,
        outcome="RolledBack",
        reason=Reason.ROLLED_BACK,
        message=f"{arm.version} was rolled back ({arm.outcome_reason or 'before'}).",
        completed=arm.outcome_time,
    )
    return Trial(position=position, acts=trial.asked(world.deployment))


def _moved(world: World, kept: Trial, canary: Arm, stable: Arm | None, desired: str) -> Run:
    deployment = world.deployment
    way = trial.way(deployment, canary.version)
    gathered = trial.gather(world, kept, canary.name, stable.name if stable else None)
    verdicts = trial.verdicts(deployment, gathered, len(way.weights))
    facts = _facts(world, gathered, way, canary, stable, desired)
    facts = replace(facts, verdicts=verdicts, sample_ratio_mismatch=trial.mismatch(gathered))
    moved, action = trial.move(world, gathered, facts, way)
    outcome = moved.position.outcome
    return Run(
        stable=canary if outcome == "Promoted" else stable,
        canary=None if outcome else canary,
        trial=moved,
        action=action,
        verdicts=verdicts,
        judged=gathered,
        ended=canary if outcome and not kept.position.outcome else None,
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
    if test is not None and test.time < position.started:
        test = None  # of an earlier try
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
    deadline = round(sizes.seconds(rollout.progress_deadline)) if rollout is not None else 600
    found: list[Manifest] = [
        objects.service(owner, world.platform),
        objects.network_policy(owner, world.platform),
    ]
    if run.ended is not None:
        # The record first: from here on it is known which revision is stable, whatever else gets lost.
        found.append(_record(world, owner, run, run.ended))
    for arm in run.arms:
        if arm is not run.ended:
            found.append(_record(world, owner, run, arm))
        found.append(objects.config_map(owner, arm.revision))
        found.append(objects.deployment(owner, arm.revision, sized.replicas[arm.name], deadline))
        found.append(objects.disruption_budget(owner, arm.revision))
    if run.trial is not None:
        found.append(objects.trial(owner, run.trial.to_json()))
    return found


def _record(world: World, owner: Owner, run: Run, arm: Arm) -> Manifest:
    outcome, time, reason = arm.outcome, arm.outcome_time, arm.outcome_reason
    if run.ended is arm and run.trial is not None:
        position = run.trial.position
        outcome, time = position.outcome, position.completed
        reason = position.reason.value if position.reason is not None else None
    annotations = {
        objects.OUTCOME: outcome,
        objects.OUTCOME_TIME: rfc3339(time) if time is not None else None,
        objects.OUTCOME_REASON: reason,
    }
    known = {key: value for key, value in annotations.items() if value is not None}
    return objects.controller_revision(owner, arm.revision, arm.number, known)


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
    idle.sort(key=lambda arm: arm.outcome_time or world.now, reverse=True)
    return gone + [arm.record for arm in idle[HISTORY:] if arm.record is not None]


def _drained(world: World, run: Run) -> bool:
    """Every router has the weights of now, since long enough. Without any router nobody sends anything."""
    if run.ended is not None:
        return False
    if not world.traffic.routers and run.stable is None:
        return True
    weights = run.weights
    if not _acknowledged(world, weights):
        return False
    since = world.traffic.acked_at.get(world.key)
    return since is not None and (world.now - since).total_seconds() >= DRAIN_SECONDS


def _again_in(world: World, run: Run, *, waits_for_drain: bool) -> float:
    if run.begun or run.ended is not None or waits_for_drain:
        return 1.0
    action = run.action
    if run.canary is None or not isinstance(action, steps.Wait | steps.Pause):
        return STEADY_SECONDS if run.canary is None else 1.0
    settings = world.deployment.spec.analysis
    look = sizes.seconds(settings.interval) if settings is not None else STEADY_SECONDS
    return look if action.again_in is None else min(look, max(action.again_in, 0.2))


def _events(world: World, run: Run) -> list[Event]:
    if run.begun and run.canary is not None:
        return [Event("Normal", "RolloutStarted", f"{run.canary.version} is on trial as {run.canary.name}.")]
    match run.action:
        case steps.Shift(weight):
            return [
                Event(
                    "Normal", "WeightShifted", f"{run.canary.version if run.canary else ''} gets {weight} %."
                )
            ]
        case steps.Promote(_, message):
            return [Event("Normal", "Promoted", message)]
        case steps.Rollback(reason, message):
            kind = "Normal" if reason in (Reason.SUPERSEDED, Reason.ABORTED) else "Warning"
            return [Event(kind, "RolledBack", message)]  # type: ignore[arg-type]  # one of the two words
        case steps.Pause(reason, message) if world.deployment.status.phase != "Paused":
            return [Event("Warning" if reason is Reason.INCONCLUSIVE else "Normal", "RolloutPaused", message)]
    return []
