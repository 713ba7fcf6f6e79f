"""ModelVersion: verified once, judged by the gates it was born with, kept while something uses it. Pure.

    Pending --verified, gates passed--> Ready
       |  \\--verified, a gate missed--> Rejected
       |---the bytes are wrong---------> Failed
       \\--store away, pod lost--> Pending (next try)

The spec never changes, so the three ends are final; afterwards only its users are kept up to date.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from slipway import conditions, gates
from slipway.api import ModelVersion, Reason
from slipway.api.model_version import Examples, ModelVersionStatus, Signature, Tensor, Use
from slipway.api.units import size
from slipway.conditions import State, Work
from slipway.contract.report import VerifyReport
from slipway.decision import Decision, Event
from slipway.kinds import attempts, retry, words
from slipway.kinds.attempts import Attempt, Failure
from slipway.kinds.model_version import objects
from slipway.kinds.statuses import changed

RESTARTS = 3
"""Tries after a fault that is nobody's in particular (out of memory, no report)."""
ENDS = ("Ready", "Rejected", "Failed")


@dataclass(frozen=True)
class World:
    now: datetime
    version: ModelVersion
    attempts: tuple[Attempt, ...]
    used_by: tuple[Use, ...]
    image: str

    @property
    def status(self) -> ModelVersionStatus:
        return self.version.status


def decide(world: World) -> Decision:
    if world.version.metadata.deletion_timestamp is not None:
        return _leave(world)
    if world.status.phase in ENDS:
        return _keep(world)
    if not world.attempts:
        return _verify(world, retry.remembered(world.status) + 1)
    last = world.attempts[-1]
    if last.under_way:
        return _wait(world, last)
    if isinstance(last.report, VerifyReport):
        return _judge(world, last, last.report)
    return _failed(world, last)


def _leave(world: World) -> Decision:
    if not world.used_by:
        return Decision(finalizer=False)
    users = words.listed([_user(use) for use in world.used_by])
    status = changed(
        world.status,
        {
            "summary": f"Being deleted; waits until it isn't used by {users}.",
            "used_by": list(world.used_by),
        },
    )
    return Decision(status=status.dump())


def _keep(world: World) -> Decision:
    status = changed(
        world.status,
        {
            "observed_generation": world.version.metadata.generation,
            "used_by": list(world.used_by),
        },
    )
    if status.phase == "Ready":
        status = changed(status, {"summary": _summary(world, status)})
    return Decision(status=status.dump(), finalizer=bool(world.used_by))


def _verify(world: World, attempt: int) -> Decision:
    message = "Waiting for its pod to start."
    return Decision(
        create=objects.verify(world.version, attempt, world.image),
        status=_pending(world, Reason.STARTING, message, attempt).dump(),
        finalizer=bool(world.used_by),
        delete=retry.obsolete(world.attempts),
    )


def _wait(world: World, last: Attempt) -> Decision:
    held = attempts.held(last)
    reason, message = held or (Reason.VERIFYING, "Reading and loading it.")
    return Decision(
        status=_pending(world, reason, message, last.number).dump(), finalizer=bool(world.used_by)
    )


def _failed(world: World, last: Attempt) -> Decision:
    failure = last.failure
    assert failure is not None
    following = retry.following(world.attempts, most=RESTARTS, last=retry.remembered(world.status))
    if following is None:
        return _fail(world, last, failure)
    wait = following.due_in(world.now)
    if wait == 0:
        return _verify(world, following.number)
    message = retry.said(failure.message, last.number, following)
    status = _pending(world, failure.reason, message, last.number)
    return Decision(status=status.dump(), again_in=wait, finalizer=bool(world.used_by))


def _judge(world: World, last: Attempt, report: VerifyReport) -> Decision:
    spec = world.version.spec
    missed = gates.missed_rows(spec.gates)
    verified = State("Verified", "True", *_verified(world, report))
    status = ModelVersionStatus(
        attempt=last.number,
        completion_time=last.finished,
        result=words.headline(spec.evaluation.metrics if spec.evaluation is not None else {}),
        # What the spec says already isn't said again.
        digest=report.digest if spec.digest is None else None,
        storage_uri=report.storage_uri if report.storage_uri != spec.storage_uri else None,
        size=size(report.size_bytes),
        signature=_signature(report) if spec.signature is None else None,
        examples=Examples.model_validate(report.examples.model_dump())
        if report.examples is not None
        else None,
        used_by=list(world.used_by),
    )
    if missed:
        message = gates.missed(missed)
        summary = f"{gates.explained(missed[0])}; no alias or deployment takes it."
        judged = State("GatesPassed", "False", Reason.GATE_MISSED, message)
        ready = State("Ready", "False", Reason.GATE_MISSED, message)
        return _end(world, status, "Rejected", summary, (verified, judged, ready), "Stalled")
    judged = State("GatesPassed", "True", Reason.NO_GATES)
    if spec.gates:
        judged = State("GatesPassed", "True", Reason.ALL_PASSED, gates.counted(spec.gates))
    ready = State("Ready", "True", Reason.USABLE)
    return _end(world, status, "Ready", _summary(world, status), (verified, judged, ready), "Done")


def _fail(world: World, last: Attempt, failure: Failure) -> Decision:
    message = f"{failure.message.rstrip('. ')}."
    status = ModelVersionStatus(
        attempt=last.number,
        completion_time=last.finished,
        result=failure.reason.value,
        used_by=list(world.used_by),
    )
    states = (
        State("Verified", "False", failure.reason, message),
        State("GatesPassed", "Unknown", Reason.NOT_EVALUATED),
        State("Ready", "False", failure.reason, message),
    )
    return _end(world, status, "Failed", message, states, "Stalled")


def _end(
    world: World,
    status: ModelVersionStatus,
    phase: Literal["Ready", "Rejected", "Failed"],
    summary: str,
    states: tuple[State, ...],
    work: Work,
) -> Decision:
    ready = states[-1]
    changes = {
        "observed_generation": world.version.metadata.generation,
        "phase": phase,
        "summary": summary,
        "conditions": conditions.of(world.version, world.now, states, work),
    }
    event = Event("Normal" if phase == "Ready" else "Warning", ready.reason, summary)
    found = changed(status, changes)
    return Decision(status=found.dump(), finalizer=bool(world.used_by), events=(event,))


# --- what is said ---


def _pending(world: World, reason: Reason, message: str, attempt: int) -> ModelVersionStatus:
    states = (
        State("Verified", "Unknown", reason, message),
        State("GatesPassed", "Unknown", Reason.NOT_EVALUATED),
        State("Ready", "False", reason, message),
    )
    return ModelVersionStatus(
        observed_generation=world.version.metadata.generation,
        phase="Pending",
        summary=message,
        attempt=attempt,
        used_by=list(world.used_by),
        conditions=conditions.of(world.version, world.now, states, "Reconciling"),
    )


def _verified(world: World, report: VerifyReport) -> tuple[Reason, str]:
    what = f"{words.some(report.files, 'file')}, {words.short(report.digest or '')}"
    if world.version.spec.digest is not None:
        return Reason.DIGEST_MATCHES, f"{what}."
    return Reason.DIGEST_COMPUTED, f"{what}; loads in {report.runtime or 'the runtime'}."


def _summary(world: World, status: ModelVersionStatus) -> str:
    """int8 ONNX of fashion-cnn-v1; accuracy 0.9062; 3 of 3 gates passed; serves in ModelDeployment fashion."""
    spec = world.version.spec
    metrics = spec.evaluation.metrics if spec.evaluation is not None else {}
    parts = [_origin(world, status)]
    if metrics:
        parts.append(words.headline(metrics))
    if spec.digest is None:
        parts.append(
            "digest and signature read from the file"
            if spec.signature is None
            else "digest read from the file"
        )
    parts.append(gates.counted(spec.gates).removesuffix(".") if spec.gates else "no gates")
    serving = [use.name for use in world.used_by if use.kind == "ModelDeployment"]
    if serving:
        noun = "ModelDeployment" if len(serving) == 1 else "ModelDeployments"
        parts.append(f"serves in {noun} {words.listed(serving)}")
    return f"{'; '.join(parts)}."


def _origin(world: World, status: ModelVersionStatus) -> str:
    spec = world.version.spec
    lineage = spec.lineage
    if lineage is not None and lineage.parent is not None:
        passes = [name.removeprefix("passes.") for name in lineage.parameters if name.startswith("passes.")]
        return f"{' '.join([*passes, spec.format])} of {lineage.parent.name}"
    if lineage is not None and lineage.dataset is not None:
        return f"{spec.format} trained on {lineage.dataset.name}"
    signature = spec.signature or status.signature
    takes = (
        f", {_tensors(signature.inputs)} -> {_tensors(signature.outputs)}" if signature is not None else ""
    )
    return f"{spec.format}, {status.size}{takes}"


def _tensors(tensors: Sequence[Tensor]) -> str:
    return ", ".join(f"{tensor.name} {tensor.datatype} {tensor.shape}" for tensor in tensors)


def _signature(report: VerifyReport) -> Signature | None:
    if report.signature is None:
        return None
    return Signature.model_validate(report.signature.model_dump(exclude_none=True))


def _user(use: Use) -> str:
    return (
        f"alias {use.alias} of {use.kind} {use.name}" if use.alias is not None else f"{use.kind} {use.name}"
    )
