"""Decision: all that a reconcile may do, as a value. The engine is the only one that carries it out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Manifest = Mapping[str, Any]
"""A Kubernetes object as JSON, camelCase."""


@dataclass(frozen=True, order=True)
class Key:
    """One object of ours: what the queue and the engine work on."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True)
class Target:
    """An object to be deleted or patched; with a uid, only that very object."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True)
class Patch:
    """A merge patch of a child's few fields that may change after creation (a Job's suspend)."""

    target: Target
    body: Manifest


@dataclass(frozen=True)
class Event:
    """Told to people by `kubectl describe`; carries no state, may be lost."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Decision:
    """Carried out in this order: finalizer added, create, apply, patch, delete, status, finalizer removed, events.

    Status is written late so that a crash before it repeats the pass instead of losing it; every other step
    is idempotent. At most one irreversible step each: the next pass sees that it took effect.
    """

    status: Mapping[str, Any] | None = None
    """The whole wanted status; None leaves it as it is."""
    create: tuple[Manifest, ...] = ()
    """Created once and never changed by us again (Jobs, immutable ConfigMaps, ModelVersions)."""
    apply: tuple[Manifest, ...] = ()
    """Kept as stated, by server-side apply."""
    patch: tuple[Patch, ...] = ()
    delete: tuple[Target, ...] = ()
    finalizer: bool | None = None
    """True: hold ours, False: drop it, None: leave."""
    events: tuple[Event, ...] = ()
    again_in: float | None = None
    """Seconds until this key is looked at again without any event; None: only on events and resync."""
    memory: Any = None
    """Kept by the leader for the next pass over this object, in memory only: what may be lost with it and is not
    worth a write (what an autoscaler has learnt). None leaves it as it is."""
    annotations: Mapping[str, str | None] = field(default_factory=dict)
    """Annotations of ours to be set on (None: removed from) the object itself; never on a spec."""
