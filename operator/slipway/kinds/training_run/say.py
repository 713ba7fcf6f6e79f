"""The status of a TrainingRun in each of its states. Pure; decide says which state it is in."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from slipway import conditions, gates
from slipway.api import ModelVersion
from slipway.api.gates import GateResult
from slipway.api.meta import EvaluationResult, NamedDigest, ObjectRef
from slipway.api.reasons import Reason
from slipway.api.training_run import Failure, RunInputs, RunProgress, TrainingRunStatus
from slipway.api.units import duration
from slipway.conditions import State, Work
from slipway.contract.config import DatasetInput
from slipway.contract.report import TrainReport
from slipway.kinds import attempts, retry, words
from slipway.kinds.attempts import Attempt
from slipway.kinds.datasets import Missing
from slipway.kinds.statuses import changed
from slipway.kinds.training_run import clock, progress
from slipway.kinds.training_run import ended as endings
from slipway.kinds.training_run.ended import Ended

if TYPE_CHECKING:
    from slipway.kinds.training_run.decide import World


Phase = Literal["Pending", "Running", "Suspended", "Succeeded", "Rejected", "Failed"]
NOT_EVALUATED = State("GatesPassed", "Unknown", Reason.NOT_EVALUATED)


# --- before and between attempts ---


def waiting(world: "World", missing: Missing) -> TrainingRunStatus:
    states = (
        State("InputsReady", "False", missing.reason, missing.message),
        State("Trained", "False", Reason.NOT_STARTED),
        NOT_EVALUATED,
        State("Succeeded", "Unknown", Reason.NOT_STARTED),
    )
    return _status(world, "Pending", missing.message, states, (missing.reason, missing.message))


def starting(world: "World", number: int, dataset: DatasetInput) -> TrainingRunStatus:
    """An attempt's Job is being made."""
    message = (
        attempts.waiting_for_pods(world.run.spec.trainer.num_nodes)
        if number == 1
        else f"Attempt {number} goes on from the last checkpoint."
    )
    found = _working(world, "Running", Reason.STARTING, message, attempt=number)
    inputs = RunInputs(dataset=NamedDigest(name=dataset.name, digest=dataset.digest))
    return changed(found, {"inputs": inputs, "progress": None})


def starting_pod(world: "World", last: Attempt, left: float) -> TrainingRunStatus:
    reason, message = attempts.held(last) or (Reason.STARTING, attempts.waiting_for_pods(last.pods))
    if last.blocked is not None:
        message = f"{message} {clock.countdown(world, left)}"
    return _working(world, "Running", reason, message, attempt=last.number)


def queued(world: "World", last: Attempt) -> TrainingRunStatus:
    reason, message = attempts.held(last) or (Reason.QUEUED, "")
    if world.run.spec.suspend:
        message += " spec.suspend does nothing here: the queue decides when it runs, so hold it there."
    return _working(world, "Pending", reason, message, attempt=last.number)


def suspended(world: "World", last: Attempt | None) -> TrainingRunStatus:
    message = "Suspended; set suspend: false to begin."
    if last is not None:
        message = "Suspended; goes on from its last checkpoint when suspend is false."
    number = last.number if last is not None else None
    return _working(world, "Suspended", Reason.SUSPENDED, message, attempt=number)


def restarting(world: "World", last: Attempt, following: retry.Next) -> TrainingRunStatus:
    failure = last.failure
    assert failure is not None
    message = retry.said(failure.message, last.number, following)
    reason = failure.reason if failure.class_ == "Store" else Reason.RESTARTING
    return _working(world, "Running", reason, message, attempt=last.number, failure=endings.of(failure))


# --- at work ---


def running(world: "World", last: Attempt) -> tuple[TrainingRunStatus, float | None]:
    """The status, and in how many seconds it may tell more."""
    told, status = world.progress, world.status
    same = status.phase == "Running" and status.attempt == last.number
    if told is None or told.attempt != last.number:
        if same and status.progress is not None:
            # A restarted operator waits for the pod's next word rather than forget the last one.
            return _as_told(world), None
        return _working(world, "Running", Reason.TRAINING, "Loading data.", attempt=last.number), None
    known = status.progress
    if known is not None and same:
        age = progress.seconds_between(known, told)
        if age == 0:
            return _as_told(world), None
        if age is not None and 0 < age < progress.EVERY:
            return _as_told(world), progress.EVERY - age
    step = progress.step(told)
    result = progress.result(told)
    found = _working(world, "Running", Reason.TRAINING, step, attempt=last.number)
    changes = {
        "summary": progress.sentence(told),
        "result": result or status.result,
        "progress": progress.as_status(told),
        "checkpoint": progress.checkpoint(told) or status.checkpoint,
        "failure": None,
    }
    return changed(found, changes), None


def registering(
    world: "World", last: Attempt, report: TrainReport, judged: Sequence[GateResult]
) -> TrainingRunStatus:
    message = f"Trained; registers ModelVersion {world.run.metadata.name}."
    finished = State("Trained", "True", Reason.FINISHED, _finished(world, last, report))
    states = (
        _inputs_ready(world),
        finished,
        _gates_passed(judged),
        State("Succeeded", "Unknown", Reason.FINISHED),
    )
    found = _status(world, "Running", message, states, (Reason.FINISHED, message), attempt=last.number)
    changes = {
        "completion_time": last.finished,
        "evaluation": _evaluation_of_report(report),
        "gates": list(judged),
        "result": words.headline(report.evaluation.metrics if report.evaluation is not None else {}),
        "failure": None,
    }
    return changed(found, changes)


# --- ends ---


def ended(world: "World", version: ModelVersion) -> TrainingRunStatus:
    """Succeeded or Rejected, as the registered version says."""
    spec, name = version.spec, version.metadata.name
    last = world.attempts[-1] if world.attempts else None
    metrics = spec.evaluation.metrics if spec.evaluation is not None else {}
    good = gates.all_pass(spec.gates)
    completion = (last.finished if last is not None else None) or world.status.completion_time or world.now
    start = _start_time(world) or completion
    took = duration((completion - start) / timedelta(seconds=1))
    said = (
        gates.told(world.run.spec.gates, spec.gates)
        if good
        else gates.explained(gates.missed_rows(spec.gates)[0])
    )
    judged = f"; {said}" if said else f"; {words.headline(metrics)}, no gates"
    as_what = f"registered as ModelVersion {name}" + ("" if good else ", Rejected: it is never served")
    trained = world.status.condition("Trained")
    report = last.report if last is not None else None
    told = trained.message if trained is not None and trained.status == "True" else ""
    if isinstance(report, TrainReport) and last is not None:
        told = _finished(world, last, report)
    missed = gates.missed(gates.missed_rows(spec.gates)) if not good else ""
    verdict = (
        State("Succeeded", "True", Reason.REGISTERED, f"ModelVersion {name}.")
        if good
        else State("Succeeded", "False", Reason.GATE_MISSED, missed)
    )
    states = (
        _inputs_ready(world),
        State("Trained", "True", Reason.FINISHED, told),
        _gates_passed(spec.gates),
        verdict,
    )
    found = _status(
        world,
        "Succeeded" if good else "Rejected",
        f"Trained in {took}{judged}; {as_what}.",
        states,
        (verdict.reason, missed),
        work="Done" if good else "Stalled",
        attempt=last.number if last is not None else None,
    )
    known = world.status.progress or RunProgress()
    steps = {"step": known.total_steps} if known.total_steps is not None else {}
    changes: dict[str, Any] = {
        "start_time": start,
        "completion_time": completion,
        "result": words.headline(metrics),
        "model_version_ref": ObjectRef(name=name),
        "progress": known.model_copy(update={**steps, "percent": 100, "remaining": None}),
        "gates": spec.gates,
        "evaluation": _evaluation_of_version(version),
        "failure": None,
    }
    return changed(found, changes)


def failed(world: "World", ended: Ended) -> TrainingRunStatus:
    run = world.run
    tries = ""
    if world.attempts and ended.class_ not in ("Image", "Scheduling", "Deadline"):
        number = world.attempts[-1].number
        most = number if number > 1 else run.spec.failure_policy.max_restarts + 1
        tries = (
            f" in attempt {number} of {most}" if ended.class_ not in retry.FINAL else f" in attempt {number}"
        )
    limit = endings.memory_limit(run) if ended.class_ == "OutOfMemory" else ""
    message = f"{ended.message}{tries}{limit}".rstrip(". ")
    advice = endings.advice(ended, run) if ended.reason != Reason.VERSION_EXISTS else ""
    summary = f"{message}. {advice}".strip()
    states = (
        _inputs_ready(world),
        State("Trained", "False", ended.reason, f"{message}."),
        NOT_EVALUATED,
        State("Succeeded", "False", ended.reason, f"{message}."),
    )
    number_ = world.attempts[-1].number if world.attempts else None
    found = _status(
        world, "Failed", summary, states, (ended.reason, f"{message}."), work="Stalled", attempt=number_
    )
    result = ended.class_ if ended.reason != Reason.VERSION_EXISTS else ended.reason
    return changed(found, {"result": result, "failure": _failure(ended), "completion_time": ended.time})


# --- parts ---


def _working(
    world: "World",
    phase: Phase,
    reason: Reason,
    message: str,
    *,
    attempt: int | None,
    failure: Ended | None = None,
) -> TrainingRunStatus:
    states = (
        _inputs_ready(world),
        State("Trained", "False", reason, message),
        NOT_EVALUATED,
        State("Succeeded", "Unknown", reason),
    )
    found = _status(world, phase, message, states, (reason, message), attempt=attempt)
    if failure is not None:
        found = changed(found, {"failure": _failure(failure)})
    return found


def _status(
    world: "World",
    phase: Phase,
    summary: str,
    states: Sequence[State],
    cause: tuple[Reason, str],
    *,
    work: Work = "Reconciling",
    attempt: int | None = None,
) -> TrainingRunStatus:
    """What is there stays, unless a state says it anew."""
    status = world.status
    moves_on = attempt is not None and world.attempts and attempt > world.attempts[-1].number
    ledger = round(clock.active(world) if moves_on else clock.ledger(world))
    restarts = retry.counted(world.attempts, status.restarts or 0)
    changes = {
        "observed_generation": world.run.metadata.generation,
        "phase": phase,
        "summary": summary,
        "attempt": attempt or status.attempt,
        "restarts": restarts or None,
        "active_time": duration(ledger) if ledger > 0 else None,
        "start_time": _start_time(world) or (world.now if attempt is not None else None),
        "inputs": _inputs(world) if attempt is not None or status.inputs is not None else None,
        "conditions": conditions.of(world.run, world.now, states, work, cause),
    }
    return changed(status, changes)


def _as_told(world: "World") -> TrainingRunStatus:
    return changed(world.status, {"observed_generation": world.run.metadata.generation})


def _start_time(world: "World") -> Any:
    if world.status.start_time is not None:
        return world.status.start_time
    return world.attempts[0].created if world.attempts else None


def _inputs(world: "World") -> RunInputs | None:
    dataset = world.dataset
    if isinstance(dataset, Missing):
        return world.status.inputs
    return RunInputs(dataset=NamedDigest(name=dataset.name, digest=dataset.digest))


def _inputs_ready(world: "World") -> State:
    dataset = world.dataset
    if isinstance(dataset, Missing):
        return State("InputsReady", "False", dataset.reason, dataset.message)
    said = f"Dataset {dataset.name} is Ready, digest {words.short(dataset.digest)}."
    return State("InputsReady", "True", Reason.RESOLVED, said)


def _gates_passed(rows: Sequence[GateResult]) -> State:
    if not rows:
        return State("GatesPassed", "True", Reason.NO_GATES)
    missed = gates.missed_rows(rows)
    if missed:
        return State("GatesPassed", "False", Reason.GATE_MISSED, gates.missed(missed))
    return State("GatesPassed", "True", Reason.ALL_PASSED, gates.counted(rows))


def _finished(world: "World", last: Attempt, report: TrainReport) -> str:
    took = duration(round(report.seconds))
    return f"{words.some(report.steps, 'step')} in {took}, {words.some(last.number, 'attempt')}."


def _failure(ended: Ended) -> Failure:
    return Failure(
        class_=ended.class_,
        node=ended.node,
        exit_code=ended.exit_code,
        time=ended.time,
        log_tail=ended.log_tail,
    )


def _evaluation_of_report(report: TrainReport) -> EvaluationResult | None:
    found = report.evaluation
    return EvaluationResult.model_validate(found.model_dump()) if found is not None else None


def _evaluation_of_version(version: ModelVersion) -> EvaluationResult | None:
    found = version.spec.evaluation
    if found is None:
        return None
    return EvaluationResult(
        split=found.dataset.split if found.dataset is not None else None,
        samples=found.samples,
        metrics=found.metrics,
        report_uri=found.report_uri,
    )
