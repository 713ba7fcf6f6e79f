"""Who may write objects that make pods run: asked of a real API server, as the people and programs concerned."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config

from charts import NAMESPACE
from slipway.resources import BY_KIND

GROUP, VERSION, PLACE = "slipway.dev", "v1alpha1", "team-a"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:slipway-operator"
COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"
REFUSED = f"you may not create pods in namespace {PLACE}, and this object makes Slipway run pods there"
EXAMPLES = Path(__file__).resolve().parents[1] / "operator" / "api" / "examples"
POLICED = ["dataset_fashion-mnist", "training_run_fashion-cnn-v1", "compression_job_fashion-cnn-v1-int8",
           "model_version_fashion-byo", "model_deployment_fashion"]  # fmt: skip
RULES = {
    "author": [{"apiGroups": [GROUP], "resources": ["*"], "verbs": ["*"]}],
    "pods": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}],
}
HOLDERS = {
    "alice": ("author", "pods"),  # an engineer
    "mallory": ("author",),  # may write our kinds only
    OPERATOR: ("author",),  # its real role lets it create no such object but versions
    COLLECTOR: ("author",),
}

As = Callable[[str], client.CustomObjectsApi]


def example(name: str, called: str) -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    manifest["metadata"] = {"name": called, "namespace": PLACE}
    return manifest


def place(kind: str) -> tuple[str, str, str, str]:
    return GROUP, VERSION, PLACE, BY_KIND[kind].plural


@pytest.fixture(scope="module")
def as_user(installed: Path, core: client.CoreV1Api) -> Iterator[As]:
    """The custom objects' API as somebody else sees it, once the policy is at work."""
    rbac = client.RbacAuthorizationV1Api(core.api_client)
    for name, rules in RULES.items():
        body: Any = {"metadata": {"name": f"test-{name}"}, "rules": rules}
        rbac.create_namespaced_role(PLACE, body)
        users = [user for user, held in HOLDERS.items() if name in held]
        binding: Any = {
            "metadata": {"name": f"test-{name}"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": f"test-{name}"},
            "subjects": [
                {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user} for user in users
            ],
        }
        rbac.create_namespaced_role_binding(PLACE, binding)
    with ExitStack() as ending:

        def impersonated(user: str) -> client.CustomObjectsApi:
            made = config.new_client_from_config(str(installed))  # type: ignore[no-untyped-call]  # untyped
            ending.enter_context(made)
            made.set_default_header("Impersonate-User", user)
            return client.CustomObjectsApi(made)

        wait_until_at_work(impersonated("mallory"))
        yield impersonated


def wait_until_at_work(mallory: client.CustomObjectsApi, within: float = 20.0) -> None:
    """The API server takes a moment to see a new policy and new roles."""
    deadline = time.monotonic() + within
    body = example("dataset_fashion-mnist", "probe")
    while time.monotonic() < deadline:
        try:
            mallory.create_namespaced_custom_object(*place("Dataset"), body, dry_run="All")
        except client.ApiException as error:
            if REFUSED in str(error.body):
                return
        time.sleep(0.2)
    raise AssertionError(f"the policy isn't at work after {within} s")


@pytest.mark.parametrize("name", POLICED)
def test_who_may_not_create_pods_may_not_have_slipway_create_them(as_user: As, name: str) -> None:
    body = example(name, "mine")
    with pytest.raises(client.ApiException) as refusal:
        as_user("mallory").create_namespaced_custom_object(*place(body["kind"]), body)
    assert refusal.value.status == 403
    assert f"{REFUSED}: ask for the right to create pods" in str(refusal.value.body)


@pytest.mark.parametrize("name", POLICED)
def test_who_may_create_pods_writes_every_kind(as_user: As, name: str) -> None:
    body = example(name, "hers")
    as_user("alice").create_namespaced_custom_object(*place(body["kind"]), body, dry_run="All")


def test_a_model_makes_no_pod_run_so_anyone_with_the_right_writes_it(as_user: As) -> None:
    body = example("model_fashion-cnn", "anyones")
    as_user("mallory").create_namespaced_custom_object(*place("Model"), body, dry_run="All")


@pytest.fixture
def deployment(as_user: As) -> Iterator[str]:
    """A ModelDeployment of alice's, which others touch."""
    alice, name = as_user("alice"), "touched"
    body = example("model_deployment_fashion-byo", name)
    body["metadata"]["finalizers"] = ["foregroundDeletion"]
    alice.create_namespaced_custom_object(*place("ModelDeployment"), body)
    yield name
    nothing: Any = {"metadata": {"finalizers": []}}
    alice.patch_namespaced_custom_object(*place("ModelDeployment"), name, nothing)
    alice.delete_namespaced_custom_object(*place("ModelDeployment"), name)


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"replicas": 3}},
        {"metadata": {"annotations": {"slipway.dev/retry": "1"}}},
        {"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "best"}}},
    ],
    ids=lambda change: str(next(iter(change))),
)
def test_a_change_that_may_make_pods_run_needs_the_right_as_well(
    as_user: As, deployment: str, change: dict[str, Any]
) -> None:
    where = (*place("ModelDeployment"), deployment)
    with pytest.raises(client.ApiException, match="you may not create pods"):
        as_user("mallory").patch_namespaced_custom_object(*where, change)
    as_user("alice").patch_namespaced_custom_object(*where, change)


def test_the_operator_is_exempt(as_user: As, deployment: str) -> None:
    operator, where = as_user(OPERATOR), (*place("ModelDeployment"), deployment)
    for change in (
        {"metadata": {"annotations": {"slipway.dev/retry": "2"}}},
        {"metadata": {"finalizers": ["foregroundDeletion", "slipway.dev/finalizer"]}},
    ):
        operator.patch_namespaced_custom_object(*where, change)
    version = example("model_version_fashion-byo", "registered")
    operator.create_namespaced_custom_object(*place("ModelVersion"), version, dry_run="All")


def test_the_garbage_collector_takes_its_finalizer_off(as_user: As, deployment: str) -> None:
    """It may create no pod, and a deletion in the foreground would never end."""
    where = (*place("ModelDeployment"), deployment)
    as_user(COLLECTOR).patch_namespaced_custom_object(*where, {"metadata": {"finalizers": []}})


def test_a_status_and_a_scale_are_left_to_the_rights_on_them(as_user: As, deployment: str) -> None:
    mallory, where = as_user("mallory"), (*place("ModelDeployment"), deployment)
    mallory.patch_namespaced_custom_object_status(*where, {"status": {"summary": "written by hand"}})
    mallory.patch_namespaced_custom_object_scale(*where, {"spec": {"replicas": 2}})


def test_deleting_needs_no_right_on_pods(as_user: As, deployment: str) -> None:
    where = (*place("ModelDeployment"), deployment)
    as_user("mallory").delete_namespaced_custom_object(*where, dry_run="All")
