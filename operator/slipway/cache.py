"""Everything the operator knows about the cluster, in memory: what watches, own lists and own writes said.

An object only ever moves forward: a state with an older resourceVersion than the one held is ignored, so
events may come late, twice or out of order. What was deleted stays deleted (by uid). Deletions that a watch
never reported are found by comparing with a list (`compare`).
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from slipway.contract.report import Progress
from slipway.decision import Manifest
from slipway.router.traffic import Traffic
from slipway.settings import Platform

OUR_LABELS = "slipway.dev/"
TOMBSTONES = 20_000
"""Deleted uids remembered, so that a late event doesn't bring one back; far more than can be under way."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

Place = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True)
class Change:
    """What an event, a list or a write changed; old is None for a new object, new for a deleted one."""

    old: dict[str, Any] | None
    new: dict[str, Any] | None

    @property
    def manifest(self) -> dict[str, Any]:
        found = self.new or self.old
        assert found is not None
        return found


class Objects:
    """The read side. Manifests are plain dicts without managedFields; they are shared: never change one."""

    def __init__(self, manifests: Iterable[Manifest] = ()) -> None:
        self._by_kind: dict[str, dict[Place, dict[str, Any]]] = defaultdict(dict)
        self._by_owner: dict[str, set[tuple[str, Place]]] = defaultdict(set)
        self._by_label: dict[tuple[str, str, str], set[Place]] = defaultdict(set)
        for manifest in manifests:
            self._put(slim(manifest))

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        return self._by_kind[kind].get((namespace, name))

    def owned(self, uid: str, kind: str | None = None) -> list[dict[str, Any]]:
        """Those whose controller is the object with this uid, by kind and name."""
        return [self._by_kind[k][p] for k, p in sorted(self._by_owner.get(uid, ())) if kind in (None, k)]

    def list(
        self, kind: str, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> list[dict[str, Any]]:
        """Those with all the labels, by namespace and name. Labels slipway.dev/... are looked up by index."""
        held = self._by_kind[kind]
        wanted = dict(labels or {})
        indexed = [
            self._by_label.get((kind, k, v), set()) for k, v in wanted.items() if k.startswith(OUR_LABELS)
        ]
        places = min(indexed, key=len) if indexed else set(held)
        return [
            held[place]
            for place in sorted(places)
            if namespace in (None, place[0]) and wanted.items() <= _labels(held[place]).items()
        ]

    def _put(self, manifest: dict[str, Any]) -> None:
        kind, place = manifest["kind"], _place(manifest)
        self._drop(kind, place)
        self._by_kind[kind][place] = manifest
        if (owner := controller_uid(manifest)) is not None:
            self._by_owner[owner].add((kind, place))
        for key, value in _labels(manifest).items():
            if key.startswith(OUR_LABELS):
                self._by_label[kind, key, value].add(place)

    def _drop(self, kind: str, place: Place) -> None:
        old = self._by_kind[kind].pop(place, None)
        if old is None:
            return
        if (owner := controller_uid(old)) is not None:
            _discard(self._by_owner, owner, (kind, place))
        for key, value in _labels(old).items():
            if key.startswith(OUR_LABELS):
                _discard(self._by_label, (kind, key, value), place)


class Cache(Objects):
    """The write side; belongs to the engine."""

    def __init__(self, manifests: Iterable[Manifest] = ()) -> None:
        super().__init__(manifests)
        self._deleted: OrderedDict[str, None] = OrderedDict()

    def apply(
        self, type_: Literal["ADDED", "MODIFIED", "DELETED"] | None, manifest: Manifest
    ) -> Change | None:
        """Take a watch event (None: from a list). None when it says nothing new."""
        seen = slim(manifest)
        uid = seen["metadata"]["uid"]
        held = self.get(seen["kind"], *_place(seen))
        if type_ == "DELETED":
            self._bury(uid)
            # Another uid under this name is a newer object: only that very one is gone.
            if held is None or held["metadata"]["uid"] != uid:
                return None
            self._drop(seen["kind"], _place(seen))
            return Change(held, None)
        if uid in self._deleted or (held is not None and version(seen) <= version(held)):
            return None
        if held is not None and held["metadata"]["uid"] != uid:
            self._bury(held["metadata"]["uid"])
        self._put(seen)
        return Change(held, seen)

    def forget(self, kind: str, namespace: str, name: str, uid: str | None = None) -> Change | None:
        """The object is known to be gone (a delete or a read said so); with a uid, only that very one."""
        held = self.get(kind, namespace, name)
        if held is None or uid not in (None, held["metadata"]["uid"]):
            return None
        return self.apply("DELETED", held)

    def compare(
        self, kind: str, listed: Iterable[Manifest], list_version: int, namespace: str | None = None
    ) -> list[Change]:
        """Take a whole list, made at list_version; what it lacks and isn't younger than it is gone."""
        present: set[str] = set()
        changes: list[Change | None] = []
        for manifest in listed:
            present.add(manifest["metadata"]["uid"])
            changes.append(self.apply(None, manifest))
        for held in self.list(kind, namespace):
            if held["metadata"]["uid"] not in present and version(held) <= list_version:
                changes.append(self.apply("DELETED", held))
        return [change for change in changes if change is not None]

    def _bury(self, uid: str) -> None:
        self._deleted[uid] = None
        while len(self._deleted) > TOMBSTONES:
            self._deleted.popitem(last=False)


@dataclass(frozen=True)
class View:
    """What a kind's observe may look at, for one pass."""

    now: datetime
    """UTC, aware."""
    objects: Objects
    progress: Mapping[str, Progress]
    """By uid of our object."""
    traffic: Traffic
    platform: Platform
    memory: Mapping[str, Any] = field(default_factory=dict)
    """By uid of our object: what its last Decision left in `memory`; absent after a change of the leader."""


def slim(manifest: Manifest) -> dict[str, Any]:
    """Without managedFields and kubectl's copy of the object: half its size, and nothing decides by them."""
    metadata = {k: v for k, v in manifest["metadata"].items() if k != "managedFields"}
    if LAST_APPLIED in (metadata.get("annotations") or {}):
        metadata["annotations"] = {k: v for k, v in metadata["annotations"].items() if k != LAST_APPLIED}
    return {**manifest, "metadata": metadata}


def controller_uid(manifest: Manifest) -> str | None:
    """Uid of the object's controller."""
    for reference in manifest["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return str(reference["uid"])
    return None


def version(manifest: Manifest) -> int:
    """resourceVersion as the number it is (comparable by the API's contract since Kubernetes 1.35)."""
    return int(manifest["metadata"].get("resourceVersion") or 0)


def _place(manifest: Manifest) -> Place:
    return manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"]


def _labels(manifest: Manifest) -> dict[str, str]:
    return manifest["metadata"].get("labels") or {}


def _discard(index: dict[Any, set[Any]], key: Any, value: Any) -> None:
    index[key].discard(value)
    if not index[key]:
        del index[key]
