"""The leader's ports with a real API server's Secrets and keys, asked as a router asks them."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy.service.discovery.v3 import ads_pb2_grpc
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest

import apiserver
import make
from cluster import PLATFORM
from slipway import ports
from slipway.adapters import kube
from slipway.adapters.certificates import ROUTER_SECRET
from slipway.adapters.kube import Kube, Unavailable
from slipway.cache import Cache
from slipway.decision import Key
from slipway.engine import Engine
from slipway.events import Recorder
from slipway.ports import Ports
from slipway.queue import Queue
from slipway.router.message import ROUTES
from slipway.router.tls import LEADER_NAME
from slipway.services import Runtime
from slipway.settings import Settings

NAMESPACE = "default"


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  (certificates are checked by the real clock)


class Leader:
    """What __main__ hands to the ports, without the watches and the workers."""

    def __init__(self, api: Kube) -> None:
        ads, progress = apiserver.free_ports(2)
        platform = replace(PLATFORM, release_namespace=NAMESPACE, progress_ca="")
        self.settings = Settings(
            platform=platform, pod_name="leader", pod_uid=None, ads_port=ads, progress_port=progress,
            envoy_hosts="localhost", router_hosts={"demo": ("example.com",)},
        )  # fmt: skip

        self.woken: asyncio.Queue[Key] = asyncio.Queue()

        async def work(key: Key) -> float | None:
            self.woken.put_nowait(key)
            return None

        self.queue = Queue(work, workers=1, jitter=lambda: 0.5)
        self.engine = Engine(
            api, Cache(), (), {}, platform, Recorder(api, "leader", now), now=now, wake=self.queue.add
        )
        self.ports = Ports(Runtime(self.settings, api, self.engine, self.queue, now))
        self.api = api


@asynccontextmanager
async def leading(real_api: Path) -> AsyncIterator[Leader]:
    api = await kube.connect(str(real_api))
    leader = Leader(api)
    await leader.ports.start()
    try:
        yield leader
    finally:
        await leader.ports.stop()
        await api.close()


async def secret(api: Kube, name: str) -> dict[str, bytes]:
    data = (await api.get("Secret", NAMESPACE, name))["data"]
    return {key: base64.b64decode(value) for key, value in data.items()}


class Router:
    """A router's stream of route tables, with the certificate that its pod mounts."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def table(self) -> bytes:
        """The next route table; it is acknowledged."""
        response = await asyncio.wait_for(self._stream.read(), 10)
        acknowledgement = DiscoveryRequest(
            type_url=ROUTES, version_info=response.version_info, response_nonce=response.nonce
        )
        await self._stream.write(acknowledgement)
        return b"".join(one.value for one in response.resources)


@asynccontextmanager
async def router(leader: Leader) -> AsyncIterator[Router]:
    mounted = await secret(leader.api, ROUTER_SECRET)
    credentials = grpc.ssl_channel_credentials(mounted["ca.crt"], mounted["tls.key"], mounted["tls.crt"])
    options = [("grpc.ssl_target_name_override", LEADER_NAME)]
    place = f"127.0.0.1:{leader.settings.ads_port}"
    async with grpc.aio.secure_channel(place, credentials, options) as channel:
        stream = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).StreamAggregatedResources()
        await stream.write(DiscoveryRequest(type_url=ROUTES, node={"id": "router-0"}))
        yield Router(stream)
        stream.cancel()


def deployment(*hosts: str) -> make.Manifest:
    return make.model_deployment("fashion", spec={"traffic": {"hosts": list(hosts)}})


def test_a_router_gets_the_routes_of_now_and_each_change_of_them(real_api: Path) -> None:
    async def scenario() -> None:
        async with leading(real_api) as leader, router(leader) as envoy:
            assert b"fashion.demo" not in await envoy.table()
            leader.engine.watched("ADDED", deployment())
            assert b"fashion.demo.svc.cluster.local" in await envoy.table()
            leader.engine.watched("DELETED", deployment())
            assert b"fashion.demo" not in await envoy.table()

    asyncio.run(scenario())


def test_a_host_is_routed_only_where_the_installation_gives_it_to_the_namespace(real_api: Path) -> None:
    async def scenario() -> None:
        async with leading(real_api) as leader, router(leader) as envoy:
            await envoy.table()
            hosts = ("example.com", "shop.example.com", "notexample.com", "bank.test")
            leader.engine.watched("ADDED", deployment(*hosts))
            table = await envoy.table()
            assert b"shop.example.com" in table
            assert b"notexample.com" not in table
            assert b"bank.test" not in table
            (conflicts,) = leader.engine.traffic().conflicts.values()
            assert {conflict.host for conflict in conflicts} == {"notexample.com", "bank.test"}

    asyncio.run(scenario())


def test_certificates_are_kept_for_the_next_leader_and_given_to_jobs(real_api: Path) -> None:
    async def scenario() -> None:
        async with leading(real_api) as first:
            held = await secret(first.api, ROUTER_SECRET)
            assert first.engine.platform.progress_ca.encode() == held["ca.crt"]
            labels = (await first.api.get("Secret", NAMESPACE, ROUTER_SECRET))["metadata"]["labels"]
            assert labels == {"app.kubernetes.io/managed-by": "slipway"}
        async with leading(real_api) as second:
            assert await secret(second.api, ROUTER_SECRET) == held
            assert second.engine.platform.progress_ca == first.engine.platform.progress_ca

    asyncio.run(scenario())


def test_an_api_that_fails_at_renewal_is_asked_again_and_the_ports_go_on(
    real_api: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "CERTIFICATES_SECONDS", 0.1)
    monkeypatch.setattr(ports, "RETRY_SECONDS", 0.1)

    async def scenario() -> None:
        async with leading(real_api) as leader:
            get, asked = leader.api.get, 0

            async def failing(kind: str, namespace: str, name: str) -> Any:
                nonlocal asked
                asked += 1
                if asked == 1:
                    raise Unavailable("not now")
                return await get(kind, namespace, name)

            monkeypatch.setattr(leader.api, "get", failing)
            await asyncio.sleep(0.6)
            assert asked > 4, "once in vain, then every Secret"
            async with router(leader) as envoy:
                await envoy.table()

    asyncio.run(scenario())


def test_tokens_are_checked_by_the_keys_of_the_cluster_itself(real_api: Path) -> None:
    async def scenario() -> None:
        async with leading(real_api) as leader:
            issuer = await leader.ports._issuer()
            assert issuer.name == "https://kubernetes.default.svc.cluster.local"
            assert issuer.jwks["keys"]

    asyncio.run(scenario())


def test_an_acknowledgement_wakes_the_deployment_it_is_about(real_api: Path) -> None:
    arm = {"name": "fashion-84b1e0", "role": "Stable", "weight": 100, "modelVersionRef": {"name": "v1"}}
    serving = make.model_deployment("fashion", status={"observedGeneration": 1, "revisions": [arm]})

    async def scenario() -> None:
        async with leading(real_api) as leader, router(leader) as envoy:
            await envoy.table()
            leader.engine.watched("ADDED", serving)
            await envoy.table()
            leader.queue.start()
            woken = await asyncio.wait_for(leader.woken.get(), 10)
            assert woken == Key("ModelDeployment", "demo", "fashion")
            await leader.queue.stop()

    asyncio.run(scenario())
