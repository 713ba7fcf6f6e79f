"""Probes and metrics of the operator's process, on one plain HTTP port."""

import asyncio
from collections import deque

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from slipway import metrics
from slipway.queue import Queue

LAG_EVERY = 0.5
LAG_WINDOW = 120
LONGEST_LAG = 20.0
LONGEST_PASS = 300.0


class Health:
    """Unhealthy: the loop is held up, or a pass hangs. A restart would help with both."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._lags: deque[float] = deque([0.0], maxlen=LAG_WINDOW)
        self.synced = False
        """The cache holds what the API said."""
        self.leading = False

    async def measure(self) -> None:
        """Keep measuring how late the loop wakes up."""
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(LAG_EVERY)
            self._lags.append(loop.time() - before - LAG_EVERY)
            metrics.LOOP_LAG.set(max(self._lags))

    def faults(self) -> list[str]:
        found = []
        if (lag := self._lags[-1]) > LONGEST_LAG:
            found.append(f"the event loop woke up {lag:.1f} s late (at most {LONGEST_LAG:g})")
        oldest = self._queue.oldest_running()
        if oldest is not None and oldest[1] > LONGEST_PASS:
            found.append(f"{oldest[0]} has been in its pass for {oldest[1]:.0f} s (at most {LONGEST_PASS:g})")
        return found

    async def start(self, port: int, host: str = "") -> web.AppRunner:
        """Serve; the runner's cleanup() ends it."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
            ]
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, host or None, port).start()
        return runner

    async def _healthz(self, request: web.Request) -> web.Response:
        faults = self.faults()
        return web.Response(text="\n".join(faults) or "ok", status=500 if faults else 200)

    async def _readyz(self, request: web.Request) -> web.Response:
        """A standby is ready, too: it is a matter of the cache, not of the Lease."""
        role = "leading" if self.leading else "standing by"
        text = f"ok, {role}" if self.synced else "reading the cluster's state"
        return web.Response(text=text, status=200 if self.synced else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
