"""The xDS server with a real Envoy: acknowledgements, refusals, who is connected."""

import asyncio
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from envoy.service.discovery.v3 import ads_pb2_grpc
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest

from envoys import Site, arm, fashion, site, until, upstreams, wall
from slipway.adapters import certificates
from slipway.adapters.certificates import Pair
from slipway.router.message import CLUSTERS, ROUTES, Packed, packed
from slipway.router.resources import Resources, build
from slipway.router.tls import LEADER_NAME

pytestmark = pytest.mark.slow

ONE, TWO = "fashion-aaaaaa", "fashion-bbbbbb"


def broken(resources: Resources) -> Resources:
    """The same with a route table that no Envoy takes: a domain given twice."""
    twice = [{"name": name, "domains": ["same.example.com"], "routes": []} for name in ("a", "b")]
    table = packed(ROUTES, {"name": "public", "virtual_hosts": twice})
    tables: dict[str, Packed] = {**resources.by_type[ROUTES], "public": table}
    return replace(
        resources,
        by_type={**resources.by_type, ROUTES: tables},
        versions={**resources.versions, ROUTES: "broken"},
    )


def test_a_weight_is_acknowledged_by_the_router_and_whose_it_is_is_told(tmp_path: Path) -> None:
    async def run() -> None:
        async with site(tmp_path) as here, upstreams(ONE, TWO) as (one, two):
            version = await here.route(fashion(arm(one, 80), arm(two, 20)))
            (router,) = here.ads.routers
            assert (router.name, router.address, router.routes) == ("router-0", "127.0.0.1", version)
            assert router.weights == {f"demo/fashion/{ONE}": 80, f"demo/fashion/{TWO}": 20}
            assert router.acked_at is not None
            assert router.since <= router.acked_at
            assert here.changes[-1] == {"demo/fashion"}
            assert not here.ads.acknowledged(version, ["router-0", "router-1"])
            assert not here.ads.acknowledged(version, [])

    asyncio.run(run())


def test_a_refusal_keeps_the_old_routes_and_says_why(tmp_path: Path) -> None:
    async def run() -> None:
        async with site(tmp_path) as here, upstreams(ONE) as (one,):
            held = await here.route(fashion(arm(one, 100)))
            here.ads.update(broken(build([fashion(arm(one, 50))], here.ports)))
            (nack,) = await until(lambda: here.ads.nacks)
            assert (nack.router, nack.version) == ("router-0", "broken")
            assert "same.example.com" in nack.message
            assert here.ads.routers[0].routes != "broken"
            assert here.ads.routers[0].weights == {f"demo/fashion/{ONE}": 100}
            assert await here.infer() == (200, ONE)
            assert await here.route(fashion(arm(one, 100))) == held
            assert here.ads.nacks == ()

    asyncio.run(run())


def test_changes_at_once_are_one_push(tmp_path: Path) -> None:
    async def run() -> None:
        async with site(tmp_path) as here, upstreams(ONE, TWO) as (one, two):
            await here.route(fashion(arm(one, 100), arm(two, 0)))
            before = len(here.changes)
            for weight in range(1, 50):
                here.ads.update(build([fashion(arm(one, 100 - weight), arm(two, weight))], here.ports))
            await here.route(fashion(arm(one, 50), arm(two, 50)))
            assert len(here.changes) == before + 1

    asyncio.run(run())


def test_a_router_that_leaves_is_no_longer_connected(tmp_path: Path) -> None:
    async def run() -> None:
        async with site(tmp_path) as here, upstreams(ONE) as (one,):
            await here.route(fashion(arm(one, 100)))
            here.changes.clear()
            await here.stop_router()
            await until(lambda: not here.ads.routers)
            assert here.changes == [{"demo/fashion"}]

    asyncio.run(run())


def test_new_certificates_are_taken_up_without_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        async with site(tmp_path) as here, upstreams(ONE) as (one,):
            await here.route(fashion(arm(one, 100)))
            here.secrets.held.clear()
            kept = await certificates.keep(here.secrets.load, here.secrets.save, ["other.svc"], wall())
            assert kept.authorities != here.certificates.authorities
            here.write_router_secret()
            await asyncio.sleep(0.5)
            await here.ads.stop()
            await here.ads.start(kept.server, "127.0.0.1", here.ads_port)
            await until(lambda: here.ads.routers, 20)
            url = f"https://127.0.0.1:{here.stats_port}/stats/prometheus"
            here.certificates = kept
            async with here.session.get(url, ssl=here.tls(kept.client)) as response:
                assert response.status == 200

    asyncio.run(run())


@pytest.mark.parametrize("who", ["nobody", "the operator"])
def test_only_a_router_gets_the_configuration(tmp_path: Path, who: str) -> None:
    async def run() -> None:
        async with site(tmp_path) as here:
            pair = here.certificates.client if who == "the operator" else None
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await ask(here, pair)
            wanted = grpc.StatusCode.PERMISSION_DENIED if pair else grpc.StatusCode.UNAVAILABLE
            assert refused.value.code() is wanted

    asyncio.run(run())


async def ask(here: Site, pair: Pair | None) -> None:
    credentials = grpc.ssl_channel_credentials(
        here.certificates.authorities, pair and pair.key, pair and pair.certificate
    )
    options = [("grpc.ssl_target_name_override", LEADER_NAME)]
    async with grpc.aio.secure_channel(f"127.0.0.1:{here.ads_port}", credentials, options) as channel:
        stream = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).StreamAggregatedResources()
        await stream.write(DiscoveryRequest(type_url=CLUSTERS))
        async for _ in stream:
            return
        raise AssertionError("the stream ended without an error")
