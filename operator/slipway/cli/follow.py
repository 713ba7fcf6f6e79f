"""The live follower: one line for each thing that happens, the same on a terminal and in a log."""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape

from slipway.cli.cluster import PLURALS, SHORT, CliError, Cluster

WATCH_SECONDS = 300
QUIET_SECONDS = 5.0
"""A summary that only counts on (progress, samples) is repeated at most this often."""
STYLES = {
    "Ready": "green", "Succeeded": "green", "Healthy": "green",
    "Failed": "red", "Rejected": "yellow", "Degraded": "yellow", "Paused": "yellow",
}  # fmt: skip
TIME_OUT = 124


@dataclass(frozen=True)
class Goal:
    """A condition of one object that ends the following: True, or Stalled for the bad end."""

    kind: str
    name: str
    condition: str

    @classmethod
    def parse(cls, text: str) -> "Goal":
        place, _, condition = text.partition(":")
        kind, _, name = place.partition("/")
        kinds = {**{short: kind for kind, short in SHORT.items()}, **{kind.lower(): kind for kind in SHORT}}
        if not name or not condition or kind.lower() not in kinds:
            raise CliError(f"{text}: write KIND/NAME:CONDITION with a kind of {', '.join(sorted(kinds))}")
        return cls(kinds[kind.lower()], name, condition)

    def reached(self, manifest: dict[str, Any]) -> int | None:
        """0: the condition is True; 1: Stalled; None: neither, or the status is of an older spec."""
        metadata, status = manifest["metadata"], manifest.get("status") or {}
        if (manifest["kind"], metadata["name"]) != (self.kind, self.name):
            return None
        if status.get("observedGeneration") != metadata.get("generation"):
            return None
        states = {c["type"]: c["status"] for c in status.get("conditions") or ()}
        if states.get(self.condition) == "True":
            return 0
        return 1 if states.get("Stalled") == "True" else None


class Teller:
    """Turns states of objects into lines; remembers what it said."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], tuple[str, str, float]] = {}
        self._verdicts: dict[tuple[str, str, int, str], str] = {}

    def lines(self, manifest: dict[str, Any], now: float) -> list[str]:
        """Rich markup; empty when there is nothing new to say."""
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        status = manifest.get("status") or {}
        phase, summary = status.get("phase"), status.get("summary", "")
        if phase is None:
            return []
        found = []
        before = self._said.get((kind, name))
        moved = before is None or before[0] != phase
        if moved or (before is not None and before[1] != summary and now - before[2] >= QUIET_SECONDS):
            self._said[kind, name] = (phase, summary, now)
            style = STYLES.get(phase, "cyan")
            found.append(f"[bold]{SHORT[kind]}/{name}[/bold]  [{style}]{phase}[/{style}]  {escape(summary)}")
        if kind == "ModelDeployment":
            found += self._evidence(name, status.get("rollout") or {})
        return found

    def _evidence(self, name: str, rollout: dict[str, Any]) -> list[str]:
        """A line for each metric of a step once it has its verdict."""
        found = []
        for number, step in enumerate(rollout.get("steps") or (), 1):
            for metric in step.get("metrics") or ():
                key = (name, rollout.get("revision", ""), number, metric["name"])
                verdict = metric.get("verdict", "")
                if self._verdicts.get(key) == verdict or verdict in ("Continue", "NoData", ""):
                    continue
                self._verdicts[key] = verdict
                found.append("    " + evidence(number, step, metric))
        return found


def evidence(number: int, step: dict[str, Any], metric: dict[str, Any]) -> str:
    """One metric of one step: what was seen, and what follows from it."""
    canary, stable, difference = metric["canary"], metric["stable"], metric.get("difference") or {}
    style = {"Pass": "green", "Fail": "red"}.get(metric["verdict"], "yellow")
    bounds = (
        f"{difference.get('lower', 0):+.4f} to {difference.get('upper', 0):+.4f}" if difference else "unknown"
    )
    return (
        f"step {number} at {step.get('setWeight')} %: {metric['name']} [{style}]{metric['verdict']}[/{style}]: "
        f"canary {canary['bad']}/{canary['total']}, stable {stable['bad']}/{stable['total']}, "
        f"difference {bounds}, allowed {metric.get('maxIncrease')}"
    )


def run(
    cluster: Cluster,
    done: Callable[[dict[str, Any]], int | None] | None,
    deadline: float | None,
    teller: Teller | None = None,
) -> int:
    """Follow until `done` says an exit code of some object's state, the deadline (124), or Ctrl-C (130)."""
    console = Console(highlight=False, soft_wrap=True)
    changes: queue.Queue[dict[str, Any] | CliError] = queue.Queue()
    for kind in PLURALS:
        threading.Thread(target=_watch, args=(cluster, kind, changes), daemon=True).start()
    teller = teller or Teller()
    try:
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return TIME_OUT
            try:
                change = changes.get(timeout=min(1.0, left or 1.0))
            except queue.Empty:
                continue
            if isinstance(change, CliError):
                raise change
            for line in teller.lines(change, time.monotonic()):
                console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim]  {line}")
            if done is not None and (code := done(change)) is not None:
                return code
    except KeyboardInterrupt:
        return 130


def _watch(cluster: Cluster, kind: str, changes: "queue.Queue[dict[str, Any] | CliError]") -> None:
    while True:
        try:
            for manifest in cluster.watch(kind, WATCH_SECONDS):
                changes.put({"kind": kind, **manifest})
        except CliError as error:
            changes.put(error)
            return
