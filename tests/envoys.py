"""A real Envoy process under our xDS server, and small real upstreams, all on loopback ports."""

import asyncio
import contextlib
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from aiohttp import web
from tritonclient.grpc import service_pb2, service_pb2_grpc

from slipway.adapters import certificates
from slipway.adapters.ads import AdsServer
from slipway.adapters.certificates import Certificates, Pair
from slipway.router.bootstrap import DRAIN_ARGUMENTS, bootstrap
from slipway.router.listeners import Ports
from slipway.router.message import CLUSTERS, ENDPOINTS
from slipway.router.resources import build
from slipway.router.route import Arm, Endpoint, Route

ENVOY = str(files("envoy") / "_bin" / "envoy")
CREATED = datetime(2026, 11, 24, 10, tzinfo=UTC)
HOST = "fashion.demo"


def wall() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - certificates are checked against the real clock


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


async def until(check: Callable[[], Any], seconds: float = 10) -> Any:
    """The first true value of `check`."""
    async with asyncio.timeout(seconds):
        while not (value := check()):  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)
    return value


@dataclass
class Secrets:
    """The release namespace's Secrets, in memory."""

    held: dict[str, dict[str, bytes]] = field(default_factory=dict)
    saves: list[str] = field(default_factory=list)

    async def load(self, name: str) -> dict[str, bytes] | None:
        return self.held.get(name)

    async def save(self, name: str, data: Mapping[str, bytes]) -> None:
        self.held[name] = dict(data)
        self.saves.append(name)

    @property
    def router(self) -> dict[str, bytes]:
        return self.held[certificates.ROUTER_SECRET]


class Upstream:
    """A serving pod: HTTP, gRPC and probe port; answers as its fields say."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.status = 200
        self.delay = 0.0
        self.grpc_status = grpc.StatusCode.OK
        self.example: dict[str, Any] | None = None
        self.answer: dict[str, Any] = {"model_name": "fashion", "outputs": []}
        self.answered = 0
        self.endpoint = Endpoint("127.0.0.1", True, *free_ports(3))
        self._runners: list[web.AppRunner] = []

    async def start(self) -> "Upstream":
        serving = web.Application()
        serving.router.add_post("/v2/models/fashion/infer", self._infer)
        serving.router.add_get("/v2/models/fashion", self._metadata)
        serving.router.add_get("/v2/health/ready", self._ready)
        probe = web.Application()
        probe.router.add_get("/_slipway/example", self._example)
        for app, port in ((serving, self.endpoint.http), (probe, self.endpoint.probe)):
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port).start()
            self._runners.append(runner)
        self._grpc = grpc.aio.server()
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Inference(self), self._grpc)
        self._grpc.add_insecure_port(f"127.0.0.1:{self.endpoint.grpc}")
        await self._grpc.start()
        return self

    async def stop(self) -> None:
        await self._grpc.stop(None)
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    async def _infer(self, _: web.Request) -> web.Response:
        await asyncio.sleep(self.delay)
        self.answered += 1
        body = self.answer | {"id": self.name}
        return web.json_response(body, status=self.status)

    async def _metadata(self, _: web.Request) -> web.Response:
        return web.json_response({"name": "fashion"})

    async def _ready(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _example(self, _: web.Request) -> web.Response:
        if self.example is None:
            return web.Response(status=503, text="loading")
        return web.json_response(self.example)


class _Inference(service_pb2_grpc.GRPCInferenceServiceServicer):
    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        if self._upstream.grpc_status is not grpc.StatusCode.OK:
            await context.abort(self._upstream.grpc_status, "injected")
        return service_pb2.ModelInferResponse(model_name="fashion", id=self._upstream.name)

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        return service_pb2.ModelConfigResponse()


@dataclass
class Site:
    """One leader and one router."""

    ads: AdsServer
    certificates: Certificates
    secrets: Secrets
    directory: Path
    ports: Ports
    ads_port: int
    stats_port: int
    ready_port: int
    admin_port: int
    changes: list[frozenset[str]]
    session: aiohttp.ClientSession
    name: str = "router-0"
    process: asyncio.subprocess.Process | None = None

    async def route(self, *routes: Route) -> str:
        """Pushes these routes and waits until the router holds them, endpoints and all; the version."""
        resources = build(routes, self.ports)
        self.ads.update(resources)
        await until(lambda: self.ads.acknowledged(resources.version, [self.name]))
        (stream,) = self.ads._streams
        await until(lambda: stream.exchange.acknowledged(CLUSTERS) == resources.versions[CLUSTERS])
        if resources.by_type[ENDPOINTS]:
            await until(lambda: stream.exchange.acknowledged(ENDPOINTS) == resources.versions[ENDPOINTS])
        return resources.version

    async def infer(self, host: str = HOST, path: str = "/v2/models/fashion/infer") -> tuple[int, str]:
        """(HTTP status, revision that answered)."""
        url = f"http://127.0.0.1:{self.ports.http}{path}"
        async with self.session.post(url, headers={"Host": host}, data=b"{}") as response:
            await response.read()
            return response.status, response.headers.get("x-slipway-revision", "")

    async def get(self, path: str, host: str = HOST) -> int:
        url = f"http://127.0.0.1:{self.ports.http}{path}"
        async with self.session.get(url, headers={"Host": host}) as response:
            return response.status

    def channel(self, port: int | None = None) -> Any:
        options = [("grpc.default_authority", HOST)]
        return grpc.aio.insecure_channel(f"127.0.0.1:{port or self.ports.grpc}", options=options)

    def tls(self, pair: Pair | None) -> ssl.SSLContext:
        """The operator's side towards a router; None: without a certificate of its own."""
        context = ssl.create_default_context(cadata=self.certificates.authorities.decode())
        context.check_hostname = False
        if pair:
            certificates.load_pair(context, pair)
        return context

    def write_router_secret(self) -> None:
        """As kubelet does it: a new directory, then one rename of a symbolic link."""
        tls = self.directory / "tls"
        tls.mkdir(exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=tls, prefix="..data-"))
        for name, content in self.secrets.router.items():
            (fresh / name).write_bytes(content)
            link = tls / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
        (tls / "..tmp").symlink_to(fresh.name)
        (tls / "..tmp").rename(tls / "..data")

    async def start_router(self) -> None:
        self.write_router_secret()
        config = self.directory / "config"
        config.mkdir(exist_ok=True)
        texts = bootstrap(
            "127.0.0.1",
            self.ads_port,
            directory=str(config),
            certificates=str(self.directory / "tls"),
            address="127.0.0.1",
            stats_port=self.stats_port,
            ready_port=self.ready_port,
            admin_port=self.admin_port,
        )
        for name, text in texts.items():
            (config / name).write_text(text)
        log = (self.directory / "envoy.log").open("wb")
        arguments = ["-c", str(config / "envoy.json"), "--service-node", self.name, "--concurrency", "1"]
        arguments += DRAIN_ARGUMENTS
        self.process = await asyncio.create_subprocess_exec(
            ENVOY, *arguments, "--use-dynamic-base-id", "--log-level", "warning", stdout=log, stderr=log
        )
        log.close()

    async def stop_router(self) -> None:
        if self.process and self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()

    @property
    def log(self) -> str:
        return (self.directory / "envoy.log").read_text()


@contextlib.asynccontextmanager
async def site(directory: Path) -> AsyncIterator[Site]:
    """A running leader with a running router that is connected and has no routes."""
    http, grpc_port, self_test, stats, ready, admin = free_ports(6)
    config = str(directory / "config")
    ports = Ports("127.0.0.1", http, grpc_port, self_test, config)
    secrets, changes = Secrets(), []
    kept = await certificates.keep(secrets.load, secrets.save, ["slipway-operator.slipway.svc"], wall())
    ads = AdsServer(wall, changes.append)
    ads_port = await ads.start(kept.server, "127.0.0.1", 0)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        here = Site(
            ads, kept, secrets, directory, ports, ads_port, stats, ready, admin, changes, session
        )  # fmt: skip
        try:
            await here.start_router()
            await here.route()
            yield here
        finally:
            await here.stop_router()
            await ads.stop()


@contextlib.asynccontextmanager
async def upstreams(*names: str) -> AsyncIterator[list[Upstream]]:
    started = [await Upstream(name).start() for name in names]
    try:
        yield started
    finally:
        for one in started:
            await one.stop()


def fashion(*arms: Arm, hosts: tuple[str, ...] = ()) -> Route:
    return Route("demo", "fashion", CREATED, hosts, arms)


def arm(upstream: Upstream, weight: int, *, self_test: bool = False) -> Arm:
    return Arm(upstream.name, weight, (upstream.endpoint,), self_test)
