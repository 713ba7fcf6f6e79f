"""How one object stands, in words for people and in an exit code for scripts."""

import time

from rich.console import Console
from rich.markup import escape

from slipway.cli import follow
from slipway.cli.cluster import KINDS, SHORT, CliError, Cluster, Manifest
from slipway.cli.teller import STYLES, evidence, judged

CODES = {
    "Healthy": 0, "Ready": 0, "Succeeded": 0,
    "Degraded": 1, "Rejected": 1, "Failed": 1,
    "Paused": 3, "Suspended": 3,
}  # fmt: skip
"""Of a phase in which an object stays unless somebody acts. Any other one is under way."""


def parse(text: str) -> tuple[str, str]:
    """Kind and name; a bare name is that of a ModelDeployment."""
    kind, slash, name = text.rpartition("/")
    if not slash:
        return "ModelDeployment", name
    if kind.lower() not in KINDS or not name:
        raise CliError(f"{text}: write NAME or KIND/NAME with a kind of {', '.join(sorted(KINDS))}")
    return KINDS[kind.lower()], name


def code(manifest: Manifest) -> int | None:
    """None: under way, or the status is of an older spec."""
    status = manifest.get("status") or {}
    if status.get("observedGeneration") != manifest["metadata"].get("generation"):
        return None
    return CODES.get(str(status.get("phase")))


def run(cluster: Cluster, text: str, *, wait: bool, timeout: float | None) -> int:
    """The same codes with and without waiting; what is still under way is 124, as after a time-out."""
    kind, name = parse(text)
    manifest = cluster.get(kind, name)
    found = code(manifest)
    if wait and found is None:
        deadline = None if timeout is None else time.monotonic() + timeout
        ended = follow.run(
            cluster,
            lambda seen: code(seen) if seen["metadata"]["name"] == name else None,
            deadline,
            only=(kind, name),
        )
        if ended == follow.INTERRUPTED:
            return ended
        manifest = cluster.get(kind, name)
        found = ended
    console = Console(highlight=False)
    for line in described(manifest):
        console.print(line, soft_wrap=True)
    return follow.TIME_OUT if found is None else found


def described(manifest: Manifest) -> list[str]:
    """Rich markup: the sentence, what serves, the evidence or the gates, and what isn't as it should be."""
    kind, metadata, status = manifest["kind"], manifest["metadata"], manifest.get("status") or {}
    phase = status.get("phase", "Pending")
    style = STYLES.get(phase, "cyan")
    summary = status.get("summary") or "The operator hasn't looked at it yet."
    found = [f"[bold]{SHORT[kind]}/{metadata['name']}[/bold]  [{style}]{phase}[/{style}]  {escape(summary)}"]
    if phase in CODES and code(manifest) is None:
        found.append("  This is the state before the last change of its spec.")
    for revision in status.get("revisions") or ():
        found.append(
            f"  {revision['role'].lower()} {revision['name']}: {revision['modelVersionRef']['name']}, "
            f"{revision.get('weight', 0)} % of requests, "
            f"{revision.get('readyReplicas', 0)} of {revision.get('replicas', 0)} replicas ready"
        )
    for number, step in enumerate((status.get("rollout") or {}).get("steps") or (), 1):
        found += [f"  {evidence(number, step, metric)}" for metric in step.get("metrics") or ()]
    found += [f"  {judged(row)}" for row in status.get("gates") or ()]
    for condition in status.get("conditions") or ():
        if condition["status"] != "True" and condition["type"] not in ("Reconciling", "Stalled"):
            message = escape(condition.get("message") or "")
            found.append(f"  {condition['type']} {condition['status']} ({condition['reason']}): {message}")
    return found
