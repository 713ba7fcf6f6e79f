"""Kubernetes Events, for people who run `kubectl describe`: one Event per object, reason and message in ten
minutes, counted in its series. They carry no state: one that can't be posted is logged and let go.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from slipway.adapters.kube import AlreadyExists, Api, KubeError, NotFound
from slipway.decision import Event, Manifest

log = logging.getLogger(__name__)

WINDOW = timedelta(minutes=10)
NOTE_LIMIT = 1024
"""Bytes, as the API server counts."""
REMEMBERED = 10_000
REPORTER = "slipway.dev/operator"


@dataclass
class _Series:
    namespace: str
    name: str
    started: datetime
    count: int


class Recorder:
    """Posts Events about our objects."""

    def __init__(self, api: Api, instance: str, now: Callable[[], datetime]) -> None:
        self._api = api
        self._instance = instance
        self._now = now
        self._recent: OrderedDict[tuple[str, str, str], _Series] = OrderedDict()

    async def record(self, regarding: Manifest, event: Event) -> None:
        """Post it, or count it in the one posted lately."""
        note = _cut(event.message)
        key = (regarding["metadata"]["uid"], event.reason, note)
        now = self._now()
        series = self._recent.get(key)
        try:
            if series is not None and now - series.started < WINDOW:
                series.count += 1
                try:
                    await self._api.patch("Event", series.namespace, series.name, _counted(series.count, now))
                    return
                except NotFound:
                    log.debug("Event %s is gone already, posting it anew", series.name)
            manifest = self._manifest(regarding, event, note, now)
            self._recent[key] = _Series(
                manifest["metadata"]["namespace"], manifest["metadata"]["name"], now, 1
            )
            self._recent.move_to_end(key)
            while len(self._recent) > REMEMBERED:
                self._recent.popitem(last=False)
            await self._api.create(manifest)
        except AlreadyExists:
            log.debug("Event %s was posted before a restart", event.reason)
        except KubeError as error:
            name = f"{regarding['kind']} {regarding['metadata']['namespace']}/{regarding['metadata']['name']}"
            log.warning("%s: can't post Event %s: %s", name, event.reason, error, extra={"object": name})

    def _manifest(self, regarding: Manifest, event: Event, note: str, now: datetime) -> dict[str, Any]:
        metadata = regarding["metadata"]
        content = "\n".join((metadata["uid"], event.reason, note, micro(now)))
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "namespace": metadata["namespace"],
                "name": f"{metadata['name']}.{sha256(content.encode()).hexdigest()[:16]}",
            },
            "eventTime": micro(now),
            "reportingController": REPORTER,
            "reportingInstance": self._instance,
            "action": "Reconcile",
            "type": event.type,
            "reason": event.reason,
            "note": note,
            "regarding": {
                "apiVersion": regarding["apiVersion"],
                "kind": regarding["kind"],
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
        }


def micro(time: datetime) -> str:
    """As a Kubernetes MicroTime."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _cut(message: str) -> str:
    raw = message.encode()
    if len(raw) <= NOTE_LIMIT:
        return message
    mark = "…"
    return raw[: NOTE_LIMIT - len(mark.encode())].decode(errors="ignore") + mark


def _counted(count: int, now: datetime) -> Mapping[str, Any]:
    return {"series": {"count": count, "lastObservedTime": micro(now)}}
