"""Reads a version, its verification, and who uses it."""

from collections.abc import Iterable

from slipway import api
from slipway.cache import View
from slipway.decision import Key
from slipway.kinds import attempts, lookup, uses
from slipway.kinds.model_version.decide import World


def observe(view: View, key: Key) -> World | None:
    version = lookup.read(view.objects, api.ModelVersion, key.namespace, key.name)
    if version is None:
        return None
    return World(
        now=view.now,
        version=version,
        attempts=attempts.of(view.objects, version.metadata.uid),
        used_by=uses.of(view.objects, key.namespace).get(key.name, ()),
        image=view.platform.operator_image,
    )


def references(version: api.ModelVersion) -> Iterable[Key]:
    """Its users: a change of theirs may be the end of the use."""
    return [Key(use.kind, version.metadata.namespace, use.name) for use in version.status.used_by]
