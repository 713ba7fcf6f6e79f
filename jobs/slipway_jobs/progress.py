"""Progress: the latest state of this job, pushed by a thread; an operator that is down never stops the job."""

import ssl
import sys
import threading
import urllib.request
from pathlib import Path

from slipway.contract import progress_wire
from slipway.contract.config import PROGRESS_TOKEN_PATH, Owner, ProgressTarget
from slipway.contract.report import Progress

INTERVAL = 3.0
"""Seconds between pushes, at least."""
TIMEOUT = 5.0


class Reporter:
    """Keeps only the newest state: what is old by the time it can be sent is of no use."""

    def __init__(
        self,
        target: ProgressTarget | None,
        owner: Owner,
        interval: float = INTERVAL,
        token_path: str = PROGRESS_TOKEN_PATH,
    ) -> None:
        self._target = target
        self._interval = interval
        self._token = Path(token_path)
        self._newest: Progress | None = None
        self._reached = True
        self._changed = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        if target is not None:
            self._url = target.url.rstrip("/") + progress_wire.path(owner.namespace, owner.name)
            self._trust = ssl.create_default_context(cadata=target.ca) if target.ca else None
            self._thread = threading.Thread(target=self._work, name="progress", daemon=True)
            self._thread.start()

    def update(self, progress: Progress) -> None:
        self._newest = progress
        self._changed.set()

    def close(self) -> None:
        """Sends what is newest and ends the thread."""
        self._closing.set()
        self._changed.set()
        if self._thread is not None:
            self._thread.join(2 * TIMEOUT)

    def _work(self) -> None:
        while not self._closing.is_set():
            self._changed.wait()
            self._changed.clear()
            self._push()
            self._closing.wait(self._interval)
        if self._changed.is_set():
            self._push()

    def _push(self) -> None:
        progress = self._newest
        if progress is None:
            return
        try:
            request = urllib.request.Request(
                self._url,
                data=progress_wire.encode(progress),
                headers={
                    "Content-Type": "application/json",
                    # Read each time: kubelet renews the file.
                    "Authorization": f"Bearer {self._token.read_text().strip()}",
                },
                method="POST",
            )
            with urllib.request.urlopen(request, timeout=TIMEOUT, context=self._trust):
                pass
        except OSError as error:  # URLError, HTTPError, TimeoutError and a missing token file are all OSError
            if self._reached:
                print(f"progress: not sent, training goes on: {error}", file=sys.stderr, flush=True)
            self._reached = False
            return
        if not self._reached:
            print("progress: sent again", file=sys.stderr, flush=True)
        self._reached = True
