"""The demo: Fashion-MNIST from four files to a model that was replaced under traffic, followed live.

Needs a cluster with Slipway (`python3 e2e/setup.py`). Run again, it finds its work done and only asks for an answer.
"""

import gzip
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes
import numpy as np
import requests
from rich.console import Console
from rich.panel import Panel

from slipway.cli import follow
from slipway.cli.cluster import CliError, Cluster

sys.path.insert(0, str(Path(__file__).resolve().parent))
from traffic import Traffic

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples" / "fashion-mnist"
DATA = Path("/usr/share/datasets/fashion-mnist")
CLASSES = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]
NAMESPACE, DEPLOYMENT = "demo", "fashion"
RELEASE_NAMESPACE, ROUTER = "slipway-system", "slipway-router"
HOST = f"{DEPLOYMENT}.{NAMESPACE}"
RATE = 80.0
PATIENCE_SECONDS = 900

console = Console(highlight=False, soft_wrap=True)
Done = Callable[[dict[str, Any]], int | None]


class DemoError(Exception):
    """A stage didn't end as it should; the message says how it ended and what to look at."""


def main() -> int:
    cluster = Cluster.connect(NAMESPACE)
    began = time.monotonic()
    try:
        router = os.environ.get("ROUTER") or cluster_address(cluster)
        teller = follow.Teller()
        first_version(cluster, teller, router)
        better_version(cluster, teller, router)
        slow_version(cluster, teller, router)
        hasty_version(cluster, teller)
        ending(cluster, router, time.monotonic() - began)
    except (DemoError, CliError) as error:
        console.print(f"[red]{error}[/red]\nRun `make demo` again to go on from here.")
        return 1
    return 0


def cluster_address(cluster: Cluster) -> str:
    """Reachable from a node of the cluster, which the bare machine is."""
    address: str = cluster.core.read_namespaced_service(ROUTER, RELEASE_NAMESPACE).spec.cluster_ip
    return address


def first_version(cluster: Cluster, teller: follow.Teller, router: str) -> None:
    heading("1. From data to an address: train, check, compress, serve")
    if not exists(cluster, "Dataset", "fashion-mnist"):
        slipway("push", str(DATA), "store://datasets/fashion-mnist/")
    apply("10-dataset", "20-model", "30-run-v1", "40-compress-v1", "50-deployment")
    wait(cluster, teller, serves("fashion-cnn-v1-int8", "fashion-cnn-v2-int8"))
    image, label = test_image()
    rest_answer(router, image, label)


def better_version(cluster: Cluster, teller: follow.Teller, router: str) -> None:
    heading(f"2. A better version takes over, by canary, under {RATE:.0f} requests a second")
    with Traffic(router, HOST, DEPLOYMENT, test_image()[0], rate=RATE) as seen:
        apply("60-run-v2", "70-compress-v2")
        wait(cluster, teller, serves("fashion-cnn-v2-int8"))
    tell(seen)


def slow_version(cluster: Cluster, teller: follow.Teller, router: str) -> None:
    heading("3. A version too slow for the 25 ms objective is rolled back")
    with Traffic(router, HOST, DEPLOYMENT, test_image()[0], rate=RATE) as seen:
        if not exists(cluster, "ModelVersion", "fashion-cnn-v3"):
            with tempfile.TemporaryDirectory() as folder:
                slipway("pull", "store://models/fashion-cnn-v2/model.onnx", folder)
                model = Path(folder, "model.onnx")
                subprocess.run(
                    [sys.executable, str(EXAMPLES / "slow.py"), str(model), str(model)], check=True
                )
                slipway("push", str(model), "store://uploads/fashion-cnn-v3/")
        apply("90-version-slow")
        wait(cluster, teller, rolled_back("fashion-cnn-v3"))
    tell(seen)


def hasty_version(cluster: Cluster, teller: follow.Teller) -> None:
    heading("4. A version that misses its accuracy gate is kept, and never served")
    apply("80-run-hasty")
    wait(cluster, teller, phase("ModelVersion", "fashion-cnn-hasty", "Rejected"))


def ending(cluster: Cluster, router: str, seconds: float) -> None:
    heading(f"Done in {seconds / 60:.1f} min")
    image, label = test_image()
    rest_answer(router, image, label)
    subprocess.run(["kubectl", "get", "slipway", "-n", NAMESPACE], check=True)
    console.print(
        Panel.fit(
            f"curl -H 'Host: {HOST}' http://{router}/v2/models/{DEPLOYMENT}   [dim]# REST; gRPC on port 8001[/dim]\n"
            f"kubectl describe mdep {DEPLOYMENT} -n {NAMESPACE}   [dim]# the evidence for each step[/dim]\n"
            f"kubectl get mver -n {NAMESPACE} -o wide   [dim]# every version and where it came from[/dim]\n"
            f"kubectl slipway follow -n {NAMESPACE}   [dim]# live; edit a run or a gate and apply it[/dim]",
            title="What to look at next",
        )
    )


def serves(*versions: str) -> Done:
    """One of these versions is stable, and every router sends it everything."""

    def done(manifest: dict[str, Any]) -> int | None:
        if (manifest["kind"], manifest["metadata"]["name"]) != ("ModelDeployment", DEPLOYMENT):
            return failed(manifest)
        status = manifest.get("status") or {}
        stable = [r for r in status.get("revisions") or () if r["role"] == "Stable"]
        arrived = any(
            r["modelVersionRef"]["name"] in versions and r.get("acknowledgedWeight") == 100 for r in stable
        )
        # Later stages leave the deployment Degraded: with its version serving, this stage's work is done.
        return 0 if arrived else None

    return done


def rolled_back(version: str) -> Done:
    def done(manifest: dict[str, Any]) -> int | None:
        if manifest["kind"] != "ModelDeployment":
            return failed(manifest)
        history = (manifest.get("status") or {}).get("history") or ()
        outcomes = {entry["modelVersionRef"]["name"]: entry["outcome"] for entry in history}
        if outcomes.get(version) == "Promoted":
            return 1
        return 0 if outcomes.get(version) == "RolledBack" else None

    return done


def phase(kind: str, name: str, wanted: str) -> Done:
    def done(manifest: dict[str, Any]) -> int | None:
        if (manifest["kind"], manifest["metadata"]["name"]) != (kind, name):
            return None
        return 0 if (manifest.get("status") or {}).get("phase") == wanted else None

    return done


def failed(manifest: dict[str, Any]) -> int | None:
    """1 for an object that can't go on, whose name isn't that of the version meant to be rejected."""
    name, status = manifest["metadata"]["name"], manifest.get("status") or {}
    expected = name.startswith("fashion-cnn-hasty")
    return 1 if status.get("phase") in ("Failed", "Rejected") and not expected else None


def wait(cluster: Cluster, teller: follow.Teller, done: Done) -> None:
    code = follow.run(cluster, done, time.monotonic() + PATIENCE_SECONDS, teller)
    if code == 130:
        raise KeyboardInterrupt
    if code == follow.TIME_OUT:
        raise DemoError(
            f"This stage took over {PATIENCE_SECONDS // 60} min; see kubectl get slipway -n {NAMESPACE}."
        )
    if code != 0:
        raise DemoError(
            f"This stage ended otherwise than it should; see kubectl describe in namespace {NAMESPACE}."
        )


def apply(*names: str) -> None:
    for name in names:
        subprocess.run(
            ["kubectl", "apply", "-n", NAMESPACE, "-f", str(EXAMPLES / f"{name}.yaml")], check=True
        )


def slipway(*arguments: str) -> None:
    command = [str(Path(sys.executable).with_name("kubectl-slipway")), *arguments, "-n", NAMESPACE]
    console.print(f"[dim]kubectl slipway {' '.join(command[1:])}[/dim]")
    if subprocess.run(command, check=False).returncode != 0:
        raise DemoError("The command above failed.")


def exists(cluster: Cluster, kind: str, name: str) -> bool:
    try:
        cluster.get(kind, name)
    except CliError as error:
        if isinstance(error.__cause__, kubernetes.client.ApiException) and error.__cause__.status == 404:
            return False
        raise
    return True


def test_image() -> tuple[np.ndarray, int]:
    """The first image of the test split, [1, 28, 28] UINT8, and its class."""
    images = gzip.decompress((DATA / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((DATA / "t10k-labels-idx1-ubyte.gz").read_bytes())
    return np.frombuffer(images, np.uint8, 28 * 28, offset=16).reshape(1, 28, 28), labels[8]


def rest_answer(router: str, image: np.ndarray, label: int) -> None:
    body = {
        "inputs": [
            {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28], "data": image.ravel().tolist()}
        ]
    }
    url = f"http://{router}/v2/models/{DEPLOYMENT}/infer"
    answer = requests.post(url, json=body, headers={"Host": HOST}, timeout=10)
    if answer.status_code != 200:
        raise DemoError(f"{url} answered {answer.status_code}: {answer.text[:200]}")
    logits = answer.json()["outputs"][0]["data"]
    said = CLASSES[int(np.argmax(logits))]
    console.print(
        f"Asked {HOST} what the first test image is: [bold]{said}[/bold] (labelled {CLASSES[label]}), "
        f"by revision {answer.headers['x-slipway-revision']}, in {answer.elapsed.total_seconds() * 1000:.1f} ms."
    )


def tell(seen: Any) -> None:
    style = "red" if seen.failures else "green"
    by_revision = ", ".join(f"{count} by {name}" for name, count in seen.answered.items())
    console.print(f"Traffic: {seen.sent} requests, [{style}]{seen.failures} failed[/{style}]; {by_revision}.")
    for what, count in seen.failed.items():
        console.print(f"    {count} x {what}")
    if seen.failed_at:
        console.print(f"    between {seen.failed_at[0]:.0f} and {seen.failed_at[-1]:.0f} s after the start")


def heading(text: str) -> None:
    console.print(f"\n[bold cyan]{text}[/bold cyan]")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        console.print("\nInterrupted. Run `make demo` again to go on from here.")
        sys.exit(130)
