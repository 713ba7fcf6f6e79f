"""What goes wrong between the keyboard and the cluster, in sentences."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

import apiserver
import make
from slipway.cli.cluster import CliError, Cluster, NoConnection


def test_an_object_that_is_not_there_is_told_with_those_that_are(shop: Any) -> None:
    with pytest.raises(CliError, match="no ModelDeployment fash in namespace cli; that namespace has no"):
        shop.cluster.get("ModelDeployment", "fash")
    for number in range(10):
        shop.put(make.model_deployment(f"fashion-{number}"))
    with pytest.raises(CliError, match=r"it has fashion-0, fashion-1, .*, fashion-7 and 2 more$"):
        shop.cluster.get("ModelDeployment", "fash")


@pytest.fixture
def as_nobody(real_api: Path, shop: Any) -> Iterator[Cluster]:
    """Somebody without any right."""
    with config.new_client_from_config(str(real_api)) as made:  # type: ignore[no-untyped-call]  # untyped
        made.set_default_header("Impersonate-User", "nobody")
        yield Cluster(client.CustomObjectsApi(made), client.CoreV1Api(made), "cli")


@pytest.mark.parametrize(
    "ask",
    [
        lambda cluster: cluster.get("ModelDeployment", "fashion"),
        lambda cluster: cluster.annotate("ModelDeployment", "fashion", {"a": "b"}),
        lambda cluster: cluster.list("ModelDeployment"),
        lambda cluster: list(cluster.watch("ModelDeployment", "1", 1)),
    ],
)
def test_a_missing_right_is_told_in_the_servers_words(
    as_nobody: Cluster, ask: Callable[[Cluster], Any]
) -> None:
    with pytest.raises(CliError, match=r'modeldeployments.* is forbidden: User "nobody" cannot'):
        ask(as_nobody)


def test_a_namespace_nobody_may_look_at_may_still_be_worked_in(as_nobody: Cluster) -> None:
    as_nobody.require_namespace()


def test_a_cluster_that_does_not_answer_is_told(tmp_path: Path) -> None:
    (port,) = apiserver.free_ports(1)
    nowhere = client.Configuration(host=f"http://127.0.0.1:{port}")
    with client.ApiClient(nowhere) as made:
        cluster = Cluster(client.CustomObjectsApi(made), client.CoreV1Api(made), "demo")
        with pytest.raises(NoConnection, match=r"no answer from the cluster: .*refused"):
            cluster.get("ModelDeployment", "fashion")


def test_a_cluster_without_slipway_is_told(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.cli.cluster.VERSION", "v9")
    asks: list[Callable[[], Any]] = [
        lambda: shop.cluster.get("ModelDeployment", "fashion"),
        lambda: shop.cluster.list("ModelDeployment"),
        lambda: shop.cluster.annotate("ModelDeployment", "fashion", {}),
    ]
    for ask in asks:
        with pytest.raises(CliError, match="Slipway isn't installed in this cluster"):
            ask()


def test_no_kubeconfig_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", missing)
    with pytest.raises(CliError, match=r"no cluster to talk to: .* Set KUBECONFIG or choose a context"):
        Cluster.connect(None)


def test_the_namespace_is_the_one_asked_for_else_that_of_the_context(
    real_api: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(real_api))
    assert Cluster.connect("mine").namespace == "mine"
    assert Cluster.connect(None).namespace == "default"
    assert replace(Cluster.connect("mine"), namespace="other").namespace == "other"
