from datetime import timedelta

import pytest

import make
from slipway.api.reasons import Reason
from slipway.api.training_run import FailureClass
from slipway.decision import Target
from slipway.kinds import retry
from slipway.kinds.attempts import Attempt, Failure


def failed(*classes: FailureClass) -> list[Attempt]:
    return [
        Attempt(
            number=number,
            job=Target("batch/v1", "Job", "demo", f"run-{number}", f"uid-{number}"),
            image="image",
            suspended=False,
            queue=None,
            created=make.at(number),
            failure=Failure(class_, Reason.INTERNAL_ERROR, "It failed.", make.at(number)),
        )
        for number, class_ in enumerate(classes, 1)
    ]


def test_delays_double_up_to_five_minutes() -> None:
    assert [retry.delay_after(tries) for tries in (1, 2, 3, 4, 7, 8, 1000)] == [5, 10, 20, 40, 300, 300, 300]


def test_restarts_end_after_as_many_as_are_allowed() -> None:
    assert retry.following(failed("Internal", "Hang"), most=2) is not None
    assert retry.following(failed("Internal", "Hang", "Internal"), most=2) is None


def test_preemption_and_a_lost_store_never_use_them_up() -> None:
    found = retry.following(failed("Preempted", "Store", "Preempted", "Internal"), most=1)
    assert found is not None
    assert found.number == 5


def test_the_first_preemption_is_followed_at_once_and_a_row_of_them_is_not() -> None:
    first = retry.following(failed("Preempted"), most=0)
    third = retry.following(failed("Preempted", "Preempted", "Preempted"), most=0)
    assert first is not None
    assert third is not None
    assert (first.delay, third.delay) == (0, 20)


@pytest.mark.parametrize("class_", ["UserError", "Data", "Deadline"])
def test_what_would_fail_the_same_way_is_not_tried_again(class_: FailureClass) -> None:
    assert retry.following(failed(class_), most=9) is None


def test_a_next_attempt_has_a_number_of_its_own_even_if_jobs_are_gone() -> None:
    found = retry.following(failed("Internal"), most=9, last=7)
    assert found is not None
    assert found.number == 8


def test_it_is_due_when_its_delay_is_over() -> None:
    found = retry.following(failed("Internal"), most=9)
    assert found is not None
    assert found.due_in(make.at(1) + timedelta(seconds=2)) == 3
    assert found.due_in(make.at(60)) == 0


def test_only_uncounted_failures_before_the_last_two_are_obsolete() -> None:
    tried = failed("Preempted", "Internal", "Store", "Preempted", "Preempted")
    assert [target.name for target in retry.obsolete(tried)] == ["run-1", "run-3"]


@pytest.mark.parametrize(
    ("tries", "said"),
    [(1, "once"), (2, "twice"), (4, "4 times")],
)
def test_the_pod_s_own_tries_are_not_told_beside_those_of_the_operator(tries: int, said: str) -> None:
    following = retry.Next(2, 40, make.at(0))
    message = retry.said("Can't reach the store (timeout), tried 3 times.", tries, following)
    assert message == f"Can't reach the store (timeout), tried {said}; next try in 40s."
