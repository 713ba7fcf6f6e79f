"""The operator's process on a real API server: it works, keeps what it made, hands over, and ends in order."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

import apiserver

pytestmark = pytest.mark.slow

NAMESPACE = "default"
TOY = Path(__file__).resolve().parents[1] / "toy_operator.py"


class Operator:
    """One replica."""

    def __init__(self, kubeconfig: Path, name: str, log: Path, **more: str) -> None:
        (self.port,) = apiserver.free_ports(1)
        self.log = log
        environment = {
            "PATH": os.defpath,
            "KUBECONFIG": str(kubeconfig),
            "SLIPWAY_NAMESPACE": NAMESPACE,
            "SLIPWAY_POD_NAME": name,
            "SLIPWAY_OPERATOR_IMAGE": "registry.test/operator:1",
            "SLIPWAY_JOBS_IMAGE": "registry.test/jobs:1",
            "SLIPWAY_TRITON_IMAGE": "registry.test/triton:1",
            "SLIPWAY_HEALTH_PORT": str(self.port),
            "SLIPWAY_RELIST_SECONDS": "3600",
            **more,
        }
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(TOY)], env=environment, stderr=out, stdout=out
            )

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except (urllib.error.URLError, ConnectionError):
            return 0, ""

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


class Api:
    """What a user does, by the synchronous client."""

    def __init__(self, made: client.ApiClient) -> None:
        self.core = client.CoreV1Api(made)
        self.custom = client.CustomObjectsApi(made)
        self.leases = client.CoordinationV1Api(made)

    def create_model(self, name: str, *aliases: str, namespace: str = NAMESPACE) -> None:
        spec = {"aliases": [{"name": alias, "latest": {}} for alias in aliases]}
        body = {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "Model",
            "metadata": {"name": name},
            "spec": spec,
        }
        self.custom.create_namespaced_custom_object("slipway.dev", "v1alpha1", namespace, "models", body)

    def model(self, name: str) -> Any:
        found: Any = self.custom.get_namespaced_custom_object(
            "slipway.dev", "v1alpha1", NAMESPACE, "models", name
        )
        return found

    def models(self, name: str) -> list[Any]:
        found: Any = self.custom.list_namespaced_custom_object(
            "slipway.dev", "v1alpha1", NAMESPACE, "models", field_selector=f"metadata.name={name}"
        )
        return list(found["items"])

    def delete_model(self, name: str) -> None:
        self.custom.delete_namespaced_custom_object("slipway.dev", "v1alpha1", NAMESPACE, "models", name)

    def config_map(self, name: str, namespace: str = NAMESPACE) -> dict[str, str] | None:
        try:
            return self.core.read_namespaced_config_map(name, namespace).data or {}
        except client.ApiException as error:
            if error.status != 404:
                raise
            return None

    def holder(self) -> str | None:
        spec = self.leases.read_namespaced_lease("slipway-operator", NAMESPACE).spec
        return spec.holder_identity if spec else None

    def leader_labels(self) -> list[str]:
        pods = self.core.list_namespaced_pod(NAMESPACE, label_selector="slipway.dev/leader=true")
        return [str(pod.metadata.name) for pod in pods.items if pod.metadata]


@pytest.fixture
def api(real_api: Path) -> Iterator[Api]:
    with config.new_client_from_config(str(real_api)) as made:  # type: ignore[no-untyped-call]  # untyped
        yield Api(made)


@pytest.fixture
def start(real_api: Path, api: Api, tmp_path: Path) -> Iterator[Callable[..., Operator]]:
    """Starts a replica, with a Pod of its name to be labelled; all are gone at the end."""
    with ExitStack() as ending:

        def replica(name: str, **more: str) -> Operator:
            body: Any = {
                "metadata": {"name": name, "labels": {"slipway.dev/leader": "true"}},
                "spec": {"containers": [{"name": "main", "image": "registry.test/operator:1"}]},
            }
            api.core.create_namespaced_pod(NAMESPACE, body)
            ending.callback(api.core.delete_namespaced_pod, name, NAMESPACE, grace_period_seconds=0)
            operator = Operator(real_api, name, tmp_path / f"{name}.log", **more)
            ending.callback(operator.process.wait)
            ending.callback(operator.process.kill)
            return operator

        yield replica


def wait_until(holds: Callable[[], Any], within: float, about: Operator) -> float:
    """Seconds it took."""
    started = time.monotonic()
    while not holds():
        waited = time.monotonic() - started
        assert waited < within, f"not so within {within} s; its log:\n{about.log.read_text()}"
        assert about.process.poll() is None, f"the operator has ended; its log:\n{about.log.read_text()}"
        time.sleep(0.1)
    return time.monotonic() - started


def test_it_makes_and_keeps_what_a_model_states_and_ends_in_order(
    start: Callable[..., Operator], api: Api
) -> None:
    operator = start("alone")
    api.create_model("kept", "candidate")
    wait_until(lambda: api.config_map("kept-aliases") == {"candidate": "yes"}, 30, operator)
    wait_until(
        lambda: (
            api.model("kept")["status"] == {"observedGeneration": 1, "phase": "Ready", "summary": "Kept."}
        ),
        5,
        operator,
    )
    metadata = api.model("kept")["metadata"]
    assert "annotations" not in metadata
    assert metadata["finalizers"] == ["slipway.dev/finalizer"], "and no other"

    theirs: Any = {"data": {"candidate": "no"}}
    api.core.patch_namespaced_config_map("kept-aliases", NAMESPACE, theirs)
    wait_until(lambda: api.config_map("kept-aliases") == {"candidate": "yes"}, 5, operator)
    api.core.delete_namespaced_config_map("kept-aliases", NAMESPACE)
    wait_until(lambda: api.config_map("kept-aliases") == {"candidate": "yes"}, 5, operator)

    version = api.model("kept")["metadata"]["resourceVersion"]
    time.sleep(3)
    assert api.model("kept")["metadata"]["resourceVersion"] == version, "an object at rest is left alone"
    api.delete_model("kept")
    wait_until(lambda: not api.models("kept"), 5, operator)

    assert operator.get("/readyz") == (200, "ok, leading")
    assert operator.get("/healthz") == (200, "ok")
    code, figures = operator.get("/metrics")
    assert code == 200
    assert 'slipway_reconcile_total{controller="Model",result="success"}' in figures
    assert "slipway_leader 1.0" in figures
    assert api.leader_labels() == ["alone"]
    assert api.holder() == "alone"
    assert operator.stop() == 0, operator.log.read_text()
    assert api.holder() == ""
    assert api.leader_labels() == []
    assert '"level": "error"' not in operator.log.read_text()


def test_a_standby_takes_over_from_one_that_ends_and_from_one_that_is_killed(
    start: Callable[..., Operator], api: Api
) -> None:
    first = start("first")
    wait_until(lambda: first.get("/readyz") == (200, "ok, leading"), 30, first)
    second = start("second")
    wait_until(lambda: second.get("/readyz") == (200, "ok, standing by"), 30, second)
    # Pods start labelled here, as after a crash: a standby is ready a moment before it has taken its label off.
    wait_until(lambda: api.leader_labels() == ["first"], 5, second)

    assert first.stop() == 0, first.log.read_text()
    graceful = wait_until(lambda: second.get("/readyz")[1] == "ok, leading", 6, second)
    third = start("third")
    wait_until(lambda: third.get("/readyz") == (200, "ok, standing by"), 30, third)
    second.stop(signal.SIGKILL)
    killed = wait_until(lambda: third.get("/readyz")[1] == "ok, leading", 25, third)
    print(f"taken over {graceful:.1f} s after an orderly end, {killed:.1f} s after a kill")
    assert "third" in api.leader_labels()
    api.create_model("later", "candidate")
    wait_until(lambda: api.config_map("later-aliases") == {"candidate": "yes"}, 5, third)


def test_a_replica_whose_lease_is_taken_ends(start: Callable[..., Operator], api: Api) -> None:
    operator = start("robbed")
    wait_until(lambda: operator.get("/readyz") == (200, "ok, leading"), 45, operator)
    taken: Any = {"spec": {"holderIdentity": "somebody-else"}}
    api.leases.patch_namespaced_lease("slipway-operator", NAMESPACE, taken)
    assert operator.process.wait(10) == 1
    assert "was taken from robbed" in operator.log.read_text()
    assert api.holder() == "somebody-else"


def test_a_replica_told_so_works_in_its_namespaces_only(start: Callable[..., Operator], api: Api) -> None:
    body: Any = {"metadata": {"name": "watched"}}
    api.core.create_namespace(body)
    operator = start("bounded", SLIPWAY_WATCH_NAMESPACES="watched")
    wait_until(lambda: operator.get("/readyz") == (200, "ok, leading"), 45, operator)
    api.create_model("outside", "candidate")
    api.create_model("inside", "candidate", namespace="watched")
    wait_until(lambda: api.config_map("inside-aliases", "watched"), 5, operator)
    assert api.config_map("outside-aliases") is None
    assert operator.stop() == 0
