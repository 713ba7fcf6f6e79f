"""kopf as the event source, and nothing else: it lists and watches, we take in. It writes nothing."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import kopf

from slipway import metrics
from slipway.decision import Manifest
from slipway.engine import Engine
from slipway.manifests import MANAGED
from slipway.resources import CACHED, CHILDREN, ResourceType

LONGEST_PAUSE = 30.0


class Backoffs:
    """Pauses after network errors: endless, since kopf ends the process when they run out."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter

    def __iter__(self) -> Iterator[float]:
        pause = 0.5
        while True:
            yield pause * (0.5 + self._jitter() / 2)
            pause = min(LONGEST_PAUSE, pause * 2)


class NoDiffBase(kopf.DiffBaseStorage):
    """kopf's copy of the last state it handled, in an annotation: we have no handler that needs one."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        return None


def settings() -> kopf.OperatorSettings:
    """Each line answers a measured fault of the default (docs/adr/0001)."""
    found = kopf.OperatorSettings()
    found.scanning.disabled = True  # no watch of all CRDs and namespaces, no rights for it
    found.posting.enabled = False  # its Events aren't counted; ours are
    found.persistence.diffbase_storage = NoDiffBase()
    # Not ours: kopf takes its own finalizer off every object that no handler of it needs one for.
    found.persistence.finalizer = "slipway.dev/kopf-sets-none"
    # One sequence for the process, so that replicas don't come back in step after an outage.
    found.networking.error_backoffs = Backoffs(Random().random)
    found.networking.request_timeout = 30
    found.networking.connect_timeout = 5
    found.watching.connect_timeout = 5
    found.watching.server_timeout = 480
    found.watching.chunk_size = 250
    found.queueing.error_delays = Backoffs(Random().random)
    found.process.ultimate_exiting_timeout = 30
    selector = ",".join(f"{key}={value}" for key, value in MANAGED.items())
    for resource in CHILDREN:
        found.watching.label_selectors[_selector(resource)] = selector
    return found


def registry(engine: Engine) -> kopf.OperatorRegistry:
    """One handler per watched kind."""
    found = kopf.OperatorRegistry()
    kopf.on.login(registry=found)(log_in)
    for resource in CACHED:
        kopf.on.event(*_selector(resource), registry=found, id=f"watch-{resource.plural}")(
            watcher(engine, resource)
        )
    return found


def watcher(engine: Engine, resource: ResourceType) -> Callable[..., Any]:
    last = metrics.WATCH_LAST_EVENT.labels(resource.kind)

    async def watch(event: kopf.RawEvent, **_: Any) -> None:
        manifest: Manifest = {"apiVersion": resource.api_version, "kind": resource.kind, **event["object"]}
        if (
            event["type"] == "BOOKMARK"
        ):  # kopf keeps these to itself; its type just says all that a watch can send
            return
        use = "new" if engine.watched(event["type"], manifest) else "known"
        metrics.WATCH_EVENTS.labels(resource.kind, use).inc()
        last.set_to_current_time()

    return watch


def log_in(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """The pod's service account, else the kubeconfig: as adapters.kube.connect."""
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


def _selector(resource: ResourceType) -> tuple[str, str, str]:
    return resource.group, resource.version, resource.plural
