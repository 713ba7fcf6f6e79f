"""Counters of a real Envoy, read as the leader reads them."""

import asyncio
import base64
import contextlib
import struct
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from envoys import Site, arm, fashion, site, upstreams, wall
from slipway.adapters.stats import RouterPorts, Stats, by_name, resolve
from slipway.router.resources import build
from slipway.router.route import Arm, Route
from slipway.router.traffic import Counters

pytestmark = pytest.mark.slow

OLD, NEW = "fashion-aaaaaa", "fashion-bbbbbb"
KEY = "demo/fashion"
REQUEST = service_pb2.ModelInferRequest(model_name="fashion")
FLUSH_S = 1.2
"""Histograms are a second behind the counters."""


class Reader:
    """Stats of a site, read when the test says so."""

    def __init__(self, here: Site) -> None:
        async def addresses() -> list[str]:
            return ["127.0.0.1"]

        ports = RouterPorts(here.stats_port, here.ports.self_test)
        self.here = here
        self.ahead = timedelta(0)
        self.stats = Stats(
            here.ads, addresses, here.certificates.client, lambda: wall() + self.ahead, ports=ports
        )

    async def route(self, *routes: Route) -> None:
        self.stats.update(routes, build(routes, self.here.ports))
        await self.here.route(*routes)
        await self.read()

    async def read(self) -> None:
        await self.stats.round(self.here.session)

    async def test(self) -> None:
        await self.stats.self_tests.run_due(self.here.session, self.stats._tls, ["127.0.0.1"])

    def counted(self, revision: str) -> Counters:
        return self.stats.traffic().counters.get(f"{KEY}/{revision}", Counters())


@contextlib.asynccontextmanager
async def reading(directory: Path) -> AsyncIterator[Reader]:
    async with site(directory) as here:
        yield Reader(here)


def test_what_is_bad_is_counted_in_the_right_revision(tmp_path: Path) -> None:
    async def run() -> None:
        async with reading(tmp_path) as reader, upstreams(OLD, NEW) as (old, new):
            here = reader.here
            await reader.route(fashion(arm(old, 100), arm(new, 0)))
            for status in (200, 200, 400, 404, 500, 503):
                old.status = status
                assert await here.infer() == (status, OLD)
            await here.get("/v2/models/unknown")
            await reader.read()
            assert _counts(reader.counted(OLD)) == (6, 2, 2)
            assert _counts(reader.counted(NEW)) == (0, 0, 0)

            await reader.route(fashion(arm(old, 0), arm(new, 100)))
            async with here.channel() as channel:
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                for code in (
                    grpc.StatusCode.OK,
                    grpc.StatusCode.INTERNAL,
                    grpc.StatusCode.NOT_FOUND,
                    grpc.StatusCode.UNAVAILABLE,
                    grpc.StatusCode.UNKNOWN,
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    grpc.StatusCode.INVALID_ARGUMENT,
                    grpc.StatusCode.CANCELLED,
                ):
                    new.grpc_status = code
                    with contextlib.suppress(grpc.aio.AioRpcError):
                        await stub.ModelInfer(REQUEST)
            await reader.read()
            assert _counts(reader.counted(NEW)) == (7, 5, 1), "cancelled is in no count"
            assert _counts(reader.counted(OLD)) == (6, 2, 2)

            await reader.route(fashion(Arm(NEW, 100)))
            assert await here.infer() == (503, NEW)
            async with here.channel() as channel:
                with pytest.raises(grpc.aio.AioRpcError):
                    await service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(REQUEST)
            await reader.read()
            assert _counts(reader.counted(NEW)) == (9, 7, 1), "Envoy's own answers count"

    asyncio.run(run())


def test_a_client_that_hangs_up_is_no_failure_of_the_revision(tmp_path: Path) -> None:
    async def run() -> None:
        async with reading(tmp_path) as reader, upstreams(OLD) as (old,):
            await reader.route(fashion(arm(old, 100)))
            old.delay = 0.5
            for call in [asyncio.create_task(reader.here.infer()) for _ in range(5)]:
                await asyncio.sleep(0.05)
                call.cancel()
            await asyncio.sleep(0.7)
            await reader.read()
            assert _counts(reader.counted(OLD)) == (0, 0, 0)

    asyncio.run(run())


def test_latencies_fall_into_the_ladder(tmp_path: Path) -> None:
    async def run() -> None:
        async with reading(tmp_path) as reader, upstreams(OLD) as (old,):
            await reader.route(fashion(arm(old, 100)))
            for _ in range(20):
                await reader.here.infer()
            old.delay = 0.3
            for _ in range(5):
                await reader.here.infer()
            await asyncio.sleep(FLUSH_S)
            await reader.read()
            counted = reader.counted(OLD)
            assert counted.measured == counted.total == 25
            assert counted.slower_than(280) == 5
            assert counted.slower_than(510) == 0
            late = counted.percentile(99)
            assert late is not None
            assert 280 < late < 430

    asyncio.run(run())


def test_shares_weights_and_evidence_are_seen_as_acknowledged(tmp_path: Path) -> None:
    async def run() -> None:
        async with reading(tmp_path) as reader, upstreams(OLD, NEW) as (old, new):
            await reader.route(fashion(arm(old, 100), arm(new, 0)))
            for _ in range(10):
                await reader.here.infer()
            await reader.route(fashion(arm(old, 50), arm(new, 50)))
            assert reader.stats.traffic().intervals == {}
            for _ in range(200):
                await reader.here.infer()
            await reader.read()
            traffic = reader.stats.traffic()
            assert traffic.routers == ("router-0",)
            assert traffic.acked == {f"{KEY}/{OLD}": 50, f"{KEY}/{NEW}": 50}
            (interval,) = traffic.intervals[KEY]
            assert sum(counters.total for counters in interval.revisions.values()) == 200
            assert interval.start >= traffic.acked_at[KEY]
            assert 35 < traffic.shares(KEY)[NEW] < 65
            assert traffic.rates[f"{KEY}/{OLD}"].counters.total > 50
            assert traffic.scraped_at is not None

    asyncio.run(run())


def test_counts_go_on_over_a_restart_of_the_router(tmp_path: Path) -> None:
    async def run() -> None:
        async with reading(tmp_path) as reader, upstreams(OLD) as (old,):
            routes = fashion(arm(old, 100))
            await reader.route(routes)
            for _ in range(5):
                await reader.here.infer()
            await asyncio.sleep(2)  # Envoy tells its age in whole seconds
            await reader.read()
            await reader.here.stop_router()
            await reader.read()
            assert reader.stats.traffic().acked == {}, "a ready router that isn't connected holds nothing"
            seen = reader.stats.traffic().scraped_at
            await reader.here.start_router()
            await reader.here.route(routes)
            for _ in range(7):
                assert await reader.here.infer() == (200, OLD)
            await reader.read()
            assert reader.counted(OLD).total == 12
            assert reader.stats.traffic().scraped_at != seen

    asyncio.run(run())


def example(*logits: float, index: int = 2) -> dict[str, object]:
    classes = ["Bag", "Shirt"]

    def tensor(name: str, values: tuple[float, ...], **more: object) -> dict[str, object]:
        data = base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
        return {"name": name, "datatype": "FP32", "shape": [1, len(values)], "data": data, **more}

    return {
        "index": index,
        "inputs": [tensor("image", (0.5, 0.25))],
        "outputs": [tensor("logits", logits, classes=classes)],
    }


def answer(*logits: float) -> dict[str, object]:
    return {"outputs": [{"name": "logits", "datatype": "FP32", "shape": [1, 2], "data": list(logits)}]}


def test_a_revision_that_gives_the_recorded_answer_passes_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with reading(tmp_path) as reader, upstreams(NEW) as (new,):
            new.example, new.answer = example(0.1, 0.9), answer(0.1001, 0.9)
            await reader.route(fashion(arm(new, 0, self_test=True)))
            await reader.test()
            result = reader.stats.traffic().self_tests[f"{KEY}/{NEW}"]
            assert result.passed
            assert result.message == f"{NEW} gives the recorded answer to example 2."
            await reader.test()
            assert new.answered == 1
            await reader.route(fashion(arm(new, 100)))
            assert reader.stats.traffic().self_tests[f"{KEY}/{NEW}"] == result, "kept while it is routed"
            await reader.route()
            assert reader.stats.traffic().self_tests == {}

    asyncio.run(run())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((0.6, 0.4), "answers example 2 with class Bag, recorded Shirt; it gets no traffic."),
        ((0.1, 0.8), "gives logits 0.8, recorded 0.9 (tolerance 0.001) for example 2; it gets no traffic."),
    ],
)
def test_another_answer_fails_and_stands_until_it_is_asked_again(
    tmp_path: Path, given: tuple[float, ...], said: str
) -> None:
    async def run() -> None:
        async with reading(tmp_path) as reader, upstreams(NEW) as (new,):
            new.example, new.answer = example(0.1, 0.9), answer(*given)
            await reader.route(fashion(arm(new, 0, self_test=True)))
            await reader.test()
            result = reader.stats.traffic().self_tests[f"{KEY}/{NEW}"]
            assert (result.passed, result.message) == (False, f"{NEW} {said}")
            new.answer = answer(0.1, 0.9)
            await reader.test()
            assert reader.stats.traffic().self_tests[f"{KEY}/{NEW}"] == result
            reader.stats.self_tests.again(f"{KEY}/{NEW}")
            await reader.test()
            assert reader.stats.traffic().self_tests[f"{KEY}/{NEW}"].passed

    asyncio.run(run())


def test_a_revision_that_cannot_be_asked_has_no_result_at_first_and_then_a_reason(tmp_path: Path) -> None:
    async def run() -> None:
        async with reading(tmp_path) as reader, upstreams(NEW) as (new,):
            await reader.route(fashion(arm(new, 0, self_test=True)))
            await reader.test()
            assert reader.stats.traffic().self_tests == {}
            reader.ahead = timedelta(seconds=31)
            await reader.test()
            result = reader.stats.traffic().self_tests[f"{KEY}/{NEW}"]
            assert not result.passed
            assert result.message == f"{NEW} gives no example: status 503 loading; it gets no traffic."
            new.example, new.answer, new.status = example(0.1, 0.9), answer(0.1, 0.9), 500
            await reader.test()
            message = reader.stats.traffic().self_tests[f"{KEY}/{NEW}"].message
            assert message.startswith(f"{NEW} doesn't answer example 2: status 500 ")
            new.status = 200
            await reader.test()
            assert reader.stats.traffic().self_tests[f"{KEY}/{NEW}"].passed

    asyncio.run(run())


def test_addresses_are_those_of_a_name_and_none_if_there_is_none() -> None:
    assert asyncio.run(resolve("localhost")) in (["127.0.0.1"], ["127.0.0.1", "::1"])
    assert asyncio.run(resolve("nothing.invalid")) == []


def test_a_ready_router_that_is_not_connected_goes_by_its_address() -> None:
    assert by_name(["10.0.0.1"], []) == {"10.0.0.1": "10.0.0.1"}


def _counts(counters: Counters) -> tuple[int, int, int]:
    return counters.total, counters.bad, counters.refused
