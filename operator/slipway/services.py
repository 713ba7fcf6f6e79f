"""What only the leader runs beside its queue: the ports that routers and jobs talk to."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from slipway.adapters.kube import Kube
from slipway.engine import Engine
from slipway.queue import Queue
from slipway.settings import Settings


@dataclass(frozen=True)
class Runtime:
    """What a service may use. Writes through kube fail once the Lease is in doubt."""

    settings: Settings
    kube: Kube
    engine: Engine
    queue: Queue
    now: Callable[[], datetime]


class Service(Protocol):
    async def start(self) -> None:
        """Called once, in order, after the leader's cache has synced and before its first pass."""
        ...

    async def stop(self) -> None:
        """Called once, in reverse order, after the last pass."""
        ...
