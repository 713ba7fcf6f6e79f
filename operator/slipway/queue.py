"""The work queue: one task per key, coalescing, back-off, look-again times.

add --> waiting --> running --(ok, again_in)--> due heap --> waiting
                      |  \\--(failed)--> back-off --> due heap
                      \\--(changed meanwhile)--> waiting
"""

import asyncio
import heapq
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from itertools import count

from slipway import metrics
from slipway.adapters.kube import Conflict, NotFound
from slipway.decision import Key

log = logging.getLogger(__name__)

FIRST_BACKOFF = 0.2
LONGEST_BACKOFF = 300.0
USUAL_CONFLICTS = 3


class Queue:
    """Runs `work(key)` on N workers; the seconds it returns are when to look again, None is not at all.

    A key is never run twice at once; one added while running runs once more. A failed one is tried again
    after a back-off that doubles, spread by jitter (a source of numbers from 0 to 1).
    """

    def __init__(
        self, work: Callable[[Key], Awaitable[float | None]], *, workers: int, jitter: Callable[[], float]
    ) -> None:
        self._work = work
        self._workers = workers
        self._jitter = jitter
        self._waiting: asyncio.Queue[Key | None] = asyncio.Queue()
        """None ends the worker that takes it."""
        self._since: dict[Key, float] = {}
        """When a waiting key was added, oldest first."""
        self._running: dict[Key, float] = {}
        self._again: set[Key] = set()
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = count()
        self._failures: dict[Key, int] = defaultdict(int)
        self._timer_wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    def add(self, key: Key) -> None:
        """Run the key soon. Call in the loop's thread."""
        if key in self._running:
            self._again.add(key)
        elif key not in self._since:
            self._since[key] = _now()
            self._waiting.put_nowait(key)
            metrics.QUEUE_ADDS.inc()
            metrics.QUEUE_DEPTH.set(len(self._since))

    def add_in(self, key: Key, seconds: float) -> None:
        """Run the key then; replaces a time set before."""
        due = _now() + max(0.0, seconds)
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._order), key))
        if len(self._heap) > 1000 + 2 * len(self._due):  # entries of times that were replaced
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)
        self._timer_wake.set()

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._serve(), name=f"worker-{n}") for n in range(self._workers)]
        self._tasks.append(asyncio.create_task(self._time(), name="queue-timer"))

    async def stop(self) -> None:
        """Let the passes under way end; what waits stays undone (the next leader does it)."""
        self._stopping = True
        self._timer_wake.set()
        while not self._waiting.empty():
            self._waiting.get_nowait()
        for _ in range(self._workers):
            self._waiting.put_nowait(None)
        await asyncio.gather(*self._tasks)

    @property
    def depth(self) -> int:
        return len(self._since)

    def oldest_running(self) -> tuple[Key, float] | None:
        """The pass under way for longest, and its age in seconds."""
        if not self._running:
            return None
        key, started = min(self._running.items(), key=lambda item: item[1])
        return key, _now() - started

    def oldest_waiting(self) -> float:
        """Seconds that the first key in line has waited; 0 when none does."""
        return _now() - next(iter(self._since.values())) if self._since else 0.0

    async def _serve(self) -> None:
        while (key := await self._waiting.get()) is not None:
            started = _now()
            metrics.QUEUE_SECONDS.observe(started - self._since.pop(key))
            metrics.QUEUE_DEPTH.set(len(self._since))
            self._running[key] = started
            self._due.pop(key, None)
            await self._run(key)
            del self._running[key]
            if key in self._again:
                self._again.discard(key)
                if not self._stopping:
                    self.add(key)

    async def _run(self, key: Key) -> None:
        try:
            again_in = await self._work(key)
        except Exception as error:
            self._failures[key] += 1
            pause = backoff(self._failures[key], self._jitter())
            # Somebody wrote or deleted between our look and our write: that is no fault, unless it goes on.
            usual = isinstance(error, Conflict | NotFound) and self._failures[key] <= USUAL_CONFLICTS
            level = logging.INFO if usual else logging.ERROR
            log.log(level, "%s: %s; trying again in %.1f s", key, error, pause, extra={"object": str(key)})
            metrics.QUEUE_RETRIES.inc()
            self.add_in(key, pause)
        else:
            self._failures.pop(key, None)
            if again_in is not None:
                self.add_in(key, again_in)

    async def _time(self) -> None:
        """Move keys from the heap to the line when they are due."""
        while not self._stopping:
            self._timer_wake.clear()
            now = _now()
            while self._heap and self._heap[0][0] <= now:
                due, _, key = heapq.heappop(self._heap)
                # A key set to another time since, or run since, has left this entry behind.
                if self._due.get(key) == due:
                    del self._due[key]
                    self.add(key)
            if oldest := self.oldest_running():
                metrics.QUEUE_UNFINISHED.set(oldest[1])
            pause = self._heap[0][0] - now if self._heap else None
            try:
                async with asyncio.timeout(pause):
                    await self._timer_wake.wait()
            except TimeoutError:
                continue


def backoff(failures: int, jitter: float) -> float:
    """Seconds before try number failures + 1: doubling, half of it spread by jitter (0 to 1)."""
    full = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(failures - 1, 30))
    return full * (0.5 + jitter / 2)


def _now() -> float:
    return asyncio.get_running_loop().time()
