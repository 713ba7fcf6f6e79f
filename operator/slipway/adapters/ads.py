"""The xDS server: gives every router the whole configuration, and knows what each one acknowledged."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any as Grpc

# grpcio and xds-protos ship no type hints.
import grpc  # type: ignore[import-untyped]
from envoy.service.discovery.v3 import ads_pb2_grpc  # type: ignore[import-untyped]
from envoy.service.discovery.v3.discovery_pb2 import (  # type: ignore[import-untyped]
    DiscoveryRequest,
    DiscoveryResponse,
)

from slipway.adapters.certificates import Pair
from slipway.router.exchange import Exchange
from slipway.router.message import ROUTES
from slipway.router.resources import Resources
from slipway.router.tls import ROUTER_NAME
from slipway.router.traffic import Nack

DEBOUNCE_S = 0.02
"""Least time between pushes: the first change goes at once, those that follow it closely go together."""


@dataclass(frozen=True)
class Router:
    """A connected router."""

    name: str
    """Its node id: the pod's name."""
    address: str
    since: datetime
    """When it connected."""
    routes: str | None
    """Version of the route table it acknowledged last."""
    weights: Mapping[str, int]
    """Revision key -> weight, by that route table."""
    acked_at: datetime | None


@dataclass(eq=False)
class _Stream:
    address: str
    since: datetime
    name: str = ""
    exchange: Exchange = field(default_factory=Exchange)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    acked_at: datetime | None = None
    ended: bool = False


class AdsServer(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):  # type: ignore[misc]
    """Aggregated discovery, state of the world, over TLS; only a router's certificate is let in."""

    def __init__(self, now: Callable[[], datetime], on_change: Callable[[frozenset[str]], None]) -> None:
        """`on_change` is told the deployments whose acknowledged weights changed with some router."""
        self._now = now
        self._on_change = on_change
        self._streams: set[_Stream] = set()
        self._current: Resources | None = None
        self._pair: Pair | None = None
        self._pending: asyncio.TimerHandle | None = None
        self._pushed_at = float("-inf")
        self._server: Grpc = None

    async def start(self, pair: Pair, host: str, port: int) -> int:
        """The port it listens on (port 0: any)."""
        self._pair = pair
        options = [
            # Routers ping every 10 s on an idle stream; gRPC's default would take that for an attack.
            ("grpc.http2.min_ping_interval_without_data_ms", 5000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 10_000),
        ]
        self._server = grpc.aio.server(options=options)
        ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(self, self._server)
        credentials = grpc.dynamic_ssl_server_credentials(
            _configuration(pair),
            lambda: _configuration(self._pair) if self._pair else None,
            require_client_authentication=True,
        )
        bound: int = self._server.add_secure_port(f"{host}:{port}", credentials)
        await self._server.start()
        return bound

    def renew(self, pair: Pair) -> None:
        """Certificates for connections from now on."""
        self._pair = pair

    async def stop(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
        for stream in self._streams:
            stream.ended = True
            stream.changed.set()
        await self._server.stop(grace=1)

    def update(self, resources: Resources) -> None:
        """What every router is to hold from now on."""
        self._current = resources
        if self._pending is None:
            loop = asyncio.get_running_loop()
            self._pending = loop.call_at(max(loop.time(), self._pushed_at + DEBOUNCE_S), self._push)

    def _push(self) -> None:
        self._pending = None
        self._pushed_at = asyncio.get_running_loop().time()
        for stream in self._streams:
            stream.changed.set()

    @property
    def routers(self) -> tuple[Router, ...]:
        """Those connected that said who they are, by name."""
        named = (self._router(stream) for stream in self._streams if stream.name)
        return tuple(sorted(named, key=lambda router: (router.name, router.since)))

    @property
    def nacks(self) -> tuple[Nack, ...]:
        """Refusals that stand."""
        return tuple(
            Nack(stream.name, refusal.version, refusal.message)
            for stream in self._streams
            for refusal in stream.exchange.refusals.values()
        )

    def acknowledged(self, version: str, names: Iterable[str]) -> bool:
        """Whether each of these routers holds this route table; False if there are none."""
        held = {router.name: router.routes for router in self.routers}
        wanted = set(names)
        return bool(wanted) and all(held.get(name) == version for name in wanted)

    def _router(self, stream: _Stream) -> Router:
        return Router(
            stream.name,
            stream.address,
            stream.since,
            stream.exchange.acknowledged(ROUTES),
            self._weights(stream),
            stream.acked_at,
        )

    def _weights(self, stream: _Stream) -> Mapping[str, int]:
        """An unchanged route table isn't sent again: weights of 0 added since count as acknowledged by it."""
        held = stream.exchange.routes
        if held is None:
            return {}
        current = self._current
        return current.weights if current and current.version == held.version else held.weights

    async def StreamAggregatedResources(
        self, requests: AsyncIterator[Grpc], context: Grpc
    ) -> AsyncIterator[Grpc]:
        if ROUTER_NAME.encode() not in context.auth_context().get("x509_subject_alternative_name", ()):
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED, f"the client's certificate isn't that of {ROUTER_NAME}"
            )
        stream = _Stream(_host(context.peer()), self._now())
        self._streams.add(stream)
        reader = asyncio.create_task(self._read(requests, stream))
        try:
            while not stream.ended:
                while self._current and (response := stream.exchange.send(self._current)):
                    yield DiscoveryResponse(
                        type_url=response.type_url,
                        version_info=response.version,
                        nonce=response.nonce,
                        resources=[
                            {"type_url": one.type_url, "value": one.value} for one in response.resources
                        ],
                    )
                await stream.changed.wait()
                stream.changed.clear()
        finally:
            self._streams.discard(stream)
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader
            self._on_change(_deployments(self._weights(stream), {}))

    async def _read(self, requests: AsyncIterator[Grpc], stream: _Stream) -> None:
        try:
            async for request in requests:
                self._receive(request, stream)
        finally:
            stream.ended = True
            stream.changed.set()

    def _receive(self, request: DiscoveryRequest, stream: _Stream) -> None:
        # Envoy names itself in the first message only.
        stream.name = request.node.id or stream.name
        before, held = self._weights(stream), stream.exchange.acknowledged(ROUTES)
        stream.exchange.receive(
            request.type_url,
            frozenset(request.resource_names),
            request.response_nonce,
            request.error_detail.message if request.HasField("error_detail") else None,
        )
        now_held = stream.exchange.acknowledged(ROUTES)
        if now_held is not None and now_held != held:
            stream.acked_at = self._now()
        changed = _deployments(before, self._weights(stream))
        refused = request.HasField("error_detail")
        if changed or refused:
            self._on_change(changed)
        stream.changed.set()


def _deployments(before: Mapping[str, int], after: Mapping[str, int]) -> frozenset[str]:
    keys = before.keys() | after.keys()
    return frozenset(key.rpartition("/")[0] for key in keys if before.get(key) != after.get(key))


def _configuration(pair: Pair) -> Grpc:
    return grpc.ssl_server_certificate_configuration([(pair.key, pair.certificate)], pair.authorities)


def _host(peer: str) -> str:
    """IP of gRPC's peer text: ipv4:10.0.0.7:41234 or ipv6:[fd00::7]:41234 (percent-encoded brackets)."""
    address = peer.partition(":")[2].rpartition(":")[0]
    return address.removeprefix("%5B").removesuffix("%5D").strip("[]")
