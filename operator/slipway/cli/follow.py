"""The live follower: one line for each thing that happens, the same on a terminal and in a log."""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Console

from slipway.cli.cluster import KINDS, PLURALS, CliError, Cluster, Manifest, NoConnection
from slipway.cli.teller import Teller, show, since

__all__ = ["INTERRUPTED", "TIME_OUT", "Goal", "Teller", "run"]

WATCH_SECONDS = 60
"""A watch outlives the following by at most this long."""
RECONNECT_SECONDS = 2.0
TIME_OUT = 124
INTERRUPTED = 130

Done = Callable[[Manifest], int | None]


class Change(NamedTuple):
    """ADDED, MODIFIED or DELETED, or the state of the connection to the cluster."""

    type: str
    manifest: Manifest


class Trouble(NamedTuple):
    """The cluster doesn't answer; None: it does again."""

    message: str | None


Changes = queue.Queue[Change | Trouble | CliError]


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
        if not name or not condition or kind.lower() not in KINDS:
            raise CliError(f"{text}: write KIND/NAME:CONDITION with a kind of {', '.join(sorted(KINDS))}")
        return cls(KINDS[kind.lower()], name, condition)

    @property
    def about(self) -> tuple[str, str]:
        return self.kind, self.name

    def reached(self, manifest: Manifest) -> int | None:
        """0: the condition is True; 1: Stalled; None: neither, or the status is of an older spec."""
        metadata, status = manifest["metadata"], manifest.get("status") or {}
        if (manifest["kind"], metadata["name"]) != self.about:
            return None
        if status.get("observedGeneration") != metadata.get("generation"):
            return None
        states = {c["type"]: c["status"] for c in status.get("conditions") or ()}
        if states.get(self.condition) == "True":
            return 0
        return 1 if states.get("Stalled") == "True" else None


def run(
    cluster: Cluster,
    done: Done | None,
    deadline: float | None,
    teller: Teller | None = None,
    *,
    about: tuple[str, str] | None = None,
    only: tuple[str, str] | None = None,
) -> int:
    """Follow until `done` says an exit code of some object's state, the deadline (124), or Ctrl-C (130).

    The deletion of the object (kind, name) that it is `about` ends it with an error. `only` tells of that one.
    """
    console = Console(highlight=False)
    teller = teller or Teller()
    changes: Changes = queue.Queue()
    ended = threading.Event()
    try:
        states = {kind: cluster.list(kind) for kind in ([only[0]] if only else PLURALS)}
        if not any(items for items, _ in states.values()):
            cluster.require_namespace()
            console.print(f"[dim]Nothing of Slipway in namespace {cluster.namespace} yet; waiting.[/dim]")
        present = [{**item, "kind": kind} for kind, (items, _) in states.items() for item in items]
        for manifest in sorted(present, key=lambda manifest: since(manifest) or ""):
            changes.put(Change("ADDED", manifest))
        for kind, (items, version) in states.items():
            known = {item["metadata"]["name"]: {**item, "kind": kind} for item in items}
            words = (cluster, kind, known, version, changes, ended)
            threading.Thread(target=_watch, args=words, daemon=True).start()
        return _tell(console, teller, changes, done, deadline, about or only, only)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        ended.set()


def _tell(
    console: Console,
    teller: Teller,
    changes: Changes,
    done: Done | None,
    deadline: float | None,
    about: tuple[str, str] | None,
    only: tuple[str, str] | None,
) -> int:
    troubled = False
    while True:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0 and changes.empty():
            return TIME_OUT
        try:
            change = changes.get(timeout=None if left is None else max(left, 0.01))
        except queue.Empty:
            continue
        if isinstance(change, CliError):
            raise change
        if isinstance(change, Trouble):
            # Six kinds lose their connection at once, and it is one piece of news.
            if (change.message is not None) != troubled:
                troubled = not troubled
                show(
                    console,
                    time.localtime(),
                    f"[yellow]{change.message or 'The cluster answers again.'}[/yellow]",
                )
            continue
        type_, manifest = change
        place = manifest["kind"], manifest["metadata"]["name"]
        if only is not None and place != only:
            continue
        if type_ == "DELETED":
            show(console, time.localtime(), teller.deleted(manifest))
            if place == about:
                raise CliError(f"{place[0]} {place[1]} was deleted")
            continue
        for line in teller.lines(manifest, time.monotonic()):
            show(console, teller.moment(manifest), line)
        if done is not None and (code := done(manifest)) is not None:
            return code


def _watch(
    cluster: Cluster,
    kind: str,
    known: dict[str, Manifest],
    version: str | None,
    changes: Changes,
    ended: threading.Event,
) -> None:
    """From that version on; after a loss, from a new list, compared with what was known."""
    lost = False
    while not ended.is_set():
        try:
            if version is None:
                version = _relist(cluster, kind, known, changes)
                if lost:
                    changes.put(Trouble(None))
                    lost = False
            for type_, item in cluster.watch(kind, version, WATCH_SECONDS):
                manifest = {**item, "kind": kind}
                known[manifest["metadata"]["name"]] = manifest
                if type_ == "DELETED":
                    del known[manifest["metadata"]["name"]]
                changes.put(Change(type_, manifest))
                if ended.is_set():
                    return
            version = None
        except NoConnection as error:
            version = None
            if not lost:
                lost = True
                changes.put(Trouble(f"{error}; trying again"))
            ended.wait(RECONNECT_SECONDS)
        except CliError as error:
            changes.put(error)
            return


def _relist(cluster: Cluster, kind: str, known: dict[str, Manifest], changes: Changes) -> str:
    items, version = cluster.list(kind)
    present = {item["metadata"]["name"]: {**item, "kind": kind} for item in items}
    for name in known.keys() - present.keys():
        changes.put(Change("DELETED", known[name]))
    for manifest in present.values():
        changes.put(Change("MODIFIED", manifest))
    known.clear()
    known.update(present)
    return version
