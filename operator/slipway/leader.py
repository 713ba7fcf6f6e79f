"""One active replica: a Lease, as the controllers of Kubernetes hold theirs.

Times are measured on this machine's monotonic clock from when a holder was last seen to renew, so clocks of
replicas needn't agree. No write begins after RENEW_DEADLINE without a renewal, and a write takes 4 s at most:
the last one ends before the Lease, of LEASE_SECONDS, can go to another. (The official client's election does
not release, writes local time as UTC, and ends on a broken connection.)
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from slipway import metrics
from slipway.adapters.kube import Api, KubeError, NotFound
from slipway.events import micro
from slipway.manifests import API_VERSION

log = logging.getLogger(__name__)

LEASE_SECONDS = 15
RENEW_DEADLINE = 10.0
RETRY_SECONDS = 2.0
TRY_SECONDS = 5.0
LEADER_LABEL = f"{API_VERSION.partition('/')[0]}/leader"
"""On the leader's own pod: the Service of the ADS and progress ports selects it."""


class LeaseLost(Exception):
    """Another replica may be the leader now: this process must end."""


class Leader:
    """`acquire`, then `hold` until it raises LeaseLost, then end the process; or `release` before the end."""

    def __init__(
        self, kube: Api, namespace: str, lease: str, identity: str, now: Callable[[], datetime]
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._lease = lease
        self._identity = identity
        self._now = now
        self._renewed: float | None = None
        self._seen: tuple[Any, float] = (None, 0.0)

    def require(self) -> None:
        """Raise unless a write may begin."""
        if self._renewed is None or _clock() - self._renewed > RENEW_DEADLINE:
            raise LeaseLost(f"{self._identity} is not the leader: it may not write")

    @property
    def leads(self) -> bool:
        return self._renewed is not None and _clock() - self._renewed <= RENEW_DEADLINE

    async def acquire(self) -> None:
        """Wait until this replica is the leader."""
        await self._label_pod(None)
        metrics.LEADER.set(0)
        while not await self._try():  # noqa: ASYNC110  (what is waited for happens elsewhere)
            await asyncio.sleep(RETRY_SECONDS)
        metrics.LEADER.set(1)
        log.info("%s leads now", self._identity)

    async def hold(self) -> None:
        """Renew for as long as that works."""
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            if not await self._try():
                self.require()

    async def announce(self) -> None:
        """Let the Service select this pod: the ports are open."""
        await self._label_pod("true")

    async def release(self) -> None:
        """Let another take over at once. Only after the last write."""
        if self._renewed is None:
            return
        self._renewed = None
        metrics.LEADER.set(0)
        try:
            await self._label_pod(None)
            held = await self._kube.get("Lease", self._namespace, self._lease)
            if held["spec"].get("holderIdentity") == self._identity:
                await self._write(held, {"holderIdentity": "", "leaseDurationSeconds": 1})
                log.info("%s has let the Lease go", self._identity)
        except KubeError as error:
            log.warning("can't let Lease %s go, it runs out by itself: %s", self._lease, error)

    async def _try(self) -> bool:
        """Take or renew; whether this replica holds the Lease now."""
        started = _clock()
        try:
            async with asyncio.timeout(TRY_SECONDS):
                held = await self._take_or_renew()
        except (KubeError, TimeoutError) as error:
            log.warning("Lease %s: %s", self._lease, error or "no answer in time")
            return False
        if held:
            self._renewed = started  # when it was asked for: the answer may have taken its time
        elif self._renewed is not None:
            raise LeaseLost(f"Lease {self._lease} was taken from {self._identity}")
        return held

    async def _take_or_renew(self) -> bool:
        try:
            lease = await self._kube.get("Lease", self._namespace, self._lease)
        except NotFound:
            await self._kube.create(self._manifest())
            return True
        spec = lease["spec"]
        holder = spec.get("holderIdentity")
        if holder != self._identity and holder and not self._has_run_out(spec):
            return False
        taken = {
            "acquireTime": micro(self._now()),
            "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1,
        }
        renewal = {
            **({} if holder == self._identity else taken),
            "holderIdentity": self._identity,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": micro(self._now()),
        }
        await self._write(lease, renewal)
        return True

    def _has_run_out(self, spec: Mapping[str, Any]) -> bool:
        """Not renewed for its whole duration, as seen from here."""
        state = (spec.get("holderIdentity"), spec.get("renewTime"))
        if state != self._seen[0]:
            self._seen = (state, _clock())
        return _clock() - self._seen[1] > float(spec.get("leaseDurationSeconds") or LEASE_SECONDS)

    async def _write(self, lease: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
        """On top of the version that was read: of two that take it at once, one gets a Conflict."""
        precondition = {"resourceVersion": lease["metadata"]["resourceVersion"]}
        body = {"metadata": precondition, "spec": spec}
        await self._kube.patch("Lease", self._namespace, self._lease, body)

    def _manifest(self) -> dict[str, Any]:
        now = micro(self._now())
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"namespace": self._namespace, "name": self._lease},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": LEASE_SECONDS,
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        }

    async def _label_pod(self, value: str | None) -> None:
        body = {"metadata": {"labels": {LEADER_LABEL: value}}}
        try:
            await self._kube.patch("Pod", self._namespace, self._identity, body)
        except NotFound:
            log.info("there is no Pod %s in %s to label: not in a cluster", self._identity, self._namespace)


def _clock() -> float:
    return asyncio.get_running_loop().time()
