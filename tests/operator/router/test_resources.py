"""The route table and clusters against a real Envoy under a real xDS server."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from envoys import CREATED, Site, Upstream, arm, fashion, site, until, upstreams
from slipway.router.message import CLUSTERS, ENDPOINTS, ROUTES
from slipway.router.resources import build
from slipway.router.route import Arm, Endpoint, Route
from slipway.router.tables import CLUSTER_HEADER
from slipway.router.tls import ROUTER_NAME

pytestmark = pytest.mark.slow

OLD, NEW = "fashion-aaaaaa", "fashion-bbbbbb"
REQUEST = service_pb2.ModelInferRequest(model_name="fashion")


def with_two_revisions(directory: Path, use: Callable[[Site, Upstream, Upstream], Awaitable[None]]) -> None:
    async def run() -> None:
        async with site(directory) as here, upstreams(OLD, NEW) as (old, new):
            await use(here, old, new)

    asyncio.run(run())


def test_requests_are_shared_by_weight_and_name_their_revision(tmp_path: Path) -> None:
    async def use(here: Site, old: Upstream, new: Upstream) -> None:
        await here.route(fashion(arm(old, 80), arm(new, 20)))
        answers = [await here.infer() for _ in range(300)]
        assert {status for status, _ in answers} == {200}
        assert 30 <= sum(revision == NEW for _, revision in answers) <= 95
        assert new.answered == sum(revision == NEW for _, revision in answers)

    with_two_revisions(tmp_path, use)


def test_a_weight_holds_for_grpc_as_for_http_and_on_both_ports(tmp_path: Path) -> None:
    async def use(here: Site, old: Upstream, new: Upstream) -> None:
        await here.route(fashion(arm(old, 0), arm(new, 100)))
        for port in (here.ports.http, here.ports.grpc):
            async with here.channel(port) as channel:
                call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(REQUEST)
                assert (await call).id == NEW
                assert ("x-slipway-revision", NEW) in tuple(await call.initial_metadata())

    with_two_revisions(tmp_path, use)


def test_only_infer_ready_and_metadata_of_known_models_are_routed(tmp_path: Path) -> None:
    async def use(here: Site, old: Upstream, new: Upstream) -> None:
        await here.route(fashion(arm(old, 100), hosts=("fashion.example.com",)))
        found = {
            host: (await here.infer(host))[0]
            for host in (
                "fashion.demo",
                "fashion.demo.svc:80",
                "fashion.demo.svc.cluster.local:8000",
                "fashion.example.com",
                "other.demo",
            )
        }
        assert list(found.values()) == [200, 200, 200, 200, 404]
        paths = {
            path: await here.get(path)
            for path in (
                "/v2/models/fashion",
                "/v2/health/ready",
                "/v2/models/fashion/infer",
                "/v2/models/other",
                "/v2/repository/index",
                "/v2/models/fashion/unload",
                "/v2/models/fashion/../../repository/index",
                "/metrics",
                "/",
            )
        }
        assert list(paths.values()) == [200, 200, *[404] * 7], paths
        async with here.channel() as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.ModelConfig(service_pb2.ModelConfigRequest(name="fashion"))
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED

    with_two_revisions(tmp_path, use)


def test_without_a_host_the_path_says_which_deployment(tmp_path: Path) -> None:
    async def use(here: Site, old: Upstream, new: Upstream) -> None:
        await here.route(fashion(arm(old, 100)))
        by_path = "/serve/demo/fashion/v2/models/fashion/infer"
        assert await here.infer("10.0.0.9:30080", by_path) == (200, OLD)
        assert (await here.infer("10.0.0.9", "/serve/demo/other/v2/models/other/infer"))[0] == 404
        assert await here.get("/serve/demo/fashion/v2/models/fashion", "10.0.0.9") == 200

    with_two_revisions(tmp_path, use)


def test_a_deployment_without_weights_and_an_arm_without_endpoints_answer_503(tmp_path: Path) -> None:
    async def use(here: Site, old: Upstream, new: Upstream) -> None:
        await here.route(fashion(arm(old, 0)))
        assert (await here.infer())[0] == 503
        await here.route(fashion(Arm(OLD, 100)))
        assert await here.infer() == (503, OLD)

    with_two_revisions(tmp_path, use)


def test_no_request_fails_while_the_weight_moves_and_endpoints_go(tmp_path: Path) -> None:
    async def use(here: Site, old: Upstream, new: Upstream) -> None:
        await here.route(fashion(arm(old, 100), arm(new, 0)))
        failures: list[Any] = []
        answers = dict.fromkeys((OLD, NEW), 0)
        stopped = False

        async def http_client() -> None:
            while not stopped:
                status, revision = await here.infer()
                if status != 200:
                    failures.append((status, revision))
                answers[revision] += 1
                await asyncio.sleep(0.01)

        async def grpc_client() -> None:
            async with here.channel() as channel:
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                while not stopped:
                    try:
                        await stub.ModelInfer(REQUEST)
                    except grpc.aio.AioRpcError as error:
                        failures.append(error.details())
                    await asyncio.sleep(0.02)

        clients = [asyncio.create_task(http_client()) for _ in range(4)]
        clients.append(asyncio.create_task(grpc_client()))
        for weight in (0, 20, 50, 100):
            await here.route(fashion(arm(old, 100 - weight), arm(new, weight)))
            await asyncio.sleep(0.4)
        await here.route(fashion(Arm(OLD, 0), arm(new, 100)))
        await asyncio.sleep(0.2)
        await old.stop()
        await here.route(fashion(arm(new, 100)))
        await asyncio.sleep(0.4)
        stopped = True
        await asyncio.gather(*clients)
        assert failures == []
        assert answers[OLD] > 20
        assert answers[NEW] > 60

    with_two_revisions(tmp_path, use)


def test_a_dead_pod_costs_no_request_while_another_answers(tmp_path: Path) -> None:
    async def use(here: Site, one: Upstream, two: Upstream) -> None:
        both = Arm(OLD, 100, (one.endpoint, two.endpoint))
        await here.route(fashion(both))
        assert {(await here.infer())[0] for _ in range(20)} == {200}
        await one.stop()
        assert {(await here.infer())[0] for _ in range(50)} == {200}

    with_two_revisions(tmp_path, use)


def test_serving_goes_on_without_a_leader_and_the_next_leader_takes_over(tmp_path: Path) -> None:
    async def use(here: Site, old: Upstream, new: Upstream) -> None:
        await here.route(fashion(arm(old, 100)))
        await here.ads.stop()
        await until(lambda: not here.ads.routers)
        assert {await here.infer() for _ in range(20)} == {(200, OLD)}
        await here.ads.start(here.certificates.server, "127.0.0.1", here.ads_port)
        await here.route(fashion(arm(old, 0), arm(new, 100)))
        assert await here.infer() == (200, NEW)

    with_two_revisions(tmp_path, use)


def test_the_self_test_listener_reaches_a_revision_whatever_its_weight(tmp_path: Path) -> None:
    async def use(here: Site, old: Upstream, new: Upstream) -> None:
        await here.route(fashion(arm(old, 100), arm(new, 0, self_test=True)))
        new.example = {"index": 1}
        url = f"https://127.0.0.1:{here.ports.self_test}"
        tls = here.tls(here.certificates.client)
        headers = {CLUSTER_HEADER: f"demo/fashion/{NEW}"}
        async with here.session.post(
            f"{url}/v2/models/fashion/infer",
            data=b"{}",
            headers=headers,
            ssl=tls,
            server_hostname=ROUTER_NAME,
        ) as response:
            assert (await response.json())["id"] == NEW
        headers = {CLUSTER_HEADER: f"demo/fashion/{NEW}/probe"}
        async with here.session.get(f"{url}/_slipway/example", headers=headers, ssl=tls) as response:
            assert await response.json() == {"index": 1}
        async with here.session.get(
            f"http://127.0.0.1:{here.ports.http}/v2/models/fashion", headers=headers
        ) as response:
            assert response.status == 404, "the public port must not take the header"

    with_two_revisions(tmp_path, use)


@pytest.mark.parametrize("listener", ["self-test", "stats"])
def test_the_operators_listeners_refuse_others(tmp_path: Path, listener: str) -> None:
    async def use(here: Site, old: Upstream, new: Upstream) -> None:
        port = here.ports.self_test if listener == "self-test" else here.stats_port
        url = f"https://127.0.0.1:{port}/stats/prometheus"
        for pair in (None, here.certificates.server):  # none, and one of our authority for another purpose
            with pytest.raises(aiohttp.ClientError):
                async with here.session.get(url, ssl=here.tls(pair)) as response:
                    await response.read()
        if listener == "stats":
            client = here.tls(here.certificates.client)
            async with here.session.get(url, ssl=client) as response:
                assert response.status == 200
            quit_url = f"https://127.0.0.1:{port}/quitquitquit"
            async with here.session.post(quit_url, ssl=client) as response:
                assert response.status == 404

    with_two_revisions(tmp_path, use)


def test_the_router_is_ready_only_once_it_has_routes(tmp_path: Path) -> None:
    async def use(here: Site, old: Upstream, new: Upstream) -> None:
        async with here.session.get(f"http://127.0.0.1:{here.ready_port}/ready") as response:
            assert response.status == 200
        async with here.session.get(f"http://127.0.0.1:{here.ready_port}/stats") as response:
            assert response.status == 404
        await here.stop_router()
        await here.ads.stop()
        await here.start_router()

        async def is_ready() -> bool:
            """Envoy opens its ports, this one too, only once it has all it waits for."""
            try:
                async with here.session.get(f"http://127.0.0.1:{here.ready_port}/ready") as response:
                    return response.status == 200
            except aiohttp.ClientConnectorError:
                return False

        await asyncio.sleep(1)
        assert not await is_ready()
        await here.ads.start(here.certificates.server, "127.0.0.1", here.ads_port)
        async with asyncio.timeout(15):
            while not await is_ready():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)

    with_two_revisions(tmp_path, use)


def test_only_what_changed_gets_a_new_version() -> None:
    before = build([_route("a", 80), _route("b", 100)])
    weights = build([_route("a", 50), _route("b", 100)])
    assert _changed(before.versions, weights.versions) == {ROUTES}
    moved = build([_route("a", 80, Endpoint("10.0.0.2")), _route("b", 100)])
    assert _changed(before.versions, moved.versions) == {ENDPOINTS}
    idle = build([replace(_route("a", 80), arms=(*_route("a", 80).arms, Arm("a-2", 0))), _route("b", 100)])
    assert _changed(before.versions, idle.versions) == {CLUSTERS, ENDPOINTS}
    assert build([_route("b", 100), _route("a", 80)]) == before, "order of deployments doesn't matter"


def test_every_weighted_cluster_exists() -> None:
    resources = build([_route("a", 80), _route("b", 100)])
    assert resources.by_type[CLUSTERS].keys() == resources.by_type[ENDPOINTS].keys()
    assert {f"{key}{end}" for key in resources.weights for end in ("", "/grpc")} == set(
        resources.by_type[CLUSTERS]
    )


def _route(name: str, weight: int, *endpoints: Endpoint) -> Route:
    return Route("demo", name, CREATED, (), (Arm(f"{name}-1", weight, endpoints or (Endpoint("10.0.0.1"),)),))


def _changed(before: Any, after: Any) -> set[str]:
    return {kind for kind in before if before[kind] != after[kind]}
