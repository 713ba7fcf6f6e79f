"""The pod that copies, as the restricted Pod Security level and the chart want it."""

from pathlib import Path

import pytest
from kubernetes import client, config

from slipway.cli import store
from slipway.cli.cluster import CliError, Cluster


def test_the_copy_pod_meets_the_restricted_level(real_api: Path) -> None:
    namespace = "slipway-copies"
    with config.new_client_from_config(str(real_api)) as made:  # type: ignore[no-untyped-call]  # untyped
        core = client.CoreV1Api(made)
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=namespace, labels=labels)))
        pod = store._manifest("copy", namespace, "registry.test/operator:1")
        taken = core.create_namespaced_pod(namespace, pod, dry_run="All")  # type: ignore[arg-type]  # as JSON
        assert taken.spec is not None
        assert taken.spec.automount_service_account_token is False


@pytest.mark.parametrize("uri", ["datasets/mine", "s3://bucket/x", "store://"])
def test_a_place_outside_the_store_is_refused_before_any_pod_is_made(uri: str, tmp_path: Path) -> None:
    nobody = Cluster(custom=None, core=None, namespace="demo")
    with pytest.raises(CliError, match="name a path in the namespace's store, such as"):
        store.push(nobody, tmp_path, uri, "image:1")
    with pytest.raises(CliError, match="name a path in the namespace's store, such as"):
        store.pull(nobody, uri, tmp_path, "image:1")
