"""Carries out single writes of a Decision, and leaves out those that would change nothing.

Every answer goes into the cache at once, so the next pass sees what this one did without waiting for a watch.
A write without an answer may have happened: its object is read live before that key's next pass.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from slipway import manifests
from slipway.adapters.kube import AlreadyExists, Api, Conflict, Forbidden, Invalid, NotFound, Unavailable
from slipway.cache import Cache, Change, controller_uid, slim
from slipway.decision import Key, Manifest, Patch, Target
from slipway.interest import key_of
from slipway.resources import OUR_KINDS

log = logging.getLogger(__name__)

FINALIZER = "slipway.dev/finalizer"
_DEPLOYMENT_CONTROLLER = "deployment.kubernetes.io/"


class Refused(Exception):
    """A write that can't be done as things are; the text is for the object's owner."""

    def __init__(self, reason: str, message: str, *, final: bool) -> None:
        super().__init__(message)
        self.reason = reason
        self.final = final
        """Nothing will change unless someone acts: Stalled rather than Reconciling."""


@dataclass(frozen=True)
class _Applied:
    uid: str
    wanted: str
    live: str
    """Fingerprint of the object as it was with our apply in it."""
    version: str
    """resourceVersion the fingerprint was last taken at."""


class Writer:
    def __init__(self, api: Api, cache: Cache, changed: Callable[[Change], None]) -> None:
        self._api = api
        self._cache = cache
        self._changed = changed
        self._applied: dict[Key, _Applied] = {}
        self._kept_status: dict[str, tuple[Any, Any]] = {}
        self._doubtful: dict[Key, set[Key]] = defaultdict(set)

    def forget(self, manifest: Manifest) -> None:
        """The object is gone."""
        self._applied.pop(key_of(manifest), None)
        self._kept_status.pop(manifest["metadata"]["uid"], None)

    async def refresh(self, key: Key) -> None:
        """Read live what the key's last pass left in doubt."""
        for target in sorted(self._doubtful.get(key, ())):
            try:
                self._take(await self._api.get(target.kind, target.namespace, target.name))
            except NotFound:
                if change := self._cache.forget(target.kind, target.namespace, target.name):
                    self._changed(change)
            self._doubtful[key].discard(target)
        self._doubtful.pop(key, None)

    async def create(self, key: Key, owner_uid: str, manifest: Manifest) -> None:
        """Once; one of ours that is there stays as it is."""
        held = self._cache.get(*_place(manifest))
        if held is None:
            try:
                await self._send(key, manifest, self._api.create(manifest))
            except AlreadyExists:
                held = await self._live(manifest)
        if held is not None:
            _require_ours(held, owner_uid, manifest)

    async def apply(self, key: Key, owner_uid: str, manifest: Manifest) -> None:
        """Keep it as stated; nothing is sent while neither our wish nor the object changed."""
        held = self._cache.get(*_place(manifest))
        if held is None:
            # Applying would take over an object that isn't ours; the cache only knows those with our label.
            try:
                held = await self._live(manifest)
            except NotFound:
                held = None
        if held is None:
            self._remember(manifest, await self._send(key, manifest, self._api.apply(manifest)))
            return
        _require_ours(held, owner_uid, manifest)
        if not self._as_applied(manifest, held):
            uid = {"uid": held["metadata"]["uid"]}
            sent = {**manifest, "metadata": {**manifest["metadata"], **uid}}
            self._remember(manifest, await self._send(key, manifest, self._api.apply(sent)))

    async def patch(self, key: Key, patch: Patch) -> None:
        target = patch.target
        held = self._held(target)
        if held is None or covers(held, patch.body):
            return
        body = {**patch.body, "metadata": {**patch.body.get("metadata", {}), "uid": target.uid}}
        await self._send(key, held, self._api.patch(target.kind, target.namespace, target.name, body))

    async def delete(self, key: Key, target: Target) -> None:
        held = self._held(target)
        if held is None or "deletionTimestamp" in held["metadata"]:
            return
        request = self._api.delete(target.kind, target.namespace, target.name, target.uid)
        try:
            left = await self._send(key, held, request)
        except NotFound:
            left = None
        if left is None and (
            change := self._cache.forget(target.kind, target.namespace, target.name, target.uid)
        ):
            self._changed(change)

    async def annotations(self, key: Key, resource: Manifest, wanted: Mapping[str, str | None]) -> None:
        present = resource["metadata"].get("annotations") or {}
        differing = {name: value for name, value in wanted.items() if present.get(name) != value}
        if differing:
            await self._patch_metadata(key, resource, {"annotations": differing})

    async def finalizer(self, key: Key, resource: Manifest, *, held: bool) -> None:
        present = list(resource["metadata"].get("finalizers") or ())
        if (FINALIZER in present) == held:
            return
        wanted = [*present, FINALIZER] if held else [name for name in present if name != FINALIZER]
        # The list is replaced whole, so only on top of the version it was read from.
        version = resource["metadata"]["resourceVersion"]
        await self._patch_metadata(key, resource, {"finalizers": wanted, "resourceVersion": version})

    async def status(self, key: Key, resource: Manifest, wanted: Mapping[str, Any]) -> None:
        present, uid = resource.get("status"), resource["metadata"]["uid"]
        if present == wanted or self._kept_status.get(uid) == (wanted, present):
            return
        # On top of what the pass saw or wrote itself; anything newer has to be decided upon first.
        latest = self._cache.get(key.kind, key.namespace, key.name) or resource
        same = latest["metadata"]["uid"] == uid and latest.get("status") == present
        version = (latest if same else resource)["metadata"]["resourceVersion"]
        request = self._api.apply_status(key.kind, key.namespace, key.name, version, wanted)
        written = (await self._send(key, resource, request) or {}).get("status")
        if written == wanted:
            self._kept_status.pop(uid, None)
            return
        # Fields that the CRD doesn't know, or that somebody else set. Once is enough to say and to write.
        log.warning(
            "%s: the API server keeps another status than was applied", key, extra={"object": str(key)}
        )
        self._kept_status[uid] = (wanted, written)

    async def _patch_metadata(self, key: Key, resource: Manifest, metadata: Mapping[str, Any]) -> None:
        body = {"metadata": {**metadata, "uid": resource["metadata"]["uid"]}}
        await self._send(key, resource, self._api.patch(key.kind, key.namespace, key.name, body))

    async def _send(
        self, key: Key, target: Manifest, request: Awaitable[dict[str, Any] | None]
    ) -> dict[str, Any] | None:
        """Do it and take the answer in; an outcome that isn't known is read before the next pass."""
        try:
            answer = await request
        except (Unavailable, Conflict, NotFound):
            self._doubtful[key].add(key_of(target))
            raise
        except Invalid as error:
            raise Refused("ChildInvalid", f"{_name(target)} is refused: {error}", final=True) from error
        except Forbidden as error:
            raise Refused("ChildForbidden", f"{_name(target)} is refused: {error}", final=False) from error
        if answer is not None:
            self._take(answer)
        return answer

    async def _live(self, manifest: Manifest) -> dict[str, Any]:
        live = await self._api.get(*_place(manifest))
        self._take(live)
        return slim(live)

    def _take(self, live: Manifest) -> None:
        labels = live["metadata"].get("labels") or {}
        # The watches of other kinds show only what has our label; anything else would never be updated.
        watched = live["kind"] in OUR_KINDS or manifests.MANAGED.items() <= labels.items()
        if watched and (change := self._cache.apply(None, live)):
            self._changed(change)

    def _held(self, target: Target) -> dict[str, Any] | None:
        held = self._cache.get(target.kind, target.namespace, target.name)
        return held if held is not None and held["metadata"]["uid"] == target.uid else None

    def _remember(self, manifest: Manifest, live: dict[str, Any] | None) -> None:
        assert live is not None
        metadata = live["metadata"]
        self._applied[key_of(manifest)] = _Applied(
            metadata["uid"], _digest(manifest), fingerprint(live), metadata["resourceVersion"]
        )

    def _as_applied(self, manifest: Manifest, held: dict[str, Any]) -> bool:
        known, metadata = self._applied.get(key_of(manifest)), held["metadata"]
        if known is None or known.uid != metadata["uid"] or known.wanted != _digest(manifest):
            return False
        if known.version == metadata["resourceVersion"]:
            return True
        if known.live != fingerprint(held):
            return False
        self._applied[key_of(manifest)] = replace(known, version=metadata["resourceVersion"])
        return True


def fingerprint(live: Manifest) -> str:
    """Of all that somebody states, without what controllers report."""
    metadata = live["metadata"]
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if not key.startswith(_DEPLOYMENT_CONTROLLER)
    }
    stated = {key: value for key, value in live.items() if key not in ("metadata", "status")}
    kept = {key: metadata.get(key) for key in ("labels", "ownerReferences", "finalizers")}
    return _digest([stated, annotations, kept])


def covers(live: Any, wanted: Any) -> bool:
    """Whether a merge patch with wanted would change nothing."""
    if not isinstance(wanted, Mapping):
        return bool(live == wanted)
    present = live if isinstance(live, Mapping) else {}
    return all(covers(present.get(key), value) for key, value in wanted.items())


def _require_ours(held: Manifest, owner_uid: str, wanted: Manifest) -> None:
    """Raise NameTaken unless the object was made for this very owner."""
    if _maker(held) == owner_uid:
        return
    labels = held["metadata"].get("labels") or {}
    meant = wanted["metadata"].get("labels") or {}
    names = (manifests.KIND, manifests.NAME)
    if controller_uid(held) and all(
        labels.get(name) and labels.get(name) == meant.get(name) for name in names
    ):
        message = f"Waiting until {_name(held)} is gone: it belongs to a deleted object of the same name."
        raise Refused("NameTaken", message, final=False)
    owners = [f"{r['kind']} {r['name']}" for r in held["metadata"].get("ownerReferences") or ()]
    whose = f"it belongs to {', '.join(owners)}" if owners else "it has no owner"
    raise Refused(
        "NameTaken",
        f"{_name(held)} exists and isn't ours ({whose}): delete it or use another name.",
        final=True,
    )


def _maker(manifest: Manifest) -> str | None:
    """Uid of the controller; of the producer for a ModelVersion, which has no owner."""
    if manifest["kind"] != "ModelVersion":
        return controller_uid(manifest)
    producer = ((manifest.get("spec") or {}).get("lineage") or {}).get("producer") or {}
    return producer.get("uid")


def _place(manifest: Manifest) -> tuple[str, str, str]:
    key = key_of(manifest)
    return key.kind, key.namespace, key.name


def _name(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def _digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True, default=dict).encode()).hexdigest()
