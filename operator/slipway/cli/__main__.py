"""kubectl slipway: upload data, watch the chain live, and ask a rollout for something once."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from slipway.cli import acts, follow, store
from slipway.cli.cluster import CliError, Cluster

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)

Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="default: that of the context")]
Name = Annotated[str, typer.Argument(help="a ModelDeployment")]


@app.command()
def push(
    source: Annotated[Path, typer.Argument(help="a folder or a file", exists=True)],
    target: Annotated[str, typer.Argument(help="store://PATH/")],
    namespace: Namespace = None,
    image: Annotated[str | None, typer.Option(help="default: what the chart told this namespace")] = None,
) -> None:
    """Upload a folder or a file into the namespace's store."""
    print(store.push(Cluster.connect(namespace), source, target, image))


@app.command()
def pull(
    source: Annotated[str, typer.Argument(help="store://PATH, a file or a folder")],
    target: Annotated[Path, typer.Argument(help="an existing folder", exists=True, file_okay=False)],
    namespace: Namespace = None,
    image: Annotated[str | None, typer.Option(help="default: what the chart told this namespace")] = None,
) -> None:
    """Download a file or a folder from the namespace's store."""
    print(store.pull(Cluster.connect(namespace), source, target, image))


@app.command(name="follow")
def follow_(
    namespace: Namespace = None,
    until: Annotated[
        str | None, typer.Option(help="end when KIND/NAME has condition TYPE, e.g. mdep/fashion:Ready")
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="seconds; exit code 124 after that")] = None,
) -> None:
    """Tell what happens to every object of Slipway in the namespace, as it happens."""
    done = follow.Goal.parse(until).reached if until else None
    deadline = time.monotonic() + timeout if timeout else None
    raise typer.Exit(follow.run(Cluster.connect(namespace), done, deadline))


@app.command()
def promote(name: Name, namespace: Namespace = None) -> None:
    """Go on from a pause, or finish a rollout now."""
    print(acts.ask(Cluster.connect(namespace), name, "promote"))


@app.command()
def abort(name: Name, namespace: Namespace = None) -> None:
    """Take all traffic back to the stable revision."""
    print(acts.ask(Cluster.connect(namespace), name, "abort"))


@app.command()
def retry(name: Name, namespace: Namespace = None) -> None:
    """Try a rejected revision again."""
    print(acts.ask(Cluster.connect(namespace), name, "retry"))


@app.command()
def pin(
    name: Name,
    revision: Annotated[str, typer.Argument(help="a revision of its history, e.g. fashion-6d4f9c")],
    namespace: Namespace = None,
) -> None:
    """Stay on one revision until it is unpinned."""
    print(acts.pin(Cluster.connect(namespace), name, revision))


@app.command()
def unpin(name: Name, namespace: Namespace = None) -> None:
    """Follow the spec again."""
    print(acts.pin(Cluster.connect(namespace), name, None))


def main() -> None:
    try:
        app()
    except CliError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
