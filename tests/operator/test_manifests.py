from decimal import Decimal
from typing import Any

import pytest

from slipway import manifests
from slipway.contract import config
from slipway.contract.config import JobConfig, Owner, VerifyTask

OWNER = Owner(kind="TrainingRun", namespace="demo", name="digits", uid="u1")


def job(**options: Any) -> dict[str, Any]:
    return manifests.job(OWNER, "digits-1", **{"task": "train", "image": "registry.test/jobs:1", **options})


def pod_of(manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return found


def main_of(manifest: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod_of(manifest)["containers"]
    assert found["name"] == "main"
    return dict(found)


def env_of(manifest: dict[str, Any]) -> dict[str, Any]:
    return {variable["name"]: variable.get("value") for variable in main_of(manifest)["env"]}


def test_a_child_is_found_by_labels_and_owned_by_its_maker() -> None:
    metadata = job(attempt=2)["metadata"]
    assert metadata["labels"] == {
        "app.kubernetes.io/managed-by": "slipway",
        "slipway.dev/kind": "TrainingRun",
        "slipway.dev/name": "digits",
        "slipway.dev/attempt": "2",
        "slipway.dev/task": "train",
    }
    (owner,) = metadata["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("TrainingRun", "digits", "u1")
    assert owner["controller"] is True


def test_a_pod_meets_the_restricted_standard() -> None:
    pod, main = pod_of(job()), main_of(job())
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert main["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all("sizeLimit" in v["emptyDir"] for v in pod["volumes"] if "emptyDir" in v)
    assert {m["mountPath"] for m in main["volumeMounts"]} == {"/etc/slipway", "/workspace", "/tmp"}


def test_a_job_is_one_try() -> None:
    spec = job(deadline_seconds=60)["spec"]
    assert (spec["backoffLimit"], spec["podReplacementPolicy"], spec["suspend"]) == (0, "Failed", False)
    assert spec["activeDeadlineSeconds"] == 60
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert main_of(job())["command"] + main_of(job())["args"] == ["slipway-jobs", "train"]


def test_the_pods_of_a_gang_have_ranks_names_and_what_torchrun_reads() -> None:
    manifest = job(gang=manifests.Gang(nodes=3, processes=2, patience=720))
    spec, pod = manifest["spec"], pod_of(manifest)
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    # The first pod that fails ends all: none of the fields that would let the others go on.
    assert spec["backoffLimit"] == 0
    assert not {"backoffLimitPerIndex", "maxFailedIndexes", "podFailurePolicy", "successPolicy"} & set(spec)
    assert pod["subdomain"] == manifest["metadata"]["name"] == "digits-1"
    found = {variable.pop("name"): variable for variable in main_of(manifest)["env"]}
    assert {name: found[name] for name in found if name.startswith("PET_")} == {
        "PET_NNODES": {"value": "3"},
        "PET_NPROC_PER_NODE": {"value": "2"},
        "PET_NODE_RANK": {
            "valueFrom": {
                "fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}
            }
        },
        "PET_MASTER_ADDR": {"value": "digits-1-0.digits-1"},
        "PET_MASTER_PORT": {"value": "29500"},
        "PET_RDZV_CONF": {"value": "timeout=720"},
    }


def test_a_pod_alone_has_nothing_of_a_gang() -> None:
    manifest = job()
    assert (manifest["spec"]["completionMode"], manifest["spec"]["completions"]) == ("NonIndexed", 1)
    assert "subdomain" not in pod_of(manifest)
    assert not [name for name in env_of(manifest) if name.startswith("PET_")]


def test_the_service_of_a_gang_gives_addresses_before_the_pods_are_ready() -> None:
    chosen = manifests.labels(OWNER, attempt=1, task="train")
    service = manifests.rendezvous(OWNER, "digits-1", chosen)
    spec = service["spec"]
    assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)
    pods = job(gang=manifests.Gang(2, 1, 600), attempt=1)["spec"]["template"]["metadata"]["labels"]
    assert spec["selector"].items() <= pods.items()
    assert service["metadata"]["ownerReferences"][0]["uid"] == "u1"


def test_a_queued_job_starts_suspended_and_carries_the_queue() -> None:
    manifest = job(queue="team-a")
    assert manifest["spec"]["suspend"] is True
    assert manifest["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"


def test_the_store_comes_from_the_secret_by_kubelet() -> None:
    found = {v["name"]: v["valueFrom"]["secretKeyRef"] for v in main_of(job())["env"] if "STORE" in v["name"]}
    assert set(found) == set(config.STORE_ENV)
    assert all(ref["name"] == "slipway-store" and ref["optional"] is False for ref in found.values())


def test_a_progress_token_is_only_there_when_asked_for() -> None:
    assert "progress-token" not in str(job())
    (volume,) = [v for v in pod_of(job(progress=True))["volumes"] if v["name"] == "progress-token"]
    (source,) = volume["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == "slipway-progress"
    (mount,) = [m for m in main_of(job(progress=True))["volumeMounts"] if m["name"] == "progress-token"]
    assert f"{mount['mountPath']}/{source['serviceAccountToken']['path']}" == config.PROGRESS_TOKEN_PATH


def test_users_pod_settings_are_an_allow_list_and_never_replace_our_labels() -> None:
    user = {
        "nodeSelector": {"disk": "fast"},
        "labels": {"team": "a", "slipway.dev/name": "stolen"},
        "annotations": {"note": "1"},
        "hostNetwork": True,
        "serviceAccountName": "admin",
    }
    manifest = job(pod=user)
    metadata, pod = manifest["spec"]["template"]["metadata"], pod_of(manifest)
    assert pod["nodeSelector"] == {"disk": "fast"}
    assert not {"hostNetwork", "serviceAccountName"} & set(pod)
    assert (metadata["labels"]["team"], metadata["labels"]["slipway.dev/name"]) == ("a", "digits")
    assert metadata["annotations"] == {"note": "1"}


@pytest.mark.parametrize(
    ("resources", "threads"),
    [
        (None, "1"),
        ({"requests": {"cpu": "500m"}}, "1"),
        ({"requests": {"cpu": "2500m"}}, "2"),
        ({"requests": {"cpu": "3"}, "limits": {"cpu": "8"}}, "3"),
        ({"limits": {"cpu": 4}}, "4"),
    ],
)
def test_threads_follow_the_cpu_request(resources: dict[str, Any] | None, threads: str) -> None:
    environment = env_of(job(resources=resources))
    assert {environment[name] for name in manifests.THREAD_VARIABLES} == {threads}


def test_the_config_map_holds_what_the_pod_reads() -> None:
    task = VerifyTask(storage_uri="store://m", examples_uri="store://m/examples.json")
    asked = JobConfig(owner=OWNER, attempt=1, task=task)
    manifest = manifests.config_map(OWNER, "digits-1", asked, manifests.labels(OWNER))
    assert manifest["immutable"] is True
    assert JobConfig.model_validate_json(manifest["data"]["job.json"]) == asked
    (volume,) = [v for v in pod_of(job())["volumes"] if v["name"] == "config"]
    assert volume["configMap"] == {"name": "digits-1"}


def test_a_name_that_is_too_long_ends_in_a_digest_of_the_whole() -> None:
    assert manifests.child_name("digits", "verify", 1) == "digits-verify-1"
    one, other = (manifests.child_name("x" * 60, "verify", n) for n in (1, 2))
    assert len(one) == len(other) == 63
    assert one != other


@pytest.mark.parametrize(
    ("text", "number"),
    [("500m", "0.5"), ("2", "2"), ("1Gi", "1073741824"), ("1e3", "1000"), ("1.5k", "1500"), ("2E", "2e18")],
)
def test_quantities_are_read_as_kubernetes_does(text: str, number: str) -> None:
    assert manifests.quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "abc", "1Q", "NaN", "1 Gi"])
def test_what_is_no_quantity_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is not a Kubernetes quantity such as"):
        manifests.quantity(text)
