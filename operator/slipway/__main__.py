"""The operator's process.

connect -> watch (kopf) -> list everything -> ready
        -> take the Lease -> list again -> open the services' ports -> work
SIGTERM -> finish the passes under way -> close the ports -> let the Lease go -> end
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from random import Random
from typing import Any

import kopf

from slipway import api, handlers, logs, metrics
from slipway.adapters import kube
from slipway.adapters.kube import KubeError
from slipway.cache import Cache
from slipway.controller import AnyController
from slipway.decision import Key
from slipway.engine import Engine
from slipway.events import Recorder
from slipway.health import Health
from slipway.kinds import CONTROLLERS
from slipway.leader import Leader, LeaseLost
from slipway.ports import Ports
from slipway.queue import Queue, backoff
from slipway.services import Runtime, Service
from slipway.settings import Settings, SettingsError, read

log = logging.getLogger(__name__)


def main() -> None:
    try:
        settings = read(os.environ)
    except SettingsError as error:
        sys.exit(f"slipway: {error}")
    logs.set_up(settings.log_level)
    metrics.BUILD.labels(version("slipway")).set(1)
    sys.exit(asyncio.run(run(settings)))


async def run(
    settings: Settings,
    controllers: Iterable[AnyController] = CONTROLLERS,
    services: Iterable[Callable[[Runtime], Service]] = (Ports,),
) -> int:
    """Until SIGTERM (0), or until something that must go on has ended (1)."""
    api_client = await kube.connect(settings.kubeconfig)
    leader = Leader(
        api_client, settings.platform.release_namespace, settings.lease_name, settings.pod_name, _now
    )
    guarded = api_client.guarded(leader.require)
    jitter = Random()

    async def reconcile(key: Key) -> float | None:
        return await engine.reconcile(key)

    queue = Queue(reconcile, workers=settings.workers, jitter=jitter.random)
    engine = Engine(
        guarded, Cache(), controllers, {kind: model.model_validate for kind, model in api.KINDS.items()},
        settings.platform, Recorder(guarded, settings.pod_name, _now), now=_now, wake=queue.add,
    )  # fmt: skip
    runtime = Runtime(settings, guarded, engine, queue, _now)
    health = Health(queue)
    stop = asyncio.Event()
    _on_signal(stop)

    async with AsyncExitStack() as ending:
        ending.push_async_callback(api_client.close)
        port = await health.start(settings.health_port)
        ending.push_async_callback(port.cleanup)
        _background(ending, health.measure())
        # Before kopf, which looks once which kinds the API serves and never again.
        if not await _unless(stop, sync(engine, settings.watch_namespaces, jitter)):
            return 0
        health.synced = True
        started, ends = asyncio.Event(), asyncio.Event()
        watch = asyncio.create_task(
            kopf.operator(
                registry=handlers.registry(engine),
                settings=handlers.settings(),
                standalone=True,
                clusterwide=not settings.watch_namespaces,
                namespaces=settings.watch_namespaces,
                ready_flag=started,
                stop_flag=ends,
            )
        )
        await _unless(started, asyncio.Event().wait(), watch)
        _on_signal(stop)  # kopf has put its own in their place; ours let the passes end before the watches do
        try:
            await lead(runtime, leader, health, services, jitter, stop, watch)
            return 0
        except LeaseLost as error:
            log.error("%s: this process ends", error)
            return 1
        finally:
            ends.set()
            await asyncio.gather(watch, return_exceptions=True)


async def lead(
    runtime: Runtime,
    leader: Leader,
    health: Health,
    services: Iterable[Callable[[Runtime], Service]],
    jitter: Random,
    stop: asyncio.Event,
    watch: asyncio.Task[None],
) -> None:
    """From standing by to the end of the last pass. The end of the watch is a failure."""
    engine, queue, settings = runtime.engine, runtime.queue, runtime.settings
    async with AsyncExitStack() as ending:
        _background(ending, relist(engine, settings, jitter))
        if not await _unless(stop, leader.acquire(), watch):
            return
        ending.push_async_callback(leader.release)
        holding = asyncio.create_task(leader.hold())
        ending.callback(holding.cancel)
        # What the last leader wrote may not have reached this cache by its watches yet.
        if not await _unless(stop, sync(engine, settings.watch_namespaces, jitter), holding, watch):
            return
        for make in services:
            service = make(runtime)
            ending.push_async_callback(service.stop)
            await service.start()
        queue.start()
        ending.push_async_callback(queue.stop)
        for key in engine.all_keys():
            queue.add(key)
        _background(ending, resync(engine, queue, settings.resync_seconds, jitter))
        await leader.announce()
        health.leading = True
        await _unless(stop, asyncio.Event().wait(), holding, watch)


async def sync(engine: Engine, namespaces: tuple[str, ...], jitter: Random) -> None:
    """List everything; again and again while the API doesn't answer."""
    for failures in range(1, sys.maxsize):
        try:
            for namespace in namespaces or (None,):
                await engine.relist(namespace)
            return
        except KubeError as error:
            pause = backoff(failures, jitter.random())
            log.error("can't list what there is: %s; trying again in %.1f s", error, pause)
            await asyncio.sleep(min(pause, 30.0))


async def relist(engine: Engine, settings: Settings, jitter: Random) -> None:
    """What watches never told: kopf doesn't report what was deleted during a gap."""
    while True:
        await asyncio.sleep(settings.relist_seconds * (0.8 + 0.4 * jitter.random()))
        try:
            changes = sum([await engine.relist(ns) for ns in settings.watch_namespaces or (None,)])
        except KubeError as error:
            log.warning("the periodic list failed: %s", error)
            continue
        if changes:
            log.warning("the periodic list showed %d changes that no watch had told", changes)


async def resync(engine: Engine, queue: Queue, seconds: float, jitter: Random) -> None:
    """Every key again, spread over the whole period."""
    while True:
        await asyncio.sleep(seconds)
        for key in engine.all_keys():
            queue.add_in(key, jitter.random() * seconds)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, Any], *needed: asyncio.Task[None]) -> bool:
    """Do the work unless stop comes first; whether it was done. The end of a needed task is an error."""
    task, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping, *needed}, return_when=asyncio.FIRST_COMPLETED)
        for ended in needed:
            if ended.done():
                ended.result()
                raise RuntimeError(f"{ended.get_coro()} has ended, which it never should")
        if task.done():
            task.result()
        return task.done() and not stop.is_set()
    finally:
        for unfinished in (task, stopping):
            unfinished.cancel()
        await asyncio.gather(task, stopping, return_exceptions=True)


def _on_signal(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


def _background(ending: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    """Runs beside until the end; cancelled then."""
    task = asyncio.create_task(work)
    task.add_done_callback(_tell_failure)

    async def finish() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    ending.push_async_callback(finish)


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s has failed", task.get_coro(), exc_info=error)


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  (the one clock; passed on from here)


if __name__ == "__main__":
    main()
