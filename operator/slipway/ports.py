"""The leader's ports: routers get their configuration and give their counters, jobs push their progress.

cache changes -> routes -> ADS -> routers' acknowledgements ---> Traffic -> passes over ModelDeployments
                                  routers' counters, self-tests -^
job pods -> progress -> passes over TrainingRuns and CompressionJobs
"""

import asyncio
import base64
import logging
from collections.abc import Awaitable, Coroutine, Mapping
from dataclasses import replace
from typing import Any

from slipway.adapters import certificates, progress
from slipway.adapters.ads import AdsServer
from slipway.adapters.certificates import Certificates
from slipway.adapters.kube import KubeError, NotFound
from slipway.adapters.progress import Issuer, ProgressServer
from slipway.adapters.stats import Stats, resolve
from slipway.cache import Change
from slipway.decision import Key
from slipway.manifests import MANAGED, REVISION
from slipway.router import plan, resources
from slipway.router.route import permit
from slipway.router.traffic import SelfTest
from slipway.services import Runtime

log = logging.getLogger(__name__)

ANY = "0.0.0.0"
CERTIFICATES_SECONDS = 24 * 3600.0
RETRY_SECONDS = 60.0
TOGETHER_SECONDS = 0.02
KIND = "ModelDeployment"


class Ports:
    """A services.Service."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._engine, self._settings = runtime.engine, runtime.settings
        self._ads = AdsServer(runtime.now, self._acknowledged)
        self._progress = ProgressServer(
            self._issuer,
            lambda *pod: progress.sender(self._engine.cache, *pod),
            runtime.now,
            runtime.queue.add,
        )
        self._stats: Stats | None = None
        self._changed = asyncio.Event()
        self._told: Mapping[str, SelfTest] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        found = await self._certificates()
        self._stats = Stats(
            self._ads,
            lambda: resolve(self._settings.envoy_hosts),
            found.client,
            self._runtime.now,
            on_round=self._read,
        )
        await self._ads.start(found.server, ANY, self._settings.ads_port)
        await self._progress.start(found.server, ANY, self._settings.progress_port)
        self._trust(found)
        self._engine.progress = self._progress.latest
        self._engine.traffic = self._stats.traffic
        self._engine.on_change = self._note
        self._route()
        for work in (self._stats.run(), self._routing(), self._renewing()):
            self._tasks.append(asyncio.create_task(_told(work)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._progress.stop()
        await self._ads.stop()

    # --- routes ---

    def _note(self, change: Change) -> None:
        manifest = change.manifest
        labels = manifest["metadata"].get("labels") or {}
        if manifest["kind"] == KIND or (manifest["kind"] == "Pod" and REVISION in labels):
            self._changed.set()

    async def _routing(self) -> None:
        while True:
            await self._changed.wait()
            # Pods that come together are one change: a rebuild costs tens of milliseconds with many deployments.
            await asyncio.sleep(TOGETHER_SECONDS)
            self._changed.clear()
            self._route()

    def _route(self) -> None:
        objects = self._engine.cache
        domain = self._settings.platform.cluster_domain
        wanted = plan.routes(objects.list(KIND), objects.list("Pod"), domain)
        routes, refused = permit(wanted, self._settings.router_hosts)
        built = resources.build(routes)
        built = replace(built, conflicts={**built.conflicts, **refused})
        self._ads.update(built)
        if self._stats is not None:
            self._stats.update(routes, built)

    # --- what routers say ---

    def _acknowledged(self, deployments: frozenset[str]) -> None:
        if self._stats is not None:
            self._stats.acknowledged()
        self._wake(deployments)

    def _read(self) -> None:
        """After each reading: a self-test that came to its end is news."""
        assert self._stats is not None
        results = dict(self._stats.self_tests.results)
        news = [key for key, result in results.items() if self._told.get(key) != result]
        self._told = results
        self._wake(frozenset(key.rpartition("/")[0] for key in news))

    def _wake(self, deployments: frozenset[str]) -> None:
        for deployment in deployments:
            namespace, _, name = deployment.partition("/")
            self._runtime.queue.add(Key(KIND, namespace, name))

    # --- certificates ---

    async def _renewing(self) -> None:
        pause = CERTIFICATES_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                found = await self._certificates()
            except KubeError as error:
                log.error("certificates can't be renewed: %s; trying again in %.0f s", error, RETRY_SECONDS)
                pause = RETRY_SECONDS
                continue
            pause = CERTIFICATES_SECONDS
            self._ads.renew(found.server)
            self._progress.renew(found.server)
            if self._stats is not None:
                self._stats.renew(found.client)
            self._trust(found)

    def _trust(self, found: Certificates) -> None:
        """Jobs made from now on get the bundle of now."""
        authorities = found.authorities.decode()
        self._engine.platform = replace(self._engine.platform, progress_ca=authorities)

    async def _certificates(self) -> Certificates:
        namespace = self._settings.platform.release_namespace
        service = self._settings.progress_service
        names = [
            f"{service}.{namespace}.svc",
            f"{service}.{namespace}.svc.{self._settings.platform.cluster_domain}",
        ]
        return await certificates.keep(self._load, self._save, names, self._runtime.now())

    async def _load(self, name: str) -> dict[str, bytes] | None:
        try:
            secret = await self._runtime.kube.get("Secret", self._settings.platform.release_namespace, name)
        except NotFound:
            return None
        return {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}

    async def _save(self, name: str, data: Mapping[str, bytes]) -> None:
        await self._runtime.kube.apply({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": self._settings.platform.release_namespace,
                "labels": dict(MANAGED),
            },
            "type": "Opaque",
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        })  # fmt: skip

    async def _issuer(self) -> Issuer:
        configuration = await self._runtime.kube.read("/.well-known/openid-configuration")
        return Issuer(configuration["issuer"], await self._runtime.kube.read("/openid/v1/jwks"))


async def _told(work: Coroutine[Any, Any, None] | Awaitable[None]) -> None:
    """A loop that ends by an error is a defect; without this its end would go unseen until the stop."""
    try:
        await work
    except Exception:
        log.exception("a loop of the leader's ports has failed")
        raise
