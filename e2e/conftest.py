"""What the end-to-end tests share: a cluster if one is there, and the reason for skipping if none is."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "cluster"))
from slipway_cluster import paths

from apiserver import ProgramsMissingError, api_server


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
