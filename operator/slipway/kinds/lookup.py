"""Objects of ours by name, parsed. One that can't be read counts as absent for whoever refers to it."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from slipway.api import Resource
from slipway.cache import Objects

Kind = TypeVar("Kind", bound=Resource)


def read(objects: Objects, kind: type[Kind], namespace: str, name: str) -> Kind | None:
    """The object itself: one that can't be read is an error of its own pass."""
    manifest = objects.get(kind.kind(), namespace, name)
    return kind.parse(manifest) if manifest is not None else None


def other(objects: Objects, kind: type[Kind], namespace: str, name: str) -> Kind | None:
    """An object referred to."""
    manifest = objects.get(kind.kind(), namespace, name)
    found = parsed(kind, () if manifest is None else (manifest,))
    return found[0] if found else None


def names(objects: Objects, kind: type[Resource], namespace: str) -> tuple[str, ...]:
    return tuple(manifest["metadata"]["name"] for manifest in objects.list(kind.kind(), namespace))


def parsed(kind: type[Kind], manifests: Iterable[Mapping[str, Any]]) -> list[Kind]:
    """Those that can be read."""
    found = []
    for manifest in manifests:
        try:
            found.append(kind.parse(manifest))
        except ValidationError:
            # Its own pass meets the same error and tells its owner.
            continue
    return found
