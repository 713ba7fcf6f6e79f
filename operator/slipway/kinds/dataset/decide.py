"""Dataset: prepared by a Job for each state of its spec. Pure.

    Pending --Job made--> Running --report, checks pass--> Ready
                             |  \\--a check of severity Error failed--> Rejected
                             |---the data can't be read--------------> Failed
                             \\--store away, pod lost--> Running (next try)
    Ready, Rejected, Failed --the spec changes--> Running

The ends hold until the spec changes in a way that matters (the key of objects.py). While a changed spec is
prepared, the old result stays in the status: it is what the name still means for those who pinned its digest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from slipway import conditions, gates
from slipway.api import Dataset, Reason
from slipway.api.dataset import DatasetStatus, InputProfile, Profile, SplitRows
from slipway.api.gates import GateResult
from slipway.api.units import size
from slipway.conditions import State, Work
from slipway.contract.report import DatasetReport
from slipway.decision import Decision, Event
from slipway.kinds import attempts, retry, words
from slipway.kinds.attempts import Attempt
from slipway.kinds.dataset import objects
from slipway.kinds.statuses import changed

Phase = Literal["Pending", "Running", "Ready", "Rejected", "Failed"]
ENDS = ("Ready", "Rejected", "Failed")
RESTARTS = 3
"""Tries after a failure of its own, such as out of memory."""
NOT_EVALUATED = State("GatesPassed", "Unknown", Reason.NOT_EVALUATED)


@dataclass(frozen=True)
class World:
    now: datetime
    dataset: Dataset
    attempts: tuple[Attempt, ...]
    """For the spec as it is now."""
    older: tuple[Attempt, ...]
    """For a spec as it was."""
    image: str

    @property
    def status(self) -> DatasetStatus:
        return self.dataset.status

    @property
    def generation(self) -> int:
        return self.dataset.metadata.generation


def decide(world: World) -> Decision:
    if world.dataset.metadata.deletion_timestamp is not None:
        return Decision()
    if world.status.phase in ENDS and world.status.observed_generation == world.generation:
        # The old Jobs have served their purpose once there is a newer result.
        return Decision(delete=tuple(attempt.job for attempt in world.older))
    if not world.attempts:
        return _prepare(world, 1 + _tried(world))
    last = world.attempts[-1]
    if isinstance(last.report, DatasetReport) and last.report.digest is not None:
        return _judge(world, last, last.report)
    if last.report is not None:
        return _fail(world, last, Reason.REPORT_MISSING, "The pod reported success and no digest.")
    if last.failure is not None:
        return _after_failure(world, last)
    return _under_way(world, last)


def _tried(world: World) -> int:
    """Attempts for this spec whose Jobs are gone."""
    under_way = world.status.observed_generation == world.generation and world.status.phase in (
        "Pending",
        "Running",
    )
    return retry.remembered(world.status) if under_way else 0


def _prepare(world: World, attempt: int) -> Decision:
    # What was being prepared for an older spec is of no use any more.
    useless = tuple(older.job for older in world.older if older.under_way)
    source = world.dataset.spec.source.storage_uri
    event = Event("Normal", Reason.PREPARING, f"Attempt {attempt} reads {source}.")
    return Decision(
        create=objects.prepare(world.dataset, attempt, world.image),
        delete=(*useless, *retry.obsolete(world.attempts)),
        status=_working(world, attempt, Reason.STARTING, "Waiting for its pod to start.", world.now).dump(),
        events=(event,),
    )


def _under_way(world: World, last: Attempt) -> Decision:
    held = attempts.held(last)
    reason, message = held or (Reason.PREPARING, f"Reading {world.dataset.spec.source.storage_uri}.")
    events: tuple[Event, ...] = ()
    if last.blocked is not None:
        events = _new(world, reason, message)
    status = _working(world, last.number, reason, message, last.created)
    return Decision(status=status.dump(), events=events)


def _after_failure(world: World, last: Attempt) -> Decision:
    failure = last.failure
    assert failure is not None
    following = retry.following(world.attempts, most=RESTARTS, last=_tried(world))
    if following is None:
        return _fail(world, last, failure.reason, _cause(world, last))
    wait = following.due_in(world.now)
    if wait == 0:
        return _prepare(world, following.number)
    message = retry.said(failure.message, last.number, following)
    status = _working(world, last.number, failure.reason, message, last.created)
    return Decision(status=status.dump(), events=_new(world, failure.reason, failure.message), again_in=wait)


def _judge(world: World, last: Attempt, report: DatasetReport) -> Decision:
    rows = gates.judge(world.dataset.spec.checks, report.measurements)
    missed, warned = gates.missed_rows(rows), gates.warnings(rows)
    read = State("InputsReady", "True", Reason.SOURCE_READ, _read(report))
    what = f"{words.some(report.rows, 'row')} in {words.some(len(report.splits), 'split')}"
    classes = (
        f", {words.some(report.classes, 'class').replace('classs', 'classes')}" if report.classes else ""
    )
    checks = f"{gates.counted(rows, 'check')}" if rows else "No checks."
    if missed:
        message = gates.missed(missed)
        states = (
            read,
            State("GatesPassed", "False", Reason.GATE_MISSED, message),
            State("Ready", "False", Reason.GATE_MISSED, message),
        )
        summary = (
            f"{gates.explained(missed[0])}; nothing is trained on it. Repair the data, or change the check."
        )
        phase: Phase = "Rejected"
        work: Work = "Stalled"
    else:
        states = (
            read,
            _passed(rows, warned),
            State("Ready", "True", Reason.PREPARED, f"{what}, digest {words.short(report.digest or '')}."),
        )
        warning = f" Warning: {gates.missed(warned)}" if warned else ""
        summary = f"{what}{classes}; {checks}{warning}"
        phase, work = "Ready", "Done"
    cause = (states[-1].reason, states[-1].message if missed else "")
    found = _status(world, phase, summary, states, cause, work=work, attempt=last.number, begun=last.created)
    status = changed(found, {"completion_time": last.finished, **_content(report), "gates": rows})
    event = Event("Warning" if missed else "Normal", states[-1].reason, summary)
    warnings = [Event("Warning", Reason.PASSED_WITH_WARNINGS, gates.missed(warned))] if warned else []
    return Decision(status=status.dump(), events=(event, *warnings))


def _fail(world: World, last: Attempt, reason: Reason, message: str) -> Decision:
    states = (
        State("InputsReady", "False", reason, message),
        NOT_EVALUATED,
        State("Ready", "False", reason, message),
    )
    found = _status(
        world,
        "Failed",
        message,
        states,
        (reason, message),
        work="Stalled",
        attempt=last.number,
        begun=last.created,
    )
    status = changed(found, {"result": reason.value, "completion_time": last.finished, **_NOTHING})
    return Decision(status=status.dump(), events=(Event("Warning", reason, message),))


# --- parts ---

# A spec that can't be prepared has no content: what an older one had isn't its content.
_NOTHING: dict[str, Any] = {
    "digest": None,
    "storage_uri": None,
    "rows": None,
    "size": None,
    "classes": None,
    "splits": [],
    "profile": None,
    "gates": [],
}


def _content(report: DatasetReport) -> dict[str, Any]:
    inputs = [InputProfile.model_validate(told.model_dump()) for told in report.profile]
    profile = Profile(inputs=inputs, report_uri=report.profile_uri)
    splits = [SplitRows(name=split.name, rows=split.rows) for split in report.splits]
    shown = f", {report.classes} classes" if report.classes else ""
    return {
        "result": f"{words.some(len(splits), 'split')}{shown}",
        "digest": report.digest,
        "storage_uri": report.storage_uri,
        "rows": report.rows,
        "size": size(report.size_bytes),
        "classes": report.classes,
        "splits": splits,
        "profile": profile if inputs or report.profile_uri else None,
    }


def _working(world: World, attempt: int, reason: Reason, message: str, begun: datetime) -> DatasetStatus:
    phase: Phase = "Pending" if reason == Reason.QUEUED else "Running"
    states = (
        State("InputsReady", "False" if reason == Reason.STORE_UNREACHABLE else "Unknown", reason, message),
        NOT_EVALUATED,
        State("Ready", "False", reason, message),
    )
    return _status(
        world, phase, message, states, (reason, message), work="Reconciling", attempt=attempt, begun=begun
    )


def _status(
    world: World,
    phase: Phase,
    summary: str,
    states: Sequence[State],
    cause: tuple[Reason, str],
    *,
    work: Work,
    attempt: int,
    begun: datetime,
) -> DatasetStatus:
    """The result of before stays until there is another."""
    first = world.attempts[0].created if world.attempts else begun
    changes = {
        "observed_generation": world.generation,
        "phase": phase,
        "summary": summary,
        "attempt": attempt,
        "start_time": first,
        "completion_time": None,
        "conditions": conditions.of(world.dataset, world.now, states, work, cause),
    }
    return changed(world.status, changes)


def _passed(rows: Sequence[GateResult], warned: Sequence[GateResult]) -> State:
    if not rows:
        return State("GatesPassed", "True", Reason.NO_GATES)
    if warned:
        message = f"{gates.counted(rows, 'check')} Warning: {gates.missed(warned)}"
        return State("GatesPassed", "True", Reason.PASSED_WITH_WARNINGS, message)
    return State("GatesPassed", "True", Reason.ALL_PASSED, gates.counted(rows, "check"))


def _read(report: DatasetReport) -> str:
    files = words.some(report.source_files, "file")
    return f"Read {files}, {words.megabytes(report.source_bytes)}, from {report.source_uri}."


def _cause(world: World, last: Attempt) -> str:
    failure = last.failure
    assert failure is not None
    message = failure.message.rstrip(". ")
    if failure.class_ == "OutOfMemory":
        limit = world.dataset.spec.resources.limits.get("memory")
        shown = f" (limit {limit})" if limit is not None else ""
        return f"{message} in attempt {last.number}{shown}. Raise resources.limits.memory."
    return f"{message}."


def _new(world: World, reason: Reason, message: str) -> tuple[Event, ...]:
    """A warning, where the Dataset wasn't in that state before."""
    known = world.status.condition("Ready")
    return () if known is not None and known.reason == reason else (Event("Warning", reason, message),)
