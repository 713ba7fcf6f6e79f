"""An API server in memory, with what the operator relies on of a real one.

Held to it by tests/operator/adapters/test_kube.py, which runs the same cases against both. Not here:
admission, CRD validation, defaults, and controllers other than the garbage collector.
"""

import copy
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from slipway.adapters.kube import AlreadyExists, Conflict, Listing, NotFound
from slipway.decision import Manifest
from slipway.manifests import MANAGED
from slipway.resources import BY_KIND, CACHED, CHILDREN, OUR_KINDS

START = datetime(2026, 11, 24, 10, 0, 0, tzinfo=UTC)
_WATCHED = {resource.kind for resource in CACHED}
_CHILDREN = {resource.kind for resource in CHILDREN}
_WITHOUT_GENERATION = {
    "ConfigMap",
    "Service",
    "Secret",
    "Lease",
    "Event",
    "ControllerRevision",
    "Namespace",
    "Pod",
}
_WITHOUT_STATUS = {"ConfigMap", "Secret", "Lease", "Event", "ControllerRevision"}

Place = tuple[str, str, str]


class WatchEvent(NamedTuple):
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    manifest: dict[str, Any]


class Store:
    """The API server. Implements slipway.adapters.kube.Api."""

    def __init__(self, now: Callable[[], datetime] = lambda: START) -> None:
        self.objects: dict[Place, dict[str, Any]] = {}
        self.version = 100
        self.watch: list[WatchEvent] = []
        self._now = now
        self._applied: dict[tuple[Place, str], dict[str, Any]] = {}
        self._uids = 0

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        return copy.deepcopy(self._find((kind, namespace, name)))

    async def list(
        self, kind: str, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Listing:
        items = [
            copy.deepcopy(manifest)
            for (k, ns, _), manifest in sorted(self.objects.items())
            if k == kind and namespace in (None, ns) and _has(manifest, labels or {})
        ]
        return Listing(items, self.version)

    async def create(self, manifest: Manifest) -> dict[str, Any]:
        place = _place(manifest)
        if place in self.objects:
            raise AlreadyExists(f'{BY_KIND[place[0]].plural} "{place[2]}" already exists')
        return self._insert(place, _thaw(manifest))

    async def apply(self, manifest: Manifest) -> dict[str, Any]:
        place, wanted = _place(manifest), _thaw(manifest)
        uid = wanted["metadata"].pop("uid", None)
        if place not in self.objects:
            if uid is not None:
                raise Conflict(
                    f"uid mismatch: the provided object specified uid {uid}, and there is no object"
                )
            self._applied[place, "main"] = copy.deepcopy(wanted)
            return self._insert(place, wanted)
        found = self._find(place)
        self._require(found, {"uid": uid})
        self._drop_status(place[0], wanted)
        merged = self._apply_over(place, "main", found, wanted)
        return self._update(place, merged)

    async def apply_status(
        self, kind: str, namespace: str, name: str, version: str, status: Mapping[str, Any]
    ) -> dict[str, Any]:
        place = (kind, namespace, name)
        found = self._find(place)
        self._require(found, {"resourceVersion": version})
        return self._update(place, self._apply_over(place, "status", found, {"status": _thaw(status)}))

    async def patch(self, kind: str, namespace: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        place, wanted = (kind, namespace, name), _thaw(body)
        found = self._find(place)
        self._require(found, wanted.get("metadata", {}))
        for precondition in ("uid", "resourceVersion"):
            wanted.get("metadata", {}).pop(precondition, None)
        self._drop_status(kind, wanted)
        return self._update(place, merge(found, wanted))

    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> dict[str, Any] | None:
        place = (kind, namespace, name)
        found = self._find(place)
        self._require(found, {"uid": uid})
        return self._delete(place)

    def set_status(self, kind: str, namespace: str, name: str, status: Mapping[str, Any]) -> None:
        """As a controller of Kubernetes does."""
        place = (kind, namespace, name)
        self._update(place, {**copy.deepcopy(self._find(place)), "status": _thaw(status)})

    def collect_garbage(self) -> None:
        """Delete what has owners and none of them is there any more."""
        gone = True
        while gone:
            uids = {manifest["metadata"]["uid"] for manifest in self.objects.values()}
            gone = False
            for place, manifest in list(self.objects.items()):
                owners = manifest["metadata"].get("ownerReferences") or ()
                if (
                    owners
                    and not any(owner["uid"] in uids for owner in owners)
                    and "deletionTimestamp" not in manifest["metadata"]
                ):
                    self._delete(place)
                    gone = True

    def _insert(self, place: Place, manifest: dict[str, Any]) -> dict[str, Any]:
        self._uids += 1
        self._drop_status(place[0], manifest)
        metadata = manifest["metadata"]
        metadata["uid"] = str(UUID(int=self._uids))
        metadata["creationTimestamp"] = self._stamp()
        if place[0] not in _WITHOUT_GENERATION:
            metadata["generation"] = 1
        if place[0] in OUR_KINDS:
            manifest["status"] = {"observedGeneration": -1}  # the default of the CRDs
        return self._store("ADDED", place, manifest)

    def _update(self, place: Place, manifest: dict[str, Any]) -> dict[str, Any]:
        before = self._find(place)
        if manifest == before:
            unchanged: dict[str, Any] = copy.deepcopy(before)
            return unchanged
        if place[0] not in _WITHOUT_GENERATION and _stated(manifest) != _stated(before):
            manifest["metadata"]["generation"] = before["metadata"]["generation"] + 1
        if "deletionTimestamp" in manifest["metadata"] and not manifest["metadata"].get("finalizers"):
            self._remove(place)
            return copy.deepcopy(manifest)
        return self._store("MODIFIED", place, manifest)

    def _store(
        self, type_: Literal["ADDED", "MODIFIED"], place: Place, manifest: dict[str, Any]
    ) -> dict[str, Any]:
        self.version += 1
        manifest["metadata"]["resourceVersion"] = str(self.version)
        self.objects[place] = manifest
        self._tell(type_, manifest)
        return copy.deepcopy(manifest)

    def _delete(self, place: Place) -> dict[str, Any] | None:
        found = self._find(place)
        if not found["metadata"].get("finalizers"):
            self._remove(place)
            return None
        marked = copy.deepcopy(found)
        marked["metadata"].setdefault("deletionTimestamp", self._stamp())
        return self._update(place, marked)

    def _remove(self, place: Place) -> None:
        manifest = self.objects.pop(place)
        self._applied = {key: value for key, value in self._applied.items() if key[0] != place}
        self.version += 1
        last = copy.deepcopy(manifest)
        last["metadata"]["resourceVersion"] = str(self.version)
        self._tell("DELETED", last)

    def _tell(self, type_: Literal["ADDED", "MODIFIED", "DELETED"], manifest: dict[str, Any]) -> None:
        kind = manifest["kind"]
        if kind in _WATCHED and (kind not in _CHILDREN or _has(manifest, MANAGED)):
            self.watch.append(WatchEvent(type_, copy.deepcopy(manifest)))

    def _apply_over(
        self, place: Place, part: str, found: dict[str, Any], wanted: dict[str, Any]
    ) -> dict[str, Any]:
        """Server-side apply of one manager: what it stated before and states no more goes. Lists are whole."""
        before = self._applied.get((place, part), {})
        self._applied[place, part] = copy.deepcopy(wanted)
        merged: dict[str, Any] = merge(_without(copy.deepcopy(found), before, wanted), wanted)
        return merged

    def _find(self, place: Place) -> dict[str, Any]:
        if place not in self.objects:
            raise NotFound(f'{BY_KIND[place[0]].plural} "{place[2]}" not found')
        return self.objects[place]

    def _require(self, found: Manifest, metadata: Mapping[str, Any]) -> None:
        for field in ("uid", "resourceVersion"):
            wanted = metadata.get(field)
            if wanted is not None and wanted != found["metadata"][field]:
                raise Conflict(f"Precondition failed: {field} is {found['metadata'][field]}, not {wanted}")

    def _drop_status(self, kind: str, manifest: dict[str, Any]) -> None:
        if kind not in _WITHOUT_STATUS:
            manifest.pop("status", None)

    def _stamp(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%SZ")


def merge(into: Any, patch: Any) -> Any:
    """JSON merge patch, RFC 7396."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(into) if isinstance(into, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def _without(live: dict[str, Any], before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in before.items():
        if key not in now:
            live.pop(key, None)
        elif isinstance(value, dict) and isinstance(now[key], dict) and isinstance(live.get(key), dict):
            live[key] = _without(live[key], value, now[key])
    return live


def _stated(manifest: Manifest) -> Any:
    """What counts for the generation: everything but metadata and status, and the beginning of deletion."""
    rest = {key: value for key, value in manifest.items() if key not in ("metadata", "status")}
    return rest, "deletionTimestamp" in manifest["metadata"]


def _has(manifest: Manifest, labels: Mapping[str, str]) -> bool:
    return labels.items() <= (manifest["metadata"].get("labels") or {}).items()


def _place(manifest: Manifest) -> Place:
    return manifest["kind"], manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"]


def _thaw(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A copy as JSON makes it: what couldn't travel fails here."""
    thawed: dict[str, Any] = json.loads(json.dumps(dict(manifest)))
    return thawed
