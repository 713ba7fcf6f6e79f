"""Checkpoints: whole or absent, kept in the store without stalling the training.

In the store a checkpoint is a folder <step>/ with state.pt and, written last, checkpoint.json with its size and
sha256: without that mark, or with another content than it says, it isn't there. A retired one loses its mark
first. Locally the folder is filled under another name, synced, and renamed.
"""

import io
import json
import os
import shutil
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from slipway.contract.report import Checkpoint
from slipway_jobs.failure import Failure
from slipway_jobs.store import Store, join

STATE = "state.pt"
MARK = "checkpoint.json"


@dataclass(frozen=True)
class Snapshot:
    """A copy of everything the next step depends on."""

    step: int
    score: float | None
    """Validation accuracy at this step, where it was measured; the best is kept beside the newest."""
    state: dict[str, Any]


class Checkpoints:
    """Writes snapshots in a background thread. If a newer one comes before the last is up, the older is dropped."""

    def __init__(self, store: Store, uri: str, folder: Path, fingerprint: str, keep: int) -> None:
        self._store = store
        self._uri = uri
        self._folder = folder
        self._fingerprint = fingerprint
        self._keep = keep
        self._pending: Snapshot | None = None
        self._guard = threading.Condition()
        self._busy = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self.newest: Checkpoint | None = None
        """The newest one that is whole in the store."""

    def newest_whole(self) -> tuple[dict[str, Any], int] | None:
        """(state, step) of the newest whole checkpoint of this very run, or None."""
        for step, mark in sorted(self._marks().items(), reverse=True):
            if mark.get("fingerprint") != self._fingerprint:
                print(f"train: checkpoint {step} is of another run or spec, left alone", flush=True)
                continue
            try:
                raw = self._store.read(join(self._uri, str(step), STATE))
            except Failure as failure:
                print(
                    f"train: checkpoint {step} can't be read ({failure.message}), trying an older one",
                    flush=True,
                )
                continue
            if len(raw) != mark["size"] or sha256(raw).hexdigest() != mark["sha256"]:
                print(f"train: checkpoint {step} isn't whole, trying an older one", flush=True)
                continue
            # weights_only: a checkpoint holds tensors, numbers and text, never code.
            state: dict[str, Any] = torch.load(io.BytesIO(raw), weights_only=True)
            self.newest = self._told(step, mark["time"])
            return state, step
        return None

    def save(self, snapshot: Snapshot) -> None:
        """Takes a snapshot over and returns at once."""
        with self._guard:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="checkpoints", daemon=True)
                self._thread.start()
            self._pending = snapshot
            self._guard.notify_all()

    def flush(self) -> None:
        """Waits until what was saved is in the store, or couldn't be."""
        with self._guard:
            self._guard.wait_for(lambda: self._pending is None and not self._busy)

    def close(self) -> None:
        self.flush()
        with self._guard:
            self._closed = True
            self._guard.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._guard:
                self._guard.wait_for(lambda: self._pending is not None or self._closed)
                if self._pending is None:
                    return
                snapshot, self._pending, self._busy = self._pending, None, True
            try:
                self._write(snapshot)
                self._retire()
            except (Failure, OSError) as error:
                # A store that is down costs a checkpoint, not the run.
                print(f"train: checkpoint {snapshot.step} not kept: {error}", file=sys.stderr, flush=True)
            finally:
                with self._guard:
                    self._busy = False
                    self._guard.notify_all()

    def _write(self, snapshot: Snapshot) -> None:
        buffer = io.BytesIO()
        torch.save(snapshot.state, buffer)
        raw = buffer.getvalue()
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")  # noqa: TID251 - a job, no decision
        mark = {
            "step": snapshot.step,
            "score": snapshot.score,
            "time": now,
            "size": len(raw),
            "sha256": sha256(raw).hexdigest(),
            "fingerprint": self._fingerprint,
        }
        folder = self._folder / str(snapshot.step)
        filling = self._folder / f".{snapshot.step}"
        filling.mkdir(parents=True, exist_ok=True)
        _write_synced(filling / STATE, raw)
        _write_synced(filling / MARK, json.dumps(mark).encode())
        shutil.rmtree(folder, ignore_errors=True)
        filling.rename(folder)
        self._store.upload(folder, join(self._uri, str(snapshot.step)), last=MARK)
        shutil.rmtree(folder)
        self.newest = self._told(snapshot.step, now)

    def _retire(self) -> None:
        """Leaves the newest `keep` and the best."""
        marks = {s: m for s, m in self._marks().items() if m.get("fingerprint") == self._fingerprint}
        kept = set(sorted(marks)[-self._keep :])
        scored = {step: mark["score"] for step, mark in marks.items() if mark["score"] is not None}
        if scored:
            kept.add(max(scored, key=lambda step: (scored[step], step)))
        for step in set(marks) - kept:
            self._store.delete(join(self._uri, str(step), MARK))
            self._store.delete(join(self._uri, str(step)))

    def _marks(self) -> dict[int, dict[str, Any]]:
        try:
            entries = self._store.entries(self._uri)
        except Failure as failure:
            if failure.reason == "SourceUnreadable":  # nothing there yet
                return {}
            raise
        marks = {}
        for entry in entries:
            step, _, name = entry.path.partition("/")
            if name == MARK and step.isdigit():
                marks[int(step)] = json.loads(self._store.read(join(self._uri, entry.path)))
        return marks

    def _told(self, step: int, time: str) -> Checkpoint:
        return Checkpoint(
            step=step, storage_uri=self._store.resolve(join(self._uri, str(step))) + "/", time=time
        )


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
