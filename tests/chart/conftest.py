"""helm, and a release on a real API server; or the reason for doing without these tests."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from slipway_cluster import paths

from charts import EVERYTHING, NAMESPACE, RELEASE, Helm, upgrade

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture(scope="session")
def helm() -> Helm:
    program = shutil.which("helm", path=f"{paths.programs()}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("no helm on PATH or in the cache; run `e2e/cluster/slipway-cluster build`")
    return Helm(program)


@pytest.fixture(scope="session")
def core(real_api: Path) -> Iterator[client.CoreV1Api]:
    with config.new_client_from_config(str(real_api)) as made:  # type: ignore[no-untyped-call]  # untyped
        yield client.CoreV1Api(made)


@pytest.fixture(scope="package")
def installed(helm: Helm, real_api: Path, core: client.CoreV1Api) -> Iterator[Path]:
    """The kubeconfig of a server with the release, its values those of EVERYTHING."""
    for name in ("team-b", "team-c"):
        body: Any = {"metadata": {"name": name, "labels": RESTRICTED}}
        core.create_namespace(body)
    upgrade(helm, real_api, EVERYTHING)
    yield real_api
    words = ("--kubeconfig", str(real_api), "--namespace", NAMESPACE, "--no-hooks")
    done = helm("uninstall", RELEASE, *words)
    assert done.returncode == 0, done.stderr
