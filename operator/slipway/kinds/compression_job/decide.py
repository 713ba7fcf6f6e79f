"""CompressionJob: makes a variant, measures it against its source, registers it. Pure.

    Pending --source and rows Ready--> Running --report, gates pass--> Succeeded
       |                                |  \\--report, gate missed----> Rejected   (registered all the same)
       |                                |---pod failed, again---------> Running    (attempt + 1)
       \\--version's name taken, deadline, node too busy--------------> Failed

The three ends are final. What an alias meant is settled when the first Job is made: its orders say so.
"""

from dataclasses import dataclass
from datetime import datetime

from slipway import gates
from slipway.api import CompressionJob, ModelVersion, Reason
from slipway.api.compression_job import CompressionJobStatus
from slipway.contract.report import CompressReport, Progress
from slipway.decision import Decision, Event
from slipway.kinds import attempts, retry, versions, words
from slipway.kinds.attempts import Attempt
from slipway.kinds.compression_job import objects, say
from slipway.kinds.compression_job.inputs import Inputs
from slipway.kinds.datasets import Missing
from slipway.kinds.statuses import changed
from slipway.settings import Platform

ENDS = ("Succeeded", "Rejected", "Failed")
RESTARTS = 3
"""Tries after a failure of its own; there is no failurePolicy."""


@dataclass(frozen=True)
class World:
    now: datetime
    job: CompressionJob
    inputs: Inputs | Missing
    """What the job took at its start; before that, what its references mean now."""
    attempts: tuple[Attempt, ...]
    version: ModelVersion | None
    """The ModelVersion of the job's name, whoever made it."""
    progress: Progress | None
    platform: Platform

    @property
    def status(self) -> CompressionJobStatus:
        return self.job.status


def decide(world: World) -> Decision:
    if world.job.metadata.deletion_timestamp is not None:
        return Decision()
    if world.status.phase in ENDS:
        return _rest(world)
    if world.version is not None and versions.made_by(world.version, world.job.metadata.uid):
        return _registered(world, world.version)
    if world.version is not None:
        return _fail(world, Reason.VERSION_EXISTS, versions.exists(world.version, "job"))
    if not world.attempts:
        return _begin(world)
    last = world.attempts[-1]
    if isinstance(last.report, CompressReport) and last.report.artifact is not None:
        return _register(world, last, last.report)
    if last.report is not None:
        return _fail(world, Reason.REPORT_MISSING, "The pod reported success and no model.")
    if last.failure is not None:
        return _after_failure(world, last)
    return _under_way(world, last)


def _rest(world: World) -> Decision:
    status = changed(world.status, {"observed_generation": world.job.metadata.generation})
    left = tuple(attempt.job for attempt in world.attempts if attempt.under_way)
    return Decision(status=status.dump(), delete=left)


def _begin(world: World) -> Decision:
    if isinstance(world.inputs, Missing):
        return Decision(status=say.waiting(world, world.inputs).dump())
    return _attempt(world, retry.remembered(world.status) + 1, world.inputs)


def _attempt(world: World, number: int, inputs: Inputs) -> Decision:
    """All attempts run the image of the first: an upgraded operator doesn't change a job half-way."""
    image = world.attempts[0].image if world.attempts else world.platform.jobs_image
    event = Event(
        "Normal",
        Reason.STARTING if number == 1 else Reason.RESTARTING,
        f"Attempt {number} on ModelVersion {inputs.source.name}, digest {words.short(inputs.source.digest)}.",
    )
    return Decision(
        create=objects.attempt(world.job, number, inputs, world.platform, image),
        delete=retry.obsolete(world.attempts),
        status=say.working(world, number, Reason.STARTING, "Waiting for its pod to start.").dump(),
        events=(event,),
    )


def _under_way(world: World, last: Attempt) -> Decision:
    held = attempts.held(last)
    if held is None or (world.progress is not None and world.progress.attempt == last.number):
        reason, message = Reason.MEASURING, say.measuring(world, last)
        return Decision(status=say.working(world, last.number, reason, message).dump())
    reason, message = held
    known = world.status.condition("Measured")
    new = last.blocked is not None and (known is None or known.reason != reason)
    events = (Event("Warning", reason, message),) if new else ()
    return Decision(status=say.working(world, last.number, reason, message).dump(), events=events)


def _after_failure(world: World, last: Attempt) -> Decision:
    failure = last.failure
    assert failure is not None
    following = retry.following(world.attempts, most=RESTARTS, last=retry.remembered(world.status))
    if following is None:
        return _fail(world, failure.reason, say.cause(world, last))
    wait = following.due_in(world.now)
    if wait == 0 and isinstance(world.inputs, Inputs):
        return _attempt(world, following.number, world.inputs)
    message = retry.said(failure.message, last.number, following)
    known = world.status.condition("Measured")
    new = known is None or known.reason != failure.reason
    events = (Event("Warning", failure.reason, failure.message),) if new else ()
    status = say.working(world, last.number, failure.reason, message)
    return Decision(status=status.dump(), events=events, again_in=wait or None)


def _register(world: World, last: Attempt, report: CompressReport) -> Decision:
    """The variant becomes a version, whatever its gates say: work and figures are kept."""
    assert report.artifact is not None
    if isinstance(world.inputs, Missing):
        return _fail(world, world.inputs.reason, world.inputs.message)
    judged = gates.judge(world.job.spec.gates, report.measurements)
    version = objects.version(world.job, report, report.artifact, judged, world.inputs, last.image)
    return Decision(create=(version,), status=say.registering(world, last, report, judged).dump())


def _registered(world: World, version: ModelVersion) -> Decision:
    status = say.ended(world, version)
    good = status.phase == "Succeeded"
    reason = Reason.REGISTERED if good else Reason.GATE_MISSED
    event = Event("Normal" if good else "Warning", reason, status.summary or "")
    return Decision(status=status.dump(), events=(event,))


def _fail(world: World, reason: Reason, message: str) -> Decision:
    status = say.failed(world, reason, message)
    return Decision(status=status.dump(), events=(Event("Warning", reason, message),))
