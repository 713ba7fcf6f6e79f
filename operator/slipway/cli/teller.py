"""What there is to say about an object's state, and how it is shown."""

import time
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slipway import gates
from slipway.api.gates import GateResult
from slipway.cli.cluster import SHORT, Manifest

QUIET_SECONDS = 5.0
"""A summary that only counts on (progress, samples) is repeated at most this often."""
DAY = 24 * 3600.0
STYLES = {
    "Ready": "green", "Succeeded": "green", "Healthy": "green",
    "Failed": "red", "Rejected": "yellow", "Degraded": "yellow", "Paused": "yellow", "Suspended": "yellow",
}  # fmt: skip
VERDICTS = {"Pass": "green", "Fail": "red"}


class Teller:
    """Turns states of objects into lines; remembers what it said."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], tuple[str, str, float]] = {}
        self._verdicts: dict[tuple[str, str, str], str] = {}
        self._news: set[tuple[str, str]] = set()

    def lines(self, manifest: Manifest, now: float) -> list[str]:
        """Rich markup; empty when there is nothing new to say."""
        key = kind, name = manifest["kind"], manifest["metadata"]["name"]
        status = manifest.get("status") or {}
        phase, summary = status.get("phase"), status.get("summary", "")
        if phase is None:
            return []
        found = []
        before = self._said.get(key)
        moved = before is None or before[0] != phase
        if moved or (before is not None and before[1] != summary and now - before[2] >= QUIET_SECONDS):
            self._said[key] = (phase, summary, now)
            found.append(_headline(kind, name, phase, summary))
        if before is not None:
            self._news.add(key)
        if kind == "ModelDeployment":
            return found + self._evidence(name, status.get("rollout") or {})
        # A version that a run or job made carries the gates of its producer, told already.
        if kind != "ModelVersion" or "slipway.dev/producer" not in (manifest["metadata"].get("labels") or {}):
            found += self._gates(kind, name, status)
        return found

    def deleted(self, manifest: Manifest) -> str:
        """One of this name that is made anew is told from its start."""
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        self._said.pop((kind, name), None)
        for key in [key for key in self._verdicts if key[:2] == (kind, name)]:
            del self._verdicts[key]
        return f"[bold]{SHORT[kind]}/{name}[/bold]  [red]deleted[/red]"

    def moment(self, manifest: Manifest) -> time.struct_time:
        """Now; of what was there before the following began, when its state did."""
        began = since(manifest)
        if (manifest["kind"], manifest["metadata"]["name"]) in self._news or began is None:
            return time.localtime()
        return time.localtime(datetime.fromisoformat(began).timestamp())

    def _evidence(self, name: str, rollout: dict[str, Any]) -> list[str]:
        """A line for each metric of a step once it has its verdict."""
        found = []
        for number, step in enumerate(rollout.get("steps") or (), 1):
            for metric in step.get("metrics") or ():
                what = f"{rollout.get('revision', '')} {number} {metric['name']}"
                verdict = metric.get("verdict", "")
                if verdict not in ("Continue", "NoData", "") and self._is_new(
                    "ModelDeployment", name, what, verdict
                ):
                    found.append("    " + evidence(number, step, metric))
        return found

    def _gates(self, kind: str, name: str, status: dict[str, Any]) -> list[str]:
        """A line for each gate once it is judged."""
        found = []
        for row in status.get("gates") or ():
            what = f"{row['metric']} {row.get('class', '')}"
            said = f"{row['verdict']} {row.get('value')}"
            if self._is_new(kind, name, what, said):
                found.append("    " + judged(row))
        return found

    def _is_new(self, kind: str, name: str, what: str, said: str) -> bool:
        key = (kind, name, what)
        if self._verdicts.get(key) == said:
            return False
        self._verdicts[key] = said
        return True


def _headline(kind: str, name: str, phase: str, summary: str) -> str:
    style = STYLES.get(phase, "cyan")
    return f"[bold]{SHORT[kind]}/{name}[/bold]  [{style}]{phase}[/{style}]  {escape(summary)}"


def judged(row: dict[str, Any]) -> str:
    """One gate of a run, job, version or dataset."""
    style = VERDICTS.get(row["verdict"], "yellow")
    explained = escape(gates.explained(GateResult.model_validate(row)).rstrip("."))
    return f"gate [{style}]{row['verdict']}[/{style}]: {explained}"


def evidence(number: int, step: dict[str, Any], metric: dict[str, Any]) -> str:
    """One metric of one step: what was seen, and what follows from it."""
    canary, stable, difference = metric["canary"], metric["stable"], metric.get("difference") or {}
    style = VERDICTS.get(metric["verdict"], "yellow")
    bounds = (
        f"{difference.get('lower', 0):+.4f} to {difference.get('upper', 0):+.4f}" if difference else "unknown"
    )
    said = (
        f"step {number} at {step.get('setWeight')} %: {metric['name']} [{style}]{metric['verdict']}[/{style}]: "
        f"canary {canary['bad']}/{canary['total']}, stable {stable['bad']}/{stable['total']}, "
    )
    if metric["verdict"] == "Fail" and (weighed := metric.get("evidence")):
        # What a rollback is decided by; the interval is still wide after a few looks.
        return f"{said}ln e-value {weighed['logE']}, rolled back at {weighed['rollbackAt']}"
    return f"{said}difference {bounds}, allowed {metric.get('maxIncrease')}"


def since(manifest: Manifest) -> str | None:
    """When the object's state began, as far as it tells."""
    conditions = (manifest.get("status") or {}).get("conditions") or ()
    return max((condition["lastTransitionTime"] for condition in conditions), default=None)


def show(console: Console, moment: time.struct_time, line: str) -> None:
    """With a hanging indent on a terminal; as one line in a log, for grep."""
    old = time.time() - time.mktime(moment) > DAY  # noqa: TID251  (shown to a person, decides nothing)
    stamp = time.strftime("%b %d  " if old else "%H:%M:%S", moment)
    if not console.is_terminal:
        console.print(f"{stamp}  {line}", soft_wrap=True)
        return
    indent = len(line) - len(line.lstrip())
    grid = Table.grid(padding=(0, 0, 0, 2))
    grid.add_column(no_wrap=True, min_width=8)
    grid.add_column(overflow="fold")
    grid.add_row(f"[dim]{stamp}[/dim]", " " * indent + line.lstrip())
    console.print(grid)
