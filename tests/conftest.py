"""A real API server for the tests that need one, with our CRDs; without its programs they are skipped."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

import apiserver
from slipway import crdgen
from slipway.api import KINDS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts real programs isn't for every save of a file."""
    for item in items:
        if {"real_api", "helm"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def real_api() -> Iterator[Path]:
    """An administrator's kubeconfig."""
    try:
        server = apiserver.api_server()
        kubeconfig = server.__enter__()
    except apiserver.ProgramsMissingError as missing:
        pytest.skip(str(missing))
    try:
        install_crds(kubeconfig)
        yield kubeconfig
    finally:
        server.__exit__(None, None, None)


def install_crds(kubeconfig: Path, within: float = 20.0) -> None:
    with config.new_client_from_config(str(kubeconfig)) as made:  # type: ignore[no-untyped-call]  # untyped
        extensions = client.ApiextensionsV1Api(made)
        for kind in KINDS.values():
            body: Any = crdgen.crd(kind)  # as JSON, which the client takes as well as its own class
            extensions.create_custom_resource_definition(body)
        deadline = time.monotonic() + within
        for kind in KINDS.values():
            while not is_served(made, kind.PLURAL):
                assert time.monotonic() < deadline, f"{kind.PLURAL} aren't served within {within} s"
                time.sleep(0.1)


def is_served(made: client.ApiClient, plural: str) -> bool:
    try:
        client.CustomObjectsApi(made).list_cluster_custom_object("slipway.dev", "v1alpha1", plural)
    except client.ApiException as error:
        if error.status != 404:
            raise
        return False
    return True
