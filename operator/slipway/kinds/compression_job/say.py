"""The status of a CompressionJob in each of its states. Pure; decide says which state it is in."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from slipway import conditions, gates
from slipway.api import ModelVersion, Reason
from slipway.api.compression_job import CompressionInputs, CompressionJobStatus, Variant
from slipway.api.gates import GateResult
from slipway.api.meta import NamedDigest, ObjectRef
from slipway.api.model_version import MeasuredOn
from slipway.conditions import State, Work
from slipway.contract.report import CompressReport
from slipway.kinds import words
from slipway.kinds.attempts import Attempt
from slipway.kinds.datasets import Missing
from slipway.kinds.statuses import changed

if TYPE_CHECKING:
    from slipway.kinds.compression_job.decide import World

NOT_EVALUATED = State("GatesPassed", "Unknown", Reason.NOT_EVALUATED)
SAME = 5e-5
"""Less than this isn't a difference of accuracy at four digits."""


def waiting(world: "World", missing: Missing) -> CompressionJobStatus:
    states = (
        State("InputsReady", "False", missing.reason, missing.message),
        State("Measured", "False", Reason.NOT_STARTED),
        NOT_EVALUATED,
        State("Succeeded", "Unknown", Reason.NOT_STARTED),
    )
    return _status(world, "Pending", missing.message, states, (missing.reason, missing.message))


def working(world: "World", attempt: int, reason: Reason, message: str) -> CompressionJobStatus:
    states = (
        _inputs_ready(world),
        State("Measured", "False", reason, message),
        NOT_EVALUATED,
        State("Succeeded", "Unknown", reason),
    )
    phase: Literal["Pending", "Running"] = "Pending" if reason == Reason.QUEUED else "Running"
    return _status(world, phase, message, states, (reason, message), attempt=attempt)


def measuring(world: "World", last: Attempt) -> str:
    told = world.progress
    if told is None or told.attempt != last.number or not told.step or told.total_steps is None:
        return "Making variants and measuring them against the source."
    return f"{told.step} of {told.total_steps} parts done."


def registering(
    world: "World", last: Attempt, report: CompressReport, judged: Sequence[GateResult]
) -> CompressionJobStatus:
    message = f"Measured; registers ModelVersion {world.job.metadata.name}."
    measured = State("Measured", "True", Reason.STABLE, _measured(report))
    states = (
        _inputs_ready(world),
        measured,
        _gates_passed(judged),
        State("Succeeded", "Unknown", Reason.STABLE),
    )
    found = _status(world, "Running", message, states, (Reason.STABLE, message), attempt=last.number)
    return changed(found, {"completion_time": last.finished, **_of_report(report, judged)})


def _of_report(report: CompressReport, judged: Sequence[GateResult]) -> dict[str, Any]:
    """What the status keeps of it."""
    variants = report.variants
    verdict = "Pass" if gates.all_pass(judged) else "Fail"
    return {
        "measured_on": MeasuredOn.model_validate(report.measured_on.model_dump(exclude_none=True))
        if report.measured_on is not None
        else None,
        "variants": [
            Variant(
                name=variant.name,
                metrics=variant.metrics,
                # Only the last one becomes the version, so only that one is judged.
                verdict=verdict if judged and variant is variants[-1] else None,
                notes=variant.notes,
            )
            for variant in variants
        ],
        "gates": list(judged),
        "report_uri": report.report_uri,
        "result": _result(variants[-1].metrics if variants else {}),
    }


def ended(world: "World", version: ModelVersion) -> CompressionJobStatus:
    """Succeeded or Rejected, as the registered version says."""
    spec, name = version.spec, version.metadata.name
    last = world.attempts[-1] if world.attempts else None
    metrics = spec.evaluation.metrics if spec.evaluation is not None else {}
    good = gates.all_pass(spec.gates)
    missed = "" if good else gates.missed(gates.missed_rows(spec.gates))
    verdict = (
        State("Succeeded", "True", Reason.REGISTERED, f"ModelVersion {name}.")
        if good
        else State("Succeeded", "False", Reason.GATE_MISSED, missed)
    )
    told = world.status.condition("Measured")
    measured = told.message if told is not None and told.status == "True" else ""
    # As when it was registered, unless that status was never written and the pod's report is still there.
    reported = {}
    if last is not None and isinstance(last.report, CompressReport):
        measured = _measured(last.report)
        reported = _of_report(last.report, spec.gates)
    states = (
        _inputs_ready(world),
        State("Measured", "True", Reason.STABLE, measured),
        _gates_passed(spec.gates),
        verdict,
    )
    parent = (
        spec.lineage.parent.name
        if spec.lineage is not None and spec.lineage.parent is not None
        else "the source"
    )
    compared = _compared(world.job.spec.passes[-1].name, parent, metrics)
    if good:
        summary = f"{compared}; registered as ModelVersion {name}."
    else:
        why = gates.explained(gates.missed_rows(spec.gates)[0])
        summary = f"{compared}; {why}; registered as ModelVersion {name}, Rejected: it is never served."
    found = _status(
        world,
        "Succeeded" if good else "Rejected",
        summary,
        states,
        (verdict.reason, missed),
        work="Done" if good else "Stalled",
        attempt=last.number if last is not None else None,
    )
    completion = (last.finished if last is not None else None) or world.status.completion_time or world.now
    changes = {
        **reported,
        "start_time": found.start_time or completion,
        "completion_time": completion,
        "result": _result(metrics),
        "model_version_ref": ObjectRef(name=name),
        "gates": spec.gates,
    }
    return changed(found, changes)


def cause(world: "World", last: Attempt) -> str:
    """Why the last attempt is the last one, and what to do."""
    failure = last.failure
    assert failure is not None
    message = failure.message.rstrip(". ")
    if failure.class_ == "OutOfMemory":
        limit = world.job.spec.resources.limits.get("memory")
        shown = f" (limit {limit})" if limit is not None else ""
        return f"{message} in attempt {last.number}{shown}. Raise resources.limits.memory."
    if failure.class_ == "Deadline":
        return f"activeDeadline ({world.job.spec.active_deadline}) ended it. Give a new job more time."
    return f"{message}."


def failed(world: "World", reason: Reason, message: str) -> CompressionJobStatus:
    states = (
        _inputs_ready(world),
        State("Measured", "False", reason, message),
        NOT_EVALUATED,
        State("Succeeded", "False", reason, message),
    )
    last = world.attempts[-1] if world.attempts else None
    number = last.number if last is not None else None
    found = _status(world, "Failed", message, states, (reason, message), work="Stalled", attempt=number)
    completion = last.finished if last is not None and last.finished is not None else world.now
    return changed(found, {"result": reason.value, "message": message, "completion_time": completion})


# --- parts ---


def _status(
    world: "World",
    phase: Literal["Pending", "Running", "Succeeded", "Rejected", "Failed"],
    summary: str,
    states: Sequence[State],
    cause: tuple[Reason, str],
    *,
    work: Work = "Reconciling",
    attempt: int | None = None,
) -> CompressionJobStatus:
    """What is there stays, unless a state says it anew."""
    status = world.status
    begun = world.attempts[0].created if world.attempts else world.now if attempt is not None else None
    changes = {
        "observed_generation": world.job.metadata.generation,
        "phase": phase,
        "summary": summary,
        "attempt": attempt or status.attempt,
        "start_time": status.start_time or begun,
        "inputs": _inputs(world) if attempt is not None else status.inputs,
        "conditions": conditions.of(world.job, world.now, states, work, cause),
    }
    return changed(status, changes)


def _inputs(world: "World") -> CompressionInputs | None:
    taken = world.inputs
    if isinstance(taken, Missing):
        return world.status.inputs
    return CompressionInputs(
        model_version=NamedDigest(name=taken.source.name, digest=taken.source.digest),
        dataset=NamedDigest(name=taken.dataset.name, digest=taken.dataset.digest),
    )


def _inputs_ready(world: "World") -> State:
    taken = world.inputs
    if isinstance(taken, Missing):
        return State("InputsReady", "False", taken.reason, taken.message)
    said = f"ModelVersion {taken.source.name} and Dataset {taken.dataset.name} are Ready."
    return State("InputsReady", "True", Reason.RESOLVED, said)


def _gates_passed(rows: Sequence[GateResult]) -> State:
    if not rows:
        return State("GatesPassed", "True", Reason.NO_GATES)
    missed = gates.missed_rows(rows)
    if missed:
        return State("GatesPassed", "False", Reason.GATE_MISSED, gates.missed(missed))
    return State("GatesPassed", "True", Reason.ALL_PASSED, gates.counted(rows))


def _measured(report: CompressReport) -> str:
    noise = f", wall/CPU {report.measured_on.noise:.2f}" if report.measured_on is not None else ""
    return f"Baseline and variant interleaved, {report.runs:,} runs each{noise}."


def _result(metrics: Mapping[str, float]) -> str:
    """1.9x faster, 3.7x smaller, drop -0.0002."""
    parts = []
    if "speedup" in metrics:
        parts.append(f"{metrics['speedup']:.1f}x faster")
    if "size_ratio" in metrics:
        parts.append(f"{metrics['size_ratio']:.1f}x smaller")
    if "accuracy_drop" in metrics:
        parts.append(f"drop {gates.figure('accuracy_drop', metrics['accuracy_drop'])}")
    return ", ".join(parts) or words.headline(metrics)


def _compared(variant: str, source: str, metrics: Mapping[str, float]) -> str:
    """int8 is 1.9x faster and 3.7x smaller than fashion-cnn-v1, accuracy +0.0002."""
    parts = []
    if "speedup" in metrics:
        parts.append(f"{metrics['speedup']:.1f}x faster")
    if "size_ratio" in metrics:
        parts.append(f"{metrics['size_ratio']:.1f}x smaller")
    said = f"{variant} is {words.listed(parts)} than {source}" if parts else f"{variant} was made of {source}"
    drop = metrics.get("accuracy_drop")
    if drop is None:
        return said
    return f"{said}, accuracy {'the same' if abs(drop) < SAME else f'{-drop:+.4f}'}"
