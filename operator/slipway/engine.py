"""The engine: observe, decide, apply for one key. The only writer."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from slipway import metrics
from slipway.adapters.kube import Api, KubeError, NamespaceEnding
from slipway.cache import Cache, Change, View
from slipway.contract.report import Progress
from slipway.controller import AnyController
from slipway.decision import Decision, Event, Key, Manifest
from slipway.events import Recorder
from slipway.interest import Interest, key_of
from slipway.manifests import MANAGED
from slipway.resources import CACHED, CHILDREN, OUR_KINDS
from slipway.router.traffic import Traffic
from slipway.settings import Platform
from slipway.writer import Refused, Writer

log = logging.getLogger(__name__)

AGAIN_AFTER_REFUSAL = 30.0
"""What is in the way may not be watched (it lacks our label), so its leaving wakes nobody."""
_CHILD_KINDS = frozenset(resource.kind for resource in CHILDREN)


class Engine:
    """Knows the cache, the controllers and the API; runs one pass per call of `reconcile`."""

    def __init__(
        self,
        api: Api,
        cache: Cache,
        controllers: Iterable[AnyController],
        parse: Mapping[str, Callable[[Manifest], Any]],
        platform: Platform,
        recorder: Recorder,
        *,
        now: Callable[[], datetime],
        wake: Callable[[Key], None],
    ) -> None:
        self.cache = cache
        self.platform = platform
        self.progress: dict[str, Progress] = {}
        """By uid; the progress server writes it."""
        self._memory: dict[str, Any] = {}
        self.traffic: Callable[[], Traffic] = Traffic
        """Set by the leader's ports, as is the next."""
        self.on_change: Callable[[Change], None] = lambda change: None
        self._controllers = {controller.kind: controller for controller in controllers}
        self._interest = Interest(self._controllers.values(), parse)
        self._api = api
        self._recorder = recorder
        self._now = now
        self._wake = wake
        self._writer = Writer(api, cache, self._changed)

    def watched(self, type_: Literal["ADDED", "MODIFIED", "DELETED"] | None, manifest: Manifest) -> bool:
        """Take a watch event; whether it told anything new."""
        change = self.cache.apply(type_, manifest)
        if change is not None:
            self._changed(change)
        return change is not None

    async def relist(self, namespace: str | None = None) -> int:
        """Compare the cache with the API; how many changes the watches hadn't told."""
        changes = 0
        for resource in CACHED:
            labels = MANAGED if resource.kind in _CHILD_KINDS else None
            listing = await self._api.list(resource.kind, namespace, labels)
            found = self.cache.compare(resource.kind, listing.items, listing.version, namespace)
            for change in found:
                self._changed(change)
            metrics.GHOSTS.labels(resource.kind).inc(len(found))
            metrics.RESOURCES.labels(resource.kind).set(len(self.cache.list(resource.kind)))
            changes += len(found)
        return changes

    def all_keys(self) -> list[Key]:
        """All objects of ours."""
        return [key_of(manifest) for kind in self._controllers for manifest in self.cache.list(kind)]

    async def reconcile(self, key: Key) -> float | None:
        """One pass; seconds until the next look. Raises for a pass that has to be repeated."""
        started = time.monotonic()
        result = "error"
        try:
            again_in = await self._pass(self._controllers[key.kind], key)
            result = "success" if again_in is None else "requeue_after"
            return again_in
        except NamespaceEnding:
            result = "requeue_after"
            return AGAIN_AFTER_REFUSAL
        except KubeError:
            metrics.RECONCILE_ERRORS.labels(key.kind).inc()
            raise
        except Exception as error:
            metrics.RECONCILE_ERRORS.labels(key.kind).inc()
            log.exception("%s: its pass failed", key, extra={"object": str(key)})
            if (resource := self.cache.get(key.kind, key.namespace, key.name)) is not None:
                message = f"Slipway can't go on with this object: {error}"
                await self._recorder.record(resource, Event("Warning", "ReconcileError", message))
            raise
        finally:
            metrics.RECONCILES.labels(key.kind, result).inc()
            metrics.RECONCILE_SECONDS.labels(key.kind).observe(time.monotonic() - started)

    async def _pass(self, controller: AnyController, key: Key) -> float | None:
        await self._writer.refresh(key)
        view = View(self._now(), self.cache, self.progress, self.traffic(), self.platform, self._memory)
        resource = self.cache.get(key.kind, key.namespace, key.name)
        world = controller.observe(view, key)
        if world is None or resource is None:
            return None
        return await self._carry_out(key, resource, controller.decide(world), view.now)

    async def _carry_out(
        self, key: Key, resource: Manifest, decision: Decision, now: datetime
    ) -> float | None:
        """In the order that Decision promises."""
        write, status, events = self._writer, decision.status, list(decision.events)
        again_in = decision.again_in
        if decision.finalizer is True:
            await write.finalizer(key, resource, held=True)
        try:
            await self._children(key, resource, decision)
        except Refused as refusal:
            status = with_refusal(resource, status, refusal, now)
            if status != resource.get("status"):
                events.append(Event("Warning", refusal.reason, str(refusal)))
            again_in = min(AGAIN_AFTER_REFUSAL, again_in or AGAIN_AFTER_REFUSAL)
        await write.annotations(key, resource, decision.annotations)
        if status is not None:
            await write.status(key, resource, status)
        if decision.finalizer is False:
            latest = self.cache.get(key.kind, key.namespace, key.name)
            if latest is not None:
                await write.finalizer(key, latest, held=False)
        for event in events:
            await self._recorder.record(resource, event)
        if decision.memory is not None:
            self._memory[resource["metadata"]["uid"]] = decision.memory
        return again_in

    async def _children(self, key: Key, resource: Manifest, decision: Decision) -> None:
        write, uid = self._writer, resource["metadata"]["uid"]
        # An object on its way out gets nothing new: the garbage collector would only take it away again.
        if "deletionTimestamp" not in resource["metadata"]:
            for manifest in decision.create:
                await write.create(key, uid, manifest)
            for manifest in decision.apply:
                await write.apply(key, uid, manifest)
        for patch in decision.patch:
            await write.patch(key, patch)
        for target in decision.delete:
            await write.delete(key, target)

    def _changed(self, change: Change) -> None:
        if change.new is None:
            self._writer.forget(change.manifest)
            self.progress.pop(change.manifest["metadata"]["uid"], None)
            self._memory.pop(change.manifest["metadata"]["uid"], None)
        if change.manifest["kind"] in OUR_KINDS:
            for manifest, step in ((change.old, -1), (change.new, 1)):
                if manifest is not None:
                    phase = (manifest.get("status") or {}).get("phase", "")
                    metrics.PHASES.labels(manifest["kind"], phase).inc(step)
        for key in self._interest.note(change):
            self._wake(key)
        self.on_change(change)


def with_refusal(
    resource: Manifest, status: Mapping[str, Any] | None, refusal: Refused, now: datetime
) -> dict[str, Any]:
    """The status, saying that a write was refused: Stalled when only a person can help, else Reconciling."""
    present = resource.get("status") or {}
    wanted = dict(status if status is not None else present)
    before = {condition["type"]: condition for condition in present.get("conditions") or ()}
    conditions = {condition["type"]: condition for condition in wanted.get("conditions") or ()}
    generation = resource["metadata"].get("generation", 0)
    for type_, holds in (("Reconciling", not refusal.final), ("Stalled", refusal.final)):
        value = "True" if holds else "False"
        old = before.get(type_, {})
        since = old.get("lastTransitionTime") if old.get("status") == value else None
        conditions[type_] = {
            "type": type_,
            "status": value,
            "reason": refusal.reason,
            "message": str(refusal) if holds else "",
            "observedGeneration": generation,
            "lastTransitionTime": since or now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    return {
        **wanted,
        "observedGeneration": generation,
        "summary": str(refusal),
        "conditions": list(conditions.values()),
    }
