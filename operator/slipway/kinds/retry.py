"""Whether and when a failed attempt is followed by another. Pure.

class of the failure           again?                            counts
UserError, Data                no: it would fail the same way    -
Preempted                      at once                           no: it was for others' sake
Store                          with back-off, without end        no: it comes back when the store does
all others                     with back-off                     yes
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from slipway.api import Condition
from slipway.api.units import duration
from slipway.decision import Target
from slipway.kinds.attempts import Attempt

FINAL = ("UserError", "Data", "Deadline")
UNCOUNTED = ("Preempted", "Store")
REFUSALS = ("NameTaken", "ChildInvalid", "ChildForbidden")
"""Reasons that the engine gives to Reconciling or Stalled."""
FIRST_DELAY = 5.0
LONGEST_DELAY = 300.0


class Remembering(Protocol):
    """The status of a kind with attempts."""

    @property
    def attempt(self) -> int | None: ...
    @property
    def conditions(self) -> list[Condition]: ...


@dataclass(frozen=True)
class Next:
    """The attempt that follows."""

    number: int
    delay: float
    at: datetime

    def due_in(self, now: datetime) -> float:
        """Seconds; 0 when it is due."""
        return max(0.0, (self.at - now) / timedelta(seconds=1))


def following(attempts: Sequence[Attempt], *, most: int, restarts: int = 0, last: int = 0) -> Next | None:
    """What follows the last of the attempts, which failed; None: nothing, it is final.

    most: restarts allowed; restarts and last: what status remembers, where Jobs may be gone.
    """
    failed = attempts[-1]
    failure = failed.failure
    assert failure is not None
    if failure.class_ in FINAL:
        return None
    if failure.class_ not in UNCOUNTED and counted(attempts, restarts) > most:
        return None
    # A pod that is preempted again and again doesn't come back faster and faster either.
    in_row = _in_row(attempts)
    delay = delay_after(failed.number if failure.class_ == "Store" else in_row)
    if failure.class_ == "Preempted" and in_row == 1:
        delay = 0.0
    return Next(max(failed.number, last) + 1, delay, failure.time + timedelta(seconds=delay))


def counted(attempts: Sequence[Attempt], restarts: int = 0) -> int:
    """Failures that count towards the restarts allowed."""
    seen = sum(a.failure is not None and a.failure.class_ not in UNCOUNTED for a in attempts)
    return max(seen, restarts)


def remembered(status: Remembering) -> int:
    """The last attempt that status knows to have been made, also where its Job is gone by now. One whose Job or
    ConfigMap the engine could not create (the name is taken, the API server refuses it) was not."""
    refused = any(c.status == "True" and c.reason in REFUSALS for c in status.conditions)
    return (status.attempt or 0) - (1 if refused and status.attempt else 0)


def delay_after(tries: int) -> float:
    """Seconds to wait after so many tries: 5, 10, 20, 40, ... 300."""
    return float(min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(tries - 1, 10)))


def said(message: str, tries: int, following: Next) -> str:
    """Can't reach http://store:8333 (connection refused), tried 4 times; next try in 40s.

    The whole delay, not what is left of it: the sentence stays as it is until the next try.
    """
    times = "once" if tries == 1 else "twice" if tries == 2 else f"{tries} times"
    # The pod says how often it tried by itself; people are told how many pods did.
    cause = re.sub(r", tried \d+ times$", "", message.rstrip(". "))
    return f"{cause}, tried {times}; next try in {duration(following.delay)}."


def obsolete(attempts: Sequence[Attempt]) -> tuple[Target, ...]:
    """Jobs that say nothing any more: uncounted failures before the last two attempts."""
    return tuple(
        attempt.job
        for attempt in attempts[:-2]
        if attempt.failure is not None and attempt.failure.class_ in UNCOUNTED
    )


def _in_row(attempts: Sequence[Attempt]) -> int:
    count = 0
    last = attempts[-1].failure
    for attempt in reversed(attempts):
        if last is None or attempt.failure is None or attempt.failure.class_ != last.class_:
            break
        count += 1
    return count
