"""A namespace of a real API server, as the command line sees it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

import make
from slipway.cli import follow
from slipway.cli.cluster import PLURALS, Cluster

NAMESPACE = "cli"


class Shop:
    """Puts objects there with a status, as the operator would."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def place(self, kind: str) -> tuple[str, str, str, str]:
        return "slipway.dev", "v1alpha1", self.cluster.namespace, PLURALS[kind]

    def put(self, manifest: make.Manifest, **status: Any) -> None:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        body = {**manifest, "metadata": {"name": name, "namespace": NAMESPACE}}
        body.pop("status", None)
        made = self.cluster.custom.create_namespaced_custom_object(*self.place(kind), body)
        if status:
            self.report(kind, name, **{"observedGeneration": made["metadata"]["generation"], **status})

    def report(self, kind: str, name: str, **status: Any) -> None:
        self.cluster.custom.patch_namespaced_custom_object_status(*self.place(kind), name, {"status": status})

    def delete(self, kind: str, name: str) -> None:
        self.cluster.custom.delete_namespaced_custom_object(*self.place(kind), name)


@pytest.fixture(scope="session")
def connected(real_api: Path) -> Iterator[Cluster]:
    with config.new_client_from_config(str(real_api)) as made:  # type: ignore[no-untyped-call]  # untyped
        core = client.CoreV1Api(made)
        core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
        yield Cluster(client.CustomObjectsApi(made), core, NAMESPACE)


@pytest.fixture
def shop(connected: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    # A watch outlives the following that began it by this long.
    monkeypatch.setattr(follow, "WATCH_SECONDS", 5)
    yield Shop(connected)
    for plural in PLURALS.values():
        connected.custom.delete_collection_namespaced_custom_object(
            "slipway.dev", "v1alpha1", NAMESPACE, plural
        )
