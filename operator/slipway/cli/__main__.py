"""Upload data, watch models on their way from training to traffic, and steer rollouts."""

import logging
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from slipway.cli import acts, follow, status, store
from slipway.cli.cluster import CliError, Cluster

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help=__doc__,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", metavar="NAMESPACE", help="Default: that of the kubeconfig's context."),
]
Name = Annotated[str, typer.Argument(help="A ModelDeployment.", show_default=False)]
Image = Annotated[
    str | None,
    typer.Option(metavar="IMAGE", help="Of the copy pod. Default: what the chart told this namespace."),
]
Timeout = Annotated[
    float | None, typer.Option(metavar="SECONDS", min=0, help="Exit code 124 after that. Default: no limit.")
]
FILES, WATCHING, STEERING = "Files in the namespace's store", "Watching", "Steering a rollout"


@app.command(rich_help_panel=FILES)
def push(
    source: Annotated[
        Path,
        typer.Argument(help="A folder (what is in it is uploaded) or a file.", exists=True),
    ],
    target: Annotated[str, typer.Argument(help="Where to: store://PATH/.")],
    namespace: Namespace = None,
    image: Image = None,
) -> None:
    """Upload a folder or a file into the namespace's store."""
    print(store.push(Cluster.connect(namespace), source, target, image))


@app.command(rich_help_panel=FILES)
def pull(
    source: Annotated[str, typer.Argument(help="store://PATH, a file or a folder.")],
    target: Annotated[Path, typer.Argument(help="An existing folder.", exists=True, file_okay=False)],
    namespace: Namespace = None,
    image: Image = None,
) -> None:
    """Download a file or a folder from the namespace's store."""
    print(store.pull(Cluster.connect(namespace), source, target, image))


@app.command(name="follow", rich_help_panel=WATCHING)
def follow_(
    namespace: Namespace = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="KIND/NAME:TYPE",
            help="End when that condition is True (exit code 0) or the object is Stalled (1), e.g. mdep/fashion:Ready.",
        ),
    ] = None,
    timeout: Timeout = None,
) -> None:
    """Tell what happens to every object of Slipway in the namespace, as it happens."""
    goal = follow.Goal.parse(until) if until else None
    deadline = None if timeout is None else time.monotonic() + timeout
    cluster = Cluster.connect(namespace)
    if goal is None:
        raise typer.Exit(follow.run(cluster, None, deadline))
    raise typer.Exit(follow.run(cluster, goal.reached, deadline, about=goal.about))


@app.command(name="status", rich_help_panel=WATCHING)
def status_(
    name: Annotated[str, typer.Argument(help="A ModelDeployment; or KIND/NAME, e.g. trun/v1.")],
    namespace: Namespace = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until it isn't under way any more.")] = False,
    timeout: Timeout = None,
) -> None:
    """Tell how an object stands.

    Exit codes, waiting or not: 0 Healthy, Ready or Succeeded; 1 Degraded (a rollback too), Rejected or Failed;
    3 Paused (for want of a verdict too) or Suspended; 124 still under way.
    """
    if timeout is not None and not wait:
        raise CliError("--timeout is for --wait: without it nothing is waited for")
    raise typer.Exit(status.run(Cluster.connect(namespace), name, wait=wait, timeout=timeout))


@app.command(rich_help_panel=STEERING)
def promote(name: Name, namespace: Namespace = None) -> None:
    """Go on from a pause, or finish a rollout now."""
    print(acts.ask(Cluster.connect(namespace), name, "promote"))


@app.command(rich_help_panel=STEERING)
def abort(name: Name, namespace: Namespace = None) -> None:
    """Take all traffic back to the stable revision."""
    print(acts.ask(Cluster.connect(namespace), name, "abort"))


@app.command(rich_help_panel=STEERING)
def retry(name: Name, namespace: Namespace = None) -> None:
    """Try a rejected revision again."""
    print(acts.ask(Cluster.connect(namespace), name, "retry"))


@app.command(rich_help_panel=STEERING)
def pin(
    name: Name,
    revision: Annotated[str, typer.Argument(help="One of its history, e.g. fashion-6d4f9c.")],
    namespace: Namespace = None,
) -> None:
    """Stay on one revision until it is unpinned."""
    print(acts.pin(Cluster.connect(namespace), name, revision))


@app.command(rich_help_panel=STEERING)
def unpin(name: Name, namespace: Namespace = None) -> None:
    """Follow the spec again."""
    print(acts.pin(Cluster.connect(namespace), name, None))


def main() -> None:
    # What it would say of lost connections is said by us.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    try:
        app(prog_name="kubectl slipway")
    except CliError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
