"""Conditions of a status: merged so that lastTransitionTime tells when a state began. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from slipway.api.meta import Condition, Resource
from slipway.api.reasons import Reason

Work = Literal["Reconciling", "Stalled", "Done"]
"""As kstatus sees it: under way or waiting; ended badly, until someone acts; nothing left to do."""


class State(NamedTuple):
    """One wanted condition."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: Reason
    message: str = ""


def merge(
    old: Sequence[Condition], wanted: Iterable[State], now: datetime, generation: int
) -> list[Condition]:
    """The wanted conditions in their order; one that keeps its status keeps its lastTransitionTime.

    A condition that isn't wanted any more is left out.
    """
    before = {condition.type: condition for condition in old}
    merged = []
    for state in wanted:
        known = before.get(state.type)
        since = known.last_transition_time if known is not None and known.status == state.status else None
        merged.append(
            Condition(
                type=state.type,
                status=state.status,
                reason=state.reason.value,
                message=state.message,
                observed_generation=generation,
                last_transition_time=since or now,
            )
        )
    return merged


def kstatus(work: Work, reason: Reason, message: str = "") -> tuple[State, State]:
    """Reconciling and Stalled; the message is said by the one that holds."""
    reconciling, stalled = work == "Reconciling", work == "Stalled"
    return (
        State("Reconciling", "True" if reconciling else "False", reason, message if reconciling else ""),
        State("Stalled", "True" if stalled else "False", reason, message if stalled else ""),
    )


def of(
    resource: Resource,
    now: datetime,
    states: Sequence[State],
    work: Work,
    cause: tuple[Reason, str] | None = None,
) -> list[Condition]:
    """All conditions of an object: its states, then the pair of kstatus for the cause (left out: the last state's)."""
    reason, message = cause or (states[-1].reason, states[-1].message)
    wanted = (*states, *kstatus(work, reason, message))
    return merge(resource.status.conditions, wanted, now, resource.metadata.generation)
