"""What the end-to-end tests share: a cluster if one is there, and the reason for skipping if none is."""

import os
import shutil
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "cluster"))
import onnx
from slipway_cluster import paths

import given
import tiny
from apiserver import ProgramsMissingError, api_server
from stage import RELEASE_NAMESPACE, Stage, now

LAST = "test_hygiene"
"""Looks back at what the others did."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem == LAST)


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """Of the cluster to test on: KUBECONFIG, else the one that `slipway-cluster up` started."""
    file = Path(os.environ.get("KUBECONFIG") or paths.clusters() / "slipway" / "kubeconfig")
    if not file.exists():
        pytest.skip(f"no cluster: {file} isn't there; set KUBECONFIG or run `e2e/cluster/slipway-cluster up`")
    return file


@pytest.fixture(scope="session")
def kubectl() -> str:
    found = shutil.which("kubectl", path=f"{os.environ['PATH']}:{paths.programs()}")
    if not found:
        pytest.skip("no kubectl on PATH or in the cache; run `e2e/cluster/slipway-cluster build`")
    return found


@pytest.fixture(scope="session")
def bare_api() -> Iterator[Path]:
    """The kubeconfig of an API server without a node."""
    try:
        with api_server() as file:
            yield file
    except ProgramsMissingError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def theatre(kubectl: str, kubeconfig: Path) -> Stage:
    """The release and the namespace of the tests, empty."""
    stage = Stage(kubectl, kubeconfig)
    if stage.run("get", "namespace", "e2e").returncode:
        pytest.skip("no namespace e2e: install the chart with e2e/values.yaml (make install)")
    stage("delete", "mdep,cjob,trun,model,mver,dset", "--all", "--timeout=90s")
    stage.wait_for_leader(60)
    return stage


@pytest.fixture(scope="session")
def began(theatre: Stage) -> datetime:
    return now()


@pytest.fixture(scope="session")
def restarts_before(theatre: Stage) -> dict[str, int]:
    return restarts(theatre)


@pytest.fixture
def stage(theatre: Stage, began: datetime, restarts_before: dict[str, int], uploads: None) -> Iterator[Stage]:
    yield theatre
    theatre.clean()


@pytest.fixture(scope="session")
def router(theatre: Stage) -> str:
    """Where clients reach the deployments."""
    service = theatre.get("service", "slipway-router", RELEASE_NAMESPACE)
    assert service is not None
    address: str = service["spec"]["clusterIP"]
    return address


@pytest.fixture(scope="session")
def uploads(theatre: Stage, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Data and models of tiny.py in the namespace's store, under e2e/."""
    folder = tmp_path_factory.mktemp("uploads")
    tiny.write_dataset(folder / "tiny")
    tiny.write_broken_dataset(folder / "broken")
    (folder / "models").mkdir()
    made = {
        **{f"plain-{seed}": tiny.plain(seed) for seed in (1, 2, 3)},
        "slow": tiny.slow(1),
        "fragile": tiny.fragile(1),
    }
    for name, model in made.items():
        onnx.save(model, folder / "models" / f"{name}.onnx")
    theatre.slipway("push", str(folder), "store://e2e/")


@pytest.fixture(scope="session")
def bands(theatre: Stage, uploads: None) -> Iterator[str]:
    """The name of a Ready Dataset of the three classes of tiny.py."""
    theatre.apply(given.dataset("bands"))
    theatre.reaches("Dataset", "bands", "Ready")
    yield "bands"
    theatre("delete", "dset/bands", "--ignore-not-found")


def restarts(stage: Stage) -> dict[str, int]:
    """Of each container of the release's pods, by pod and container."""
    pods: list[dict[str, Any]] = stage.find("pods", namespace=RELEASE_NAMESPACE)
    return {
        f"{pod['metadata']['name']}/{container['name']}": container["restartCount"]
        for pod in pods
        for container in pod["status"].get("containerStatuses") or ()
    }
