"""What helm makes of the chart, and what it refuses to make."""

from typing import Any

import pytest

from charts import CHART, EVERYTHING, NAMESPACE, VALUES, Helm, Manifest, pick, pod_templates
from slipway.settings import read

LEADER = "slipway.dev/leader"


@pytest.fixture(scope="module", params=sorted(VALUES))
def manifests(helm: Helm, request: pytest.FixtureRequest) -> list[Manifest]:
    return helm.render(VALUES[request.param])


@pytest.mark.parametrize("values", sorted(VALUES))
def test_helm_finds_nothing_to_complain_about(helm: Helm, values: str) -> None:
    done = helm("lint", "--strict", str(CHART), values=VALUES[values])
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"operator": {"replicas": 0}}, "at '/operator/replicas': minimum: got 0, want 1"),
        ({"images": {"jobs": "slipway/jobs"}}, "at '/images/jobs': 'slipway/jobs' does not match pattern"),
        ({"images": {"jobs": "a/b@sha256:12"}}, "at '/images/jobs': 'a/b@sha256:12' does not match pattern"),
        ({"image": {}}, "additional properties 'image' not allowed"),
        ({"imagePullPolicy": "Sometimes"}, "value must be one of 'Always', 'IfNotPresent', 'Never'"),
        ({"imagePullSecrets": ["registry"]}, "at '/imagePullSecrets/0': got string, want object"),
        ({"namespaces": ["demo"]}, "at '/namespaces/0': got string, want object"),
        ({"namespaces": [{"name": "Demo"}]}, "at '/namespaces/0/name': 'Demo' does not match pattern"),
        ({"namespaces": [{"name": "demo", "create": "yes"}]}, "at '/namespaces/0/create': got string, want"),
        ({"router": {"service": {"type": "Ingress"}}}, "at '/router/service/type': value must be one of"),
        ({"router": {"hosts": {"demo": "example.com"}}}, "at '/router/hosts/demo': got string, want array"),
        ({"router": {"resources": {"cpu": 1}}}, "at '/router/resources': additional properties 'cpu' not"),
        ({"store": {"embedded": {"size": "10GB"}}}, "at '/store/embedded/size': '10GB' does not match"),
        ({"store": {"embedded": {"bucket": "My"}}}, "at '/store/embedded/bucket': 'My' does not match"),
        ({"operator": {"logLevel": "debug"}}, "at '/operator/logLevel': value must be one of 'DEBUG'"),
        ({"namespaces": [{"name": "demo"}, {"name": "demo"}]}, "namespaces lists demo twice"),
        ({"router": {"service": {"nodePorts": {"http": 30080}}}}, "set router.service.type to NodePort or"),
        ({"router": {"service": {"nodePorts": {"https": 1}}}}, "additional properties 'https' not allowed"),
        (
            {"namespaces": [{"name": "demo"}], "operator": {"watchNamespaces": ["other"]}},
            "add it to operator.watchNamespaces",
        ),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_its_path(helm: Helm, values: Any, said: str) -> None:
    done = helm("template", "slipway", str(CHART), values=values)
    assert done.returncode != 0
    assert said in done.stderr


def test_a_release_name_too_long_for_what_is_derived_from_it_is_refused(helm: Helm) -> None:
    done = helm("template", "a" * 41, str(CHART), values={})
    assert done.returncode != 0
    assert "take one of at most 40" in done.stderr


def test_every_container_states_resources_probes_and_an_exact_image(manifests: list[Manifest]) -> None:
    for owner, template in pod_templates(manifests):
        for container in template["spec"]["containers"]:
            resources = container["resources"]
            assert {"cpu", "memory"} <= resources["requests"].keys(), owner
            assert "memory" in resources["limits"], owner
            assert not container["image"].endswith(":latest"), owner
            if template["spec"].get("restartPolicy") != "Never":
                assert "readinessProbe" in container, owner


def test_only_pods_of_the_operators_account_get_a_token(manifests: list[Manifest]) -> None:
    account = pick(manifests, "ServiceAccount")["metadata"]["name"]
    for owner, template in pod_templates(manifests):
        spec = template["spec"]
        if spec.get("serviceAccountName") != account:
            assert spec["automountServiceAccountToken"] is False, owner
            assert "serviceAccountName" not in spec, owner
    holders = [o for o, t in pod_templates(manifests) if t["spec"].get("serviceAccountName") == account]
    assert sorted(holders) == ["slipway-operator", "slipway-release-versions"]


def test_every_object_is_in_a_namespace_that_was_named(manifests: list[Manifest]) -> None:
    cluster_wide = {"ClusterRole", "ClusterRoleBinding", "Namespace"}
    cluster_wide |= {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    for manifest in manifests:
        place = manifest["metadata"].get("namespace")
        if manifest["kind"] in cluster_wide:
            assert place is None, manifest["metadata"]["name"]
        else:
            assert place in (NAMESPACE, "team-a", "team-b"), manifest["metadata"]["name"]


def test_no_object_is_rendered_twice(manifests: list[Manifest]) -> None:
    places = [(m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in manifests]
    assert len(places) == len(set(places))


def test_every_selector_finds_pods_of_exactly_one_workload(manifests: list[Manifest]) -> None:
    workloads = {
        m["metadata"]["name"]: m["spec"]["template"]["metadata"]["labels"]
        for m in manifests
        if m["kind"] == "Deployment"
    }
    for manifest in manifests:
        spec, name = manifest.get("spec", {}), manifest["metadata"]["name"]
        match manifest["kind"]:
            case "Service":
                selector = {key: value for key, value in spec["selector"].items() if key != LEADER}
            case "Deployment" | "PodDisruptionBudget":
                selector = spec["selector"]["matchLabels"]
            case "NetworkPolicy" if name != "slipway-default-deny":
                selector = spec["podSelector"]["matchLabels"]
            case _:
                continue
        found = [o for o, labels in workloads.items() if selector.items() <= labels.items()]
        assert len(found) == 1, f"{manifest['kind']} {name} selects {found}"
        assert name.startswith(found[0]) or (name, found) == ("slipway-leader", ["slipway-operator"])


def test_ports_of_services_and_policies_are_those_of_the_pods_they_select(manifests: list[Manifest]) -> None:
    templates = [m["spec"]["template"] for m in manifests if m["kind"] == "Deployment"]
    for manifest in manifests:
        spec, name = manifest.get("spec", {}), manifest["metadata"]["name"]
        if manifest["kind"] == "Service":
            selector = {key: value for key, value in spec["selector"].items() if key != LEADER}
            wanted = {port["targetPort"] for port in spec["ports"]}
        elif manifest["kind"] == "NetworkPolicy" and name != "slipway-default-deny":
            selector = spec["podSelector"]["matchLabels"]
            wanted = {port["port"] for rule in spec["ingress"] for port in rule["ports"]} - {8081}
        else:
            continue
        (template,) = (t for t in templates if selector.items() <= t["metadata"]["labels"].items())
        offered = {port["name"] for c in template["spec"]["containers"] for port in c["ports"]}
        assert wanted <= offered, f"{manifest['kind']} {name}"


def test_policies_close_every_pod_of_the_release_and_open_it_to_pods_that_exist(helm: Helm) -> None:
    manifests = helm.render(EVERYTHING)
    closed = pick(manifests, "NetworkPolicy", "slipway-default-deny")["spec"]
    assert closed.get("ingress", []) == []
    labels = [template["metadata"]["labels"] for _, template in pod_templates(manifests)]
    assert all(closed["podSelector"]["matchLabels"].items() <= found.items() for found in labels)
    for manifest in (m for m in manifests if m["kind"] == "NetworkPolicy"):
        for peer in (p for rule in manifest["spec"].get("ingress", []) for p in rule.get("from", [])):
            if "podSelector" in peer:
                wanted = peer["podSelector"]["matchLabels"]
                assert any(wanted.items() <= found.items() for found in labels), manifest["metadata"]["name"]
    store = pick(manifests, "NetworkPolicy", "slipway-store")["spec"]["ingress"][0]["from"]
    names = [peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in store]
    assert names == ["team-a", "team-b"]


def test_the_embedded_store_is_open_to_no_pod_while_no_namespace_is_named(helm: Helm) -> None:
    manifests = helm.render()
    (rule,) = pick(manifests, "NetworkPolicy", "slipway-store")["spec"]["ingress"]
    labels = [template["metadata"]["labels"] for _, template in pod_templates(manifests)]
    for peer in rule["from"]:
        wanted = peer["podSelector"]["matchLabels"]
        assert not any(wanted.items() <= found.items() for found in labels)


def test_the_operator_learns_from_its_environment_what_the_values_say(helm: Helm) -> None:
    operator = pick(helm.render(EVERYTHING), "Deployment", "slipway-operator")
    given = operator["spec"]["template"]["spec"]["containers"][0]["env"]
    settings = read({entry["name"]: entry.get("value", "from-the-pod") for entry in given})
    assert settings.log_level == "DEBUG"
    assert settings.watch_namespaces == ("team-a", "team-b", NAMESPACE)
    assert settings.router_hosts == {"team-a": ("example.com",)}
    assert settings.lease_name == "slipway-operator"
    assert settings.progress_service == "slipway-leader"


def test_the_router_is_at_the_nodes_ports_that_were_asked_for(helm: Helm) -> None:
    ports = pick(helm.render(EVERYTHING), "Service", "slipway-router")["spec"]["ports"]
    assert [port.get("nodePort") for port in ports] == [30080, None]
    ports = pick(helm.render(), "Service", "slipway-router")["spec"]["ports"]
    assert [port.get("nodePort") for port in ports] == [None, None]


def test_only_a_namespace_to_be_created_is_created_and_it_is_restricted_and_kept(helm: Helm) -> None:
    namespace = pick(helm.render(EVERYTHING), "Namespace")["metadata"]
    assert namespace["name"] == "team-a"
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert namespace["annotations"]["helm.sh/resource-policy"] == "keep"


def test_each_namespace_is_told_the_image_of_copy_pods(helm: Helm) -> None:
    found = {
        m["metadata"]["namespace"]: m["data"] for m in helm.render(EVERYTHING) if m["kind"] == "ConfigMap"
    }
    assert found["team-a"]["operatorImage"] == found["team-b"]["operatorImage"] == "slipway/operator:0.1.0"
