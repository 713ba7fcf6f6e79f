"""TrainingRun: one training, attempt by attempt, until a version is registered or the cause is known. Pure.

    Pending --inputs Ready--> Running --report, gates pass--> Succeeded
       |                       |  \\--report, gate missed----> Rejected   (registered all the same)
       |                       |---attempt failed, again-----> Running    (attempt + 1, from its checkpoint)
       |                       |---suspend------------------->  Suspended (and back)
       \\--version's name taken, deadline, failed for good---> Failed

Succeeded, Rejected and Failed are final. Registering is a step of its own: the version is created in one pass,
and the run ends in the pass that sees it.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from slipway import gates
from slipway.api import ModelVersion, Reason, TrainingRun
from slipway.api.meta import NamedDigest
from slipway.api.training_run import TrainingRunStatus
from slipway.api.units import seconds
from slipway.contract.config import DatasetInput
from slipway.contract.report import Progress, TrainReport
from slipway.decision import Decision, Event, Patch, Target
from slipway.kinds import retry, versions, words
from slipway.kinds.attempts import Attempt
from slipway.kinds.datasets import Missing
from slipway.kinds.statuses import changed
from slipway.kinds.training_run import clock, ended, objects, say
from slipway.kinds.training_run.ended import Ended
from slipway.manifests import API_VERSION
from slipway.settings import Platform

ENDS = ("Succeeded", "Rejected", "Failed")


@dataclass(frozen=True)
class World:
    now: datetime
    run: TrainingRun
    dataset: DatasetInput | Missing
    """What the run took at its start; before that, what its reference means now."""
    attempts: tuple[Attempt, ...]
    version: ModelVersion | None
    """The ModelVersion of the run's name, whoever made it."""
    progress: Progress | None
    platform: Platform

    @property
    def status(self) -> TrainingRunStatus:
        return self.run.status


def decide(world: World) -> Decision:
    run = world.run
    if run.metadata.deletion_timestamp is not None:
        return Decision()
    if world.status.phase in ENDS:
        return _rest(world)
    if world.version is not None and versions.made_by(world.version, run.metadata.uid):
        return _registered(world, world.version)
    if world.version is not None:
        message = versions.exists(world.version, "run")
        return _fail(world, Ended("UserError", Reason.VERSION_EXISTS, message, world.now))
    if not world.attempts:
        return _begin(world)
    last = world.attempts[-1]
    if isinstance(last.report, TrainReport) and last.report.artifact is not None:
        return _register(world, last, last.report)
    if last.report is not None:
        message = "The pod reported success and no model"
        return _fail(world, Ended("Internal", Reason.REPORT_MISSING, message, world.now))
    if last.failure is not None:
        return _after_failure(world, last)
    return _under_way(world, last)


def _rest(world: World) -> Decision:
    """It has ended. What still runs is stopped, and the run is removed when its time has come."""
    left = tuple(attempt.job for attempt in world.attempts if attempt.under_way)
    status = changed(world.status, {"observed_generation": world.run.metadata.generation})
    ttl, completion = world.run.spec.ttl_after_finished, world.status.completion_time
    if ttl is None or completion is None:
        return Decision(status=status.dump(), delete=left)
    remaining = seconds(ttl) - (world.now - completion).total_seconds()
    if remaining > 0:
        return Decision(status=status.dump(), delete=left, again_in=remaining)
    metadata = world.run.metadata
    itself = Target(API_VERSION, "TrainingRun", metadata.namespace, metadata.name, metadata.uid)
    return Decision(delete=(*left, itself))


def _begin(world: World) -> Decision:
    """No Job is there: the first attempt, or the next one after its Job was deleted by someone."""
    if world.run.spec.suspend:
        return Decision(status=say.suspended(world, None).dump(), events=_turned(world, "Suspended"))
    if isinstance(world.dataset, Missing):
        return Decision(status=say.waiting(world, world.dataset).dump())
    return _attempt(world, retry.remembered(world.status) + 1, world.dataset)


def _attempt(world: World, number: int, dataset: DatasetInput) -> Decision:
    """All attempts run the image of the first: an upgraded operator doesn't change a run half-way."""
    image = world.attempts[0].image if world.attempts else world.platform.jobs_image
    first = number == 1
    event = Event(
        "Normal",
        Reason.STARTING if first else Reason.RESTARTING,
        f"Attempt {number} on Dataset {dataset.name}, digest {words.short(dataset.digest)}.",
    )
    return Decision(
        create=objects.attempt(world.run, number, dataset, world.platform, image),
        delete=retry.obsolete(world.attempts),
        status=say.starting(world, number, dataset).dump(),
        events=(event,),
    )


def _under_way(world: World, last: Attempt) -> Decision:
    run = world.run
    if (over := clock.over_active_deadline(world)) is not None:
        return _fail(world, over)
    if run.spec.suspend != last.suspended and last.queue is None:
        body = {"spec": {"suspend": run.spec.suspend}}
        turned = replace(last, suspended=run.spec.suspend)
        world = replace(world, attempts=(*world.attempts[:-1], turned))
        decision = _stand(world, turned)
        return replace(decision, patch=(Patch(last.job, body),))
    return _stand(world, last)


def _stand(world: World, last: Attempt) -> Decision:
    """Suspended, queued, starting or running."""
    if last.suspended and last.queue is None:
        return Decision(status=say.suspended(world, last).dump(), events=_turned(world, "Suspended"))
    if last.suspended:
        return Decision(status=say.queued(world, last).dump())
    if last.started is None and not _reports(world, last) and not _ran(world, last):
        return _start(world, last)
    status, soon = say.running(world, last)
    return Decision(
        status=status.dump(),
        events=_turned(world, "Running"),
        again_in=_soonest(soon, clock.active_left(world)),
    )


def _start(world: World, last: Attempt) -> Decision:
    left = clock.start_left(world, last)
    if left <= 0:
        return _fail(world, clock.not_started(world, last))
    # The message counts down by minutes, so it is looked at by minutes.
    again = min(left, 60.0) if last.blocked is not None else left
    status = say.starting_pod(world, last, left)
    events: tuple[Event, ...] = ()
    if last.blocked is not None:
        events = _new_reason(world, Event("Warning", last.blocked.reason, last.blocked.message))
    return Decision(status=status.dump(), events=events, again_in=_soonest(again, clock.active_left(world)))


def _after_failure(world: World, last: Attempt) -> Decision:
    failure = last.failure
    assert failure is not None
    status = world.status
    following = retry.following(
        world.attempts,
        most=world.run.spec.failure_policy.max_restarts,
        restarts=status.restarts or 0,
        last=retry.remembered(status),
    )
    if following is None:
        return _fail(world, ended.of(failure))
    if (over := clock.over_active_deadline(world)) is not None:
        return _fail(world, over)
    if world.run.spec.suspend:
        return Decision(status=say.suspended(world, last).dump(), events=_turned(world, "Suspended"))
    wait = following.due_in(world.now)
    if wait > 0 or isinstance(world.dataset, Missing):
        said = say.restarting(world, last, following)
        known = status.failure is not None and status.failure.time == failure.time
        event = Event("Warning", failure.reason, f"Attempt {last.number}: {failure.message}")
        return Decision(status=said.dump(), events=() if known else (event,), again_in=wait or None)
    return _attempt(world, following.number, world.dataset)


def _register(world: World, last: Attempt, report: TrainReport) -> Decision:
    """The result becomes a version, whatever its gates say: work and figures are kept."""
    assert report.artifact is not None
    judged = gates.judge(world.run.spec.gates, report.measurements)
    dataset = _taken(world, last)
    version = objects.version(world.run, report, report.artifact, judged, dataset, last.image)
    return Decision(create=(version,), status=say.registering(world, last, report, judged).dump())


def _registered(world: World, version: ModelVersion) -> Decision:
    status = say.ended(world, version)
    good = status.phase == "Succeeded"
    event = Event(
        "Normal" if good else "Warning",
        Reason.REGISTERED if good else Reason.GATE_MISSED,
        status.summary or "",
    )
    return Decision(status=status.dump(), events=(event,))


def _fail(world: World, cause: Ended) -> Decision:
    """The cause is written first; the pass that sees it written stops what still runs."""
    status = say.failed(world, cause)
    return Decision(status=status.dump(), events=(Event("Warning", cause.reason, status.summary or ""),))


# --- parts ---


def _taken(world: World, last: Attempt) -> NamedDigest:
    """The Dataset that the attempt was made with."""
    if isinstance(world.dataset, DatasetInput):
        return NamedDigest(name=world.dataset.name, digest=world.dataset.digest)
    inputs = world.status.inputs
    if inputs is not None and inputs.dataset is not None:
        return inputs.dataset
    return NamedDigest(name=world.run.spec.dataset_ref.name)


def _reports(world: World, last: Attempt) -> bool:
    """Its pod pushes progress, so it runs, whatever the cache has seen of it."""
    return world.progress is not None and world.progress.attempt == last.number


def _ran(world: World, last: Attempt) -> bool:
    """It was seen at work: its pods may be gone already while its Job is not said to have failed yet."""
    trained = world.status.condition("Trained")
    at_work = trained is not None and trained.reason == Reason.TRAINING
    return at_work and world.status.phase == "Running" and world.status.attempt == last.number


def _turned(world: World, phase: str) -> tuple[Event, ...]:
    """An event where the phase becomes this one."""
    if world.status.phase == phase:
        return ()
    said = {
        "Suspended": (Reason.SUSPENDED, "No pod runs until suspend is false."),
        "Running": (Reason.TRAINING, "Training."),
    }
    reason, message = said[phase]
    return (Event("Normal", reason, message),)


def _new_reason(world: World, event: Event) -> tuple[Event, ...]:
    """The event, where the run wasn't in that state before."""
    trained = world.status.condition("Trained")
    return () if trained is not None and trained.reason == event.reason else (event,)


def _soonest(*times: float | None) -> float | None:
    return min((time for time in times if time is not None), default=None)
