"""Which keys an event wakes: the object itself, the owner of a child, and whoever refers to the object."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from slipway import manifests
from slipway.cache import Change
from slipway.controller import AnyController
from slipway.decision import Key, Manifest

log = logging.getLogger(__name__)


class Interest:
    """Keeps what each of our objects refers to, in both directions, also when the target isn't there yet."""

    def __init__(
        self, controllers: Iterable[AnyController], parse: Mapping[str, Callable[[Manifest], Any]]
    ) -> None:
        self._controllers = {controller.kind: controller for controller in controllers}
        self._parse = parse
        self._targets: dict[Key, frozenset[Key]] = {}
        self._referrers: dict[Key, set[Key]] = defaultdict(set)

    def note(self, change: Change) -> set[Key]:
        """Take the change in; the keys to run."""
        keys = self._of(change.manifest)
        if change.old is not None:  # what it belonged to before must learn that it doesn't any more
            keys |= self._of(change.old)
        own = key_of(change.manifest)
        if own.kind in self._controllers:
            # What it begins or ceases to refer to must learn it: a ModelVersion lists its users.
            turned = self._refer(own, self._references(own, change.new))
            keys |= {key for key in turned if key.kind in self._controllers}
        return keys

    def _of(self, manifest: Manifest) -> set[Key]:
        own = key_of(manifest)
        keys = {own, *self._referrers.get(own, ())}
        labels = manifest["metadata"].get("labels") or {}
        if manifests.KIND in labels and manifests.NAME in labels:
            keys.add(Key(labels[manifests.KIND], own.namespace, labels[manifests.NAME]))
        if own.kind == "ModelVersion":  # has no owner: its maker and its Model are named in the spec
            spec = manifest.get("spec") or {}
            producer = (spec.get("lineage") or {}).get("producer") or {}
            keys.add(Key(producer.get("kind", ""), own.namespace, producer.get("name", "")))
            keys.add(Key("Model", own.namespace, (spec.get("modelRef") or {}).get("name", "")))
        return {key for key in keys if key.kind in self._controllers and key.name}

    def _references(self, own: Key, manifest: Manifest | None) -> frozenset[Key]:
        if manifest is None:
            return frozenset()
        try:
            resource = self._parse[own.kind](manifest)
        except ValueError as error:
            # The key's own pass meets the same error and tells the object's owner; here it wakes on nothing.
            log.warning("%s: can't read its references: %s", own, error, extra={"object": str(own)})
            return frozenset()
        return frozenset(self._controllers[own.kind].references(resource))

    def _refer(self, own: Key, targets: frozenset[Key]) -> frozenset[Key]:
        """Keep the references; those that are new or gone."""
        before = self._targets.pop(own, frozenset())
        for target in before - targets:
            self._referrers[target].discard(own)
            if not self._referrers[target]:
                del self._referrers[target]
        for target in targets:
            self._referrers[target].add(own)
        if targets:
            self._targets[own] = targets
        return before ^ targets


def key_of(manifest: Manifest) -> Key:
    metadata = manifest["metadata"]
    return Key(manifest["kind"], metadata.get("namespace", ""), metadata["name"])
