"""The chart on a real API server: it takes every object, and every pod under the restricted Pod Security level."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from charts import EVERYTHING, NAMESPACE, Helm, pod_templates, upgrade

ADDED = {"name": "team-c"}


def secret(core: client.CoreV1Api, namespace: str, name: str) -> dict[str, str]:
    data = core.read_namespaced_secret(name, namespace).data or {}
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def namespaces_read(core: client.CoreV1Api) -> str:
    """What restarts the store by its change."""
    store: Any = client.AppsV1Api(core.api_client).read_namespaced_deployment("slipway-store", NAMESPACE)
    return str(store.spec.template.metadata.annotations["checksum/namespaces"])


def test_every_pod_is_taken_under_the_restricted_level(
    helm: Helm, installed: Path, core: client.CoreV1Api
) -> None:
    for owner, template in pod_templates(helm.render(EVERYTHING)):
        pod: Any = {"metadata": {**template["metadata"], "name": owner}, "spec": template["spec"]}
        core.create_namespaced_pod("team-b", pod, dry_run="All")


def test_a_pod_that_asks_for_more_would_be_refused_there(
    helm: Helm, installed: Path, core: client.CoreV1Api
) -> None:
    """So that the test above could fail."""
    _, template = next(pod_templates(helm.render(EVERYTHING)))
    spec = {**template["spec"], "hostNetwork": True}
    pod: Any = {"metadata": {"name": "greedy"}, "spec": spec}
    with pytest.raises(client.ApiException, match="violates PodSecurity"):
        core.create_namespaced_pod("team-b", pod, dry_run="All")


def test_each_namespace_has_credentials_for_its_own_prefix_only(
    installed: Path, core: client.CoreV1Api
) -> None:
    identities = json.loads(secret(core, NAMESPACE, "slipway-store")["s3.json"])["identities"]
    assert [identity["name"] for identity in identities] == ["team-a", "team-b"]
    for identity in identities:
        namespace = identity["name"]
        given = secret(core, namespace, "slipway-store")
        assert given["uri"] == f"s3://slipway/{namespace}/"
        assert given["endpoint"] == "http://slipway-store.slipway-system.svc:8333"
        keys = {"accessKey": given["accessKeyId"], "secretKey": given["secretAccessKey"]}
        assert identity["credentials"] == [keys]
        places = {action.partition(":")[2] for action in identity["actions"]}
        assert places == {f"slipway/{namespace}/*"}, "no right on another prefix, or on the bucket"
        assert {action.partition(":")[0] for action in identity["actions"]}.isdisjoint({"Admin", "*"})


def test_credentials_stay_through_an_upgrade_that_adds_a_namespace(
    helm: Helm, installed: Path, core: client.CoreV1Api
) -> None:
    before = {name: secret(core, name, "slipway-store") for name in ("team-a", "team-b")}
    assert before["team-a"]["secretAccessKey"] != before["team-b"]["secretAccessKey"]
    before_start = namespaces_read(core)
    watched = [*EVERYTHING["operator"]["watchNamespaces"], "team-c"]
    upgrade(
        helm,
        installed,
        {
            **EVERYTHING,
            "namespaces": [*EVERYTHING["namespaces"], ADDED],
            "operator": {"watchNamespaces": watched},
        },
    )
    assert {name: secret(core, name, "slipway-store") for name in ("team-a", "team-b")} == before
    identities = json.loads(secret(core, NAMESPACE, "slipway-store")["s3.json"])["identities"]
    assert [identity["name"] for identity in identities] == ["team-a", "team-b", "team-c"]
    assert namespaces_read(core) != before_start, "the store reads its identities at its start only"
