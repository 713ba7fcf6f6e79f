"""Two candidates for one Lease, on a store in memory, with short times; on a real API server: test_main.py."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from fake_api import START, Store
from slipway import leader
from slipway.adapters.kube import Unavailable
from slipway.leader import Leader, LeaseLost


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader, "LEASE_SECONDS", 1)
    monkeypatch.setattr(leader, "RENEW_DEADLINE", 0.6)
    monkeypatch.setattr(leader, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(leader, "TRY_SECONDS", 0.2)


class Broken(Store):
    """A store whose answers stop on order."""

    broken = False

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        if self.broken:
            raise Unavailable("no answer")
        return await super().get(kind, namespace, name)


def candidate(store: Store, name: str) -> Leader:
    def now() -> datetime:
        return START + timedelta(seconds=asyncio.get_running_loop().time())

    return Leader(store, "slipway-system", "operator", name, now)


def go(case: Callable[[Broken], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(10):
            await case(Broken())

    asyncio.run(limited())


def holder(store: Store) -> str:
    found: str = store.objects["Lease", "slipway-system", "operator"]["spec"]["holderIdentity"]
    return found


def test_a_candidate_waits_while_another_renews() -> None:
    async def case(store: Broken) -> None:
        first, second = candidate(store, "first"), candidate(store, "second")
        await first.acquire()
        holding = asyncio.create_task(first.hold())
        waiting = asyncio.create_task(second.acquire())
        await asyncio.sleep(1.5)  # longer than the Lease
        assert holder(store) == "first"
        assert first.leads
        assert not second.leads
        with pytest.raises(LeaseLost):
            second.require()
        for task in (holding, waiting):
            task.cancel()

    go(case)


def test_a_lease_that_is_not_renewed_goes_to_another_and_its_holder_may_not_write() -> None:
    async def case(store: Broken) -> None:
        first, second = candidate(store, "first"), candidate(store, "second")
        await first.acquire()
        first.require()
        started = asyncio.get_running_loop().time()
        await second.acquire()
        assert asyncio.get_running_loop().time() - started >= 1
        assert holder(store) == "second"
        with pytest.raises(LeaseLost, match="first is not the leader"):
            first.require()
        with pytest.raises(LeaseLost, match="was taken from first"):
            await first.hold()
        assert store.objects["Lease", "slipway-system", "operator"]["spec"]["leaseTransitions"] == 1

    go(case)


def test_a_released_lease_is_taken_at_once() -> None:
    async def case(store: Broken) -> None:
        first, second = candidate(store, "first"), candidate(store, "second")
        await first.acquire()
        await first.release()
        assert holder(store) == ""
        with pytest.raises(LeaseLost):
            first.require()
        started = asyncio.get_running_loop().time()
        await second.acquire()
        assert asyncio.get_running_loop().time() - started < 0.5

    go(case)


def test_a_leader_that_gets_no_answer_stops_writing_before_the_lease_runs_out() -> None:
    async def case(store: Broken) -> None:
        alone = candidate(store, "alone")
        await alone.acquire()
        store.broken = True
        started = asyncio.get_running_loop().time()
        with pytest.raises(LeaseLost, match="alone is not the leader"):
            await alone.hold()
        assert 0.5 < asyncio.get_running_loop().time() - started < 1

    go(case)


def test_a_short_outage_is_lived_through() -> None:
    async def case(store: Broken) -> None:
        alone = candidate(store, "alone")
        await alone.acquire()
        holding = asyncio.create_task(alone.hold())
        store.broken = True
        await asyncio.sleep(0.3)
        store.broken = False
        await asyncio.sleep(0.8)
        assert alone.leads
        assert not holding.done()
        holding.cancel()

    go(case)


def test_of_two_that_take_a_lease_at_once_one_gets_it() -> None:
    async def case(store: Broken) -> None:
        gone = candidate(store, "gone")
        await gone.acquire()
        await gone.release()
        rivals = [candidate(store, name) for name in ("a", "b", "c")]
        tasks = [asyncio.create_task(rival.acquire()) for rival in rivals]
        await asyncio.sleep(0.4)
        assert [rival.leads for rival in rivals].count(True) == 1
        for task in tasks:
            task.cancel()

    go(case)


def test_the_label_is_on_the_leaders_own_pod_only() -> None:
    async def case(store: Broken) -> None:
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "first",
                "namespace": "slipway-system",
                "labels": {"slipway.dev/leader": "true"},
            },
        }
        await store.create(body)

        def labelled() -> bool:
            found = store.objects["Pod", "slipway-system", "first"]["metadata"].get("labels") or {}
            return bool(found.get("slipway.dev/leader") == "true")

        first = candidate(store, "first")
        await first.acquire()
        assert not labelled(), "a label from before a restart of the container goes until the ports are open"
        await first.announce()
        assert labelled()
        await first.release()
        assert not labelled()

    go(case)
