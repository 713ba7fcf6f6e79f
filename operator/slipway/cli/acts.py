"""What a person may ask of a rollout once: annotations with a new value, which GitOps tools leave alone."""

import time

from slipway.cli.cluster import CliError, Cluster


def ask(cluster: Cluster, name: str, act: str) -> str:
    """promote, abort or retry; refuses what can't have an effect now."""
    status = cluster.get("ModelDeployment", name).get("status") or {}
    rollout = status.get("rollout") or {}
    under_way = any(revision["role"] == "Canary" for revision in status.get("revisions") or ())
    if act in ("promote", "abort") and not under_way:
        raise CliError(f"ModelDeployment {name} has no rollout under way; {act} has nothing to act on")
    if (
        act == "retry"
        and rollout.get("verdict") not in ("Fail", "Inconclusive")
        and status.get("phase") != "Degraded"
    ):
        raise CliError(
            f"ModelDeployment {name} has no rejected revision to retry (phase {status.get('phase', 'Pending')})"
        )
    # Nanoseconds, so that two asks in one second are two.
    cluster.annotate("ModelDeployment", name, {f"slipway.dev/{act}": str(time.time_ns())})
    return f"Asked ModelDeployment {name} to {act}. Watch: kubectl slipway status {name} --wait -n {cluster.namespace}"


def pin(cluster: Cluster, name: str, revision: str | None) -> str:
    status = cluster.get("ModelDeployment", name).get("status") or {}
    known = {entry["revision"] for entry in status.get("history") or ()}
    known |= {entry["name"] for entry in status.get("revisions") or ()}
    if revision is not None and revision not in known:
        raise CliError(
            f"{revision} is no revision of ModelDeployment {name}; there are {', '.join(sorted(known)) or 'none yet'}"
        )
    cluster.annotate("ModelDeployment", name, {"slipway.dev/pin": revision})
    return f"ModelDeployment {name} " + (
        f"stays on {revision} until unpinned." if revision else "follows its spec."
    )
