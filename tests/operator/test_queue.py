import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from slipway.adapters.kube import Conflict, NotFound
from slipway.decision import Key
from slipway.queue import FIRST_BACKOFF, LONGEST_BACKOFF, USUAL_CONFLICTS, Queue, backoff

A, B = Key("Dataset", "demo", "a"), Key("Dataset", "demo", "b")
Work = Callable[[Key], Awaitable[float | None]]


def on_queue(work: Work, then: Callable[[Queue], Awaitable[None]], workers: int = 4) -> None:
    async def go() -> None:
        queue = Queue(work, workers=workers, jitter=lambda: 1.0)
        queue.start()
        try:
            async with asyncio.timeout(10):
                await then(queue)
        finally:
            await queue.stop()

    asyncio.run(go())


def test_a_key_added_often_before_it_runs_runs_once() -> None:
    ran: list[Key] = []

    async def work(key: Key) -> None:
        ran.append(key)

    async def then(queue: Queue) -> None:
        for _ in range(5):
            queue.add(A)
        queue.add(B)
        assert queue.depth == 2
        await asyncio.sleep(0.05)

    on_queue(work, then)
    assert ran == [A, B]


def test_a_key_changed_while_it_runs_runs_once_more_and_never_twice_at_once() -> None:
    running, most, ran = 0, 0, 0
    go_on = asyncio.Event()

    async def work(key: Key) -> None:
        nonlocal running, most, ran
        running += 1
        most = max(most, running)
        await go_on.wait()
        running -= 1
        ran += 1

    async def then(queue: Queue) -> None:
        queue.add(A)
        await asyncio.sleep(0.02)
        for _ in range(3):
            queue.add(A)
        oldest = queue.oldest_running()
        assert oldest is not None
        assert oldest[0] == A
        go_on.set()
        await asyncio.sleep(0.05)

    on_queue(work, then)
    assert (most, ran) == (1, 2)


def test_different_keys_run_side_by_side() -> None:
    both = asyncio.Barrier(2)

    async def work(key: Key) -> None:
        await both.wait()

    async def then(queue: Queue) -> None:
        queue.add(A)
        queue.add(B)
        await asyncio.sleep(0.05)
        assert queue.oldest_running() is None

    on_queue(work, then)


def test_a_failed_key_is_tried_again_after_growing_pauses() -> None:
    times: list[float] = []

    async def work(key: Key) -> None:
        times.append(asyncio.get_running_loop().time())
        if len(times) < 3:
            raise RuntimeError("not yet")

    async def then(queue: Queue) -> None:
        queue.add(A)
        await asyncio.sleep(1)

    on_queue(work, then)
    first, second = times[1] - times[0], times[2] - times[1]
    assert len(times) == 3
    assert FIRST_BACKOFF <= first < 1.5 * FIRST_BACKOFF
    assert 2 * FIRST_BACKOFF <= second < 3 * FIRST_BACKOFF


def test_back_off_doubles_up_to_a_limit_and_jitter_takes_at_most_half() -> None:
    assert [backoff(n, 1.0) for n in (1, 2, 3)] == [FIRST_BACKOFF, 2 * FIRST_BACKOFF, 4 * FIRST_BACKOFF]
    assert backoff(1, 0.0) == FIRST_BACKOFF / 2
    assert backoff(10_000, 1.0) == LONGEST_BACKOFF


def test_a_pass_says_when_to_look_again() -> None:
    ran = 0

    async def work(key: Key) -> float | None:
        nonlocal ran
        ran += 1
        return 0.05 if ran == 1 else None

    async def then(queue: Queue) -> None:
        queue.add(A)
        await asyncio.sleep(0.02)
        assert ran == 1
        await asyncio.sleep(0.1)

    on_queue(work, then)
    assert ran == 2


def test_a_run_before_the_set_time_makes_that_time_void() -> None:
    ran = 0

    async def work(key: Key) -> float | None:
        nonlocal ran
        ran += 1
        return 0.08 if ran == 1 else None

    async def then(queue: Queue) -> None:
        queue.add(A)
        await asyncio.sleep(0.02)
        queue.add(A)  # an event: looked at now, and it says that nothing is due any more
        await asyncio.sleep(0.15)

    on_queue(work, then)
    assert ran == 2


def test_a_new_time_replaces_the_one_before() -> None:
    times: list[float] = []

    async def work(key: Key) -> None:
        times.append(asyncio.get_running_loop().time())

    async def then(queue: Queue) -> None:
        started = asyncio.get_running_loop().time()
        queue.add_in(A, 0.02)
        queue.add_in(A, 0.1)
        await asyncio.sleep(0.2)
        assert [round(time - started, 1) for time in times] == [0.1]

    on_queue(work, then)


def test_stopping_lets_the_pass_under_way_end_and_starts_no_other() -> None:
    ended: list[Key] = []

    async def work(key: Key) -> None:
        await asyncio.sleep(0.1)
        ended.append(key)

    async def then(queue: Queue) -> None:
        queue.add(A)
        queue.add(B)
        await asyncio.sleep(0.02)
        queue.add(A)

    on_queue(work, then, workers=1)
    assert ended == [A]


def test_times_replaced_over_and_over_take_no_room() -> None:
    async def work(key: Key) -> None:
        raise AssertionError("nothing is due")

    async def then(queue: Queue) -> None:
        for _ in range(5000):
            queue.add_in(A, 3600)
        assert len(queue._heap) <= 1001

    on_queue(work, then)


@pytest.mark.parametrize("error", [Conflict("the object has been modified"), NotFound("it is gone")])
def test_a_write_that_comes_too_late_is_an_error_only_when_it_goes_on(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(key: Key) -> None:
        raise error

    async def then(queue: Queue) -> None:
        queue.add(A)
        while len(caplog.records) < USUAL_CONFLICTS + 1:  # noqa: ASYNC110  (told by the log alone)
            await asyncio.sleep(0.02)

    with caplog.at_level(logging.INFO, "slipway.queue"):
        on_queue(work, then)

    assert [record.levelno for record in caplog.records[: USUAL_CONFLICTS + 1]] == [
        *[logging.INFO] * USUAL_CONFLICTS,
        logging.ERROR,
    ]
