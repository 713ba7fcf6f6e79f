import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

import apiserver
from slipway import health
from slipway.decision import Key
from slipway.health import Health
from slipway.queue import Queue

KEY = Key("Dataset", "demo", "digits")
Get = Callable[[str], Awaitable[tuple[int, str]]]


def served(case: Callable[[Health, Queue, Get], Awaitable[None]]) -> None:
    async def go() -> None:
        release = asyncio.Event()

        async def work(key: Key) -> None:
            await release.wait()

        queue = Queue(work, workers=1, jitter=lambda: 0.0)
        queue.start()
        told = Health(queue)
        (port,) = apiserver.free_ports(1)
        runner = await told.start(port, "127.0.0.1")
        async with aiohttp.ClientSession() as session:

            async def get(path: str) -> tuple[int, str]:
                async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                    return answer.status, await answer.text()

            await case(told, queue, get)
        release.set()
        await queue.stop()
        await runner.cleanup()

    asyncio.run(go())


def test_a_replica_is_ready_once_its_cache_is_filled_leading_or_not() -> None:
    async def case(told: Health, queue: Queue, get: Get) -> None:
        assert await get("/readyz") == (503, "reading the cluster's state")
        told.synced = True
        assert await get("/readyz") == (200, "ok, standing by")
        told.leading = True
        assert await get("/readyz") == (200, "ok, leading")

    served(case)


def test_a_pass_that_hangs_makes_it_unhealthy_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LONGEST_PASS", 0.1)

    async def case(told: Health, queue: Queue, get: Get) -> None:
        queue.add(KEY)
        assert (await get("/healthz"))[0] == 200
        await asyncio.sleep(0.2)
        status, text = await get("/healthz")
        assert status == 500
        assert text.startswith("Dataset demo/digits has been in its pass for")

    served(case)


def test_a_loop_that_is_held_up_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LAG_EVERY", 0.02)
    monkeypatch.setattr(health, "LONGEST_LAG", 0.2)

    async def case(told: Health, queue: Queue, get: Get) -> None:
        measuring = asyncio.create_task(told.measure())
        await asyncio.sleep(0.05)
        assert told.faults() == []
        before = asyncio.get_running_loop().time() + 0.3
        while asyncio.get_running_loop().time() < before:
            pass
        await asyncio.sleep(0.01)
        (fault,) = told.faults()
        assert fault.startswith("the event loop woke up 0.")
        measuring.cancel()

    served(case)


def test_figures_are_in_prometheus_form() -> None:
    async def case(told: Health, queue: Queue, get: Get) -> None:
        queue.add(KEY)
        status, text = await get("/metrics")
        assert status == 200
        assert "# TYPE slipway_workqueue_depth gauge" in text

    served(case)
