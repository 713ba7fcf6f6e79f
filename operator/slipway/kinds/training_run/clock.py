"""Deadlines of a run: active time over attempts and suspensions, and how long pods may take to start. Pure.

status.activeTime is the ledger of the time before the present stretch. It covers all attempts before
status.attempt and, once the run is said to be Suspended or queued, the present attempt up to then. So a pass that
is repeated after a crash adds nothing twice.
"""

from typing import TYPE_CHECKING

from slipway.api.reasons import Reason
from slipway.api.units import duration, seconds
from slipway.kinds import words
from slipway.kinds.attempts import Attempt
from slipway.kinds.training_run.ended import Ended

if TYPE_CHECKING:
    from slipway.kinds.training_run.decide import World


def ledger(world: "World") -> float:
    """Active seconds before the present stretch."""
    status = world.status
    total = seconds(status.active_time) if status.active_time is not None else 0.0
    if not world.attempts:
        return total
    last, told = world.attempts[-1], status.attempt or 0
    total += sum(_length(attempt) for attempt in world.attempts[:-1] if attempt.number >= max(told, 1))
    if last.suspended and status.phase == "Running" and told == last.number and last.admitted is not None:
        total += (world.now - last.admitted).total_seconds()
    return total


def active(world: "World") -> float:
    """Active seconds in all."""
    total = ledger(world)
    last = world.attempts[-1] if world.attempts else None
    if last is None or last.suspended:
        return total
    if not last.under_way:
        return total + _length(last)
    return total + (_since_admitted(world, last) or 0.0)


def active_left(world: "World") -> float | None:
    """Seconds until activeDeadline; None: there is none, or time doesn't count now."""
    limit = world.run.spec.active_deadline
    if limit is None or not world.attempts or world.attempts[-1].suspended:
        return None
    return seconds(limit) - active(world)


def over_active_deadline(world: "World") -> Ended | None:
    left = active_left(world)
    if left is None or left > 0:
        return None
    limit = world.run.spec.active_deadline
    message = f"Active for {duration(active(world))}, activeDeadline is {limit}"
    return Ended("Deadline", Reason.DEADLINE_EXCEEDED, message, world.now)


def start_left(world: "World", last: Attempt) -> float:
    """Seconds until startDeadline ends a run whose pods don't start."""
    return seconds(world.run.spec.start_deadline) - (_since_admitted(world, last) or 0.0)


def countdown(world: "World", left: float) -> str:
    return f"startDeadline ends the run in {words.about(left)}."


def not_started(world: "World", last: Attempt) -> Ended:
    limit = world.run.spec.start_deadline
    if last.blocked is None:
        message = f"No pod has started within startDeadline ({limit})"
        return Ended("Scheduling", Reason.START_DEADLINE_EXCEEDED, message, world.now)
    message = f"{last.blocked.message} The pods did not start within startDeadline ({limit})"
    return Ended(last.blocked.class_, last.blocked.reason, message, world.now)


def _since_admitted(world: "World", last: Attempt) -> float | None:
    """Seconds; None between a Job's making or resuming and Kubernetes' taking it up. Its creation doesn't count:
    after a suspension that may be days ago."""
    return (world.now - last.admitted).total_seconds() if last.admitted is not None else None


def _length(attempt: Attempt) -> float:
    """Active seconds of an attempt that has ended."""
    if attempt.finished is None:
        return 0.0
    return max(0.0, (attempt.finished - (attempt.admitted or attempt.created)).total_seconds())
