"""The operator's rights are those that its code uses: no verb more, none less."""

import ast
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from charts import EVERYTHING, NAMESPACE, Helm, Manifest, pick
from slipway import uninstall
from slipway.resources import BY_KIND, CACHED, OUR_KINDS

KINDS = Path(uninstall.__file__).parent / "kinds"

# What the calls of adapters/kube.py need. Server-side apply makes what isn't there, so it needs create as well.
VERBS: dict[str, tuple[str, ...]] = {
    "get": ("get",),
    "list": ("list",),
    "watch": ("watch",),
    "create": ("create",),
    "apply": ("create", "patch"),
    "patch": ("patch",),
    "delete": ("delete",),
}

# Writer reads back (get) whatever it writes: after an unclear answer, and before it takes over an object.
WRITES: dict[str, tuple[str, ...]] = {
    "Dataset": ("get",),  # its status
    "TrainingRun": ("get", "delete"),  # its status; itself after its time to live
    "CompressionJob": ("get",),  # its status
    "Model": ("get",),  # its status
    # Runs and jobs register it, its own controller holds it by the finalizer, its Model's retention deletes it.
    "ModelVersion": ("get", "create", "patch", "delete"),
    "ModelDeployment": ("get",),  # its status
    "Job": ("get", "create", "patch", "delete"),  # an attempt; its suspend; one that says nothing any more
    "Pod": (),  # read by their watch, never written: Jobs and ReplicaSets make them
    # A Job's orders, made once; a revision's files and a trial's position, applied; those of retired revisions.
    "ConfigMap": ("get", "create", "apply", "delete"),
    "Service": (
        "get",
        "create",
        "apply",
    ),  # by which nodes of a run meet; of a deployment; end with their owner
    "Deployment": ("get", "apply", "delete"),  # of a revision
    "ControllerRevision": ("get", "apply", "delete"),  # record of a revision; those beyond the history
    "PodDisruptionBudget": ("get", "apply", "delete"),  # of a revision
    "NetworkPolicy": ("get", "apply"),  # of a deployment; ends with its owner
    "Event": ("create", "patch"),  # events.py: posted, then counted in its series
}

# In the release's own namespace.
AT_HOME: dict[str, tuple[str, ...]] = {
    "Lease": ("get", "create", "patch"),  # leader.py
    "Pod": ("list", "patch"),  # leader.py labels its own; uninstall.py waits until the operator's are gone
    "Deployment": ("get", "patch"),  # uninstall.py stops the operator
    "Secret": ("get", "apply"),  # ports.py: the four certificates
}

Rights = dict[tuple[str, str], set[str]]


def rights(role: Manifest) -> Rights:
    """(group, resource) -> verbs."""
    found: Rights = defaultdict(set)
    for rule in role["rules"]:
        assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found[group, resource] |= set(rule["verbs"])
    return found


def needed(calls: dict[str, tuple[str, ...]]) -> Rights:
    return {
        (BY_KIND[kind].group, BY_KIND[kind].plural): {verb for name in names for verb in VERBS[name]}
        for kind, names in calls.items()
    }


@pytest.fixture(scope="module")
def manifests(helm: Helm) -> list[Manifest]:
    return helm.render()


def test_the_cluster_role_holds_the_verbs_the_code_uses_and_no_other(manifests: list[Manifest]) -> None:
    wanted = needed(WRITES)
    for resource in CACHED:
        wanted[resource.group, resource.plural] |= {"list", "watch"}
    for kind in OUR_KINDS:
        resource = BY_KIND[kind]
        wanted[resource.group, f"{resource.plural}/status"] = {"patch"}
        if kind != "Model":  # owns no child, so needs no right to block its deletion by one
            wanted[resource.group, f"{resource.plural}/finalizers"] = {"update"}
    assert rights(pick(manifests, "ClusterRole", "slipway-operator")) == wanted


def test_the_role_at_home_holds_the_verbs_the_code_uses_and_no_other(manifests: list[Manifest]) -> None:
    assert rights(pick(manifests, "Role")) == needed(AT_HOME)


def test_secrets_are_read_by_name_and_only_at_home(manifests: list[Manifest]) -> None:
    roles = [m for m in manifests if m["kind"] in ("Role", "ClusterRole")]
    rules = [(role, rule) for role in roles for rule in role["rules"] if "secrets" in rule["resources"]]
    for role, rule in rules:
        assert (role["kind"], role["metadata"]["namespace"]) == ("Role", NAMESPACE)
        assert rule["verbs"] == ["create"] or len(rule["resourceNames"]) == 4
    assert len(rules) == 2


def test_no_right_lets_the_operator_gain_others(manifests: list[Manifest]) -> None:
    for role in (m for m in manifests if m["kind"] in ("Role", "ClusterRole")):
        for rule in role["rules"]:
            assert not {"bind", "escalate", "impersonate", "deletecollection"} & set(rule["verbs"]) or (
                role["metadata"]["name"] == "slipway-edit"
            )
            assert rule["apiGroups"] != ["rbac.authorization.k8s.io"]
            assert not {"pods/exec", "serviceaccounts/token", "nodes"} & set(rule["resources"])


def test_a_release_for_some_namespaces_has_no_right_in_others(helm: Helm) -> None:
    manifests = helm.render(EVERYTHING)
    bindings = [m for m in manifests if m["kind"].endswith("Binding") and "roleRef" in m]
    assert not [m for m in bindings if m["kind"] == "ClusterRoleBinding"]
    bound = [m["metadata"]["namespace"] for m in bindings if m["roleRef"]["kind"] == "ClusterRole"]
    assert bound == EVERYTHING["operator"]["watchNamespaces"]


def test_people_get_their_rights_through_the_clusters_own_roles(manifests: list[Manifest]) -> None:
    for name, roles in (("view", ("view",)), ("edit", ("edit", "admin"))):
        labels = pick(manifests, "ClusterRole", f"slipway-{name}")["metadata"]["labels"]
        for role in roles:
            assert labels[f"rbac.authorization.k8s.io/aggregate-to-{role}"] == "true"
    edit = rights(pick(manifests, "ClusterRole", "slipway-edit"))
    assert not [resource for _, resource in edit if resource.endswith(("/status", "/finalizers"))]


# The table above names what each kind writes on itself. These hold it to the code.


def decided(package: Path) -> dict[str, list[Any]]:
    """Keyword -> values of every Decision that a kind's code makes."""
    found: dict[str, list[Any]] = defaultdict(list)
    for file in package.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="Decision" | "replace"), keywords=keywords):
                    for keyword in keywords:
                        found[str(keyword.arg)].append(keyword.value)
    return found


@pytest.mark.parametrize("package", sorted(p for p in KINDS.iterdir() if (p / "decide.py").exists()), ids=str)
def test_a_kind_writes_on_itself_only_where_the_table_says_so(package: Path) -> None:
    kind = "".join(word.title() for word in package.name.split("_"))
    keywords = decided(package).keys()
    writes_on_itself = bool({"finalizer", "annotations"} & keywords)
    assert writes_on_itself == ("patch" in WRITES[kind])


def test_only_runs_patch_a_job() -> None:
    packages = [p for p in KINDS.iterdir() if (p / "decide.py").exists()]
    assert [p.name for p in packages if "patch" in decided(p)] == ["training_run"]
