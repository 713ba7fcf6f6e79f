"""Manifests that several kinds build: labels, names, owner references, the Job and its ConfigMap. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any

from slipway.contract import config
from slipway.contract.config import JobConfig, Owner

API_VERSION = "slipway.dev/v1alpha1"
MANAGED_BY = "app.kubernetes.io/managed-by"
KIND = "slipway.dev/kind"
NAME = "slipway.dev/name"
ATTEMPT = "slipway.dev/attempt"
REVISION = "slipway.dev/revision"
TASK = "slipway.dev/task"
COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
"""Kubernetes sets this annotation on the pods of an Indexed Job: the rank of the node."""
KUEUE_QUEUE = "kueue.x-k8s.io/queue-name"
MANAGED = {MANAGED_BY: "slipway"}

NAME_LIMIT = 63
USER = 65532
MAIN = "main"
"""The container of a job that writes the Report."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
WORKSPACE_SIZE = "20Gi"
TMP_SIZE = "2Gi"
MASTER_PORT = 29500
"""Where torchrun on node 0 listens for the others; the port that Kubeflow Trainer uses."""
POD_SETTINGS = ("nodeSelector", "tolerations", "priorityClassName", "imagePullSecrets")
"""What `pod` of a spec may set in a pod's spec; labels and annotations go to its metadata."""

_SUFFIXES = {
    "": Decimal(1),
    **{suffix: Decimal(10) ** power for suffix, power in zip("num", (-9, -6, -3), strict=True)},
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", 1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)},
}
_QUANTITY = re.compile(
    rf"(?P<number>[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?)(?P<suffix>{'|'.join(filter(None, _SUFFIXES))})?"
)


@dataclass(frozen=True)
class Gang:
    """Pods that train together by torchrun."""

    nodes: int
    processes: int
    """On each node."""
    patience: int
    """Seconds that a node waits for the others to come."""


def labels(
    owner: Owner,
    *,
    attempt: int | None = None,
    revision: str | None = None,
    task: str | None = None,
    queue: str | None = None,
) -> dict[str, str]:
    """Labels of a child: the engine finds the owner by them, the cache selects by them."""
    optional = {
        ATTEMPT: None if attempt is None else str(attempt),
        REVISION: revision,
        TASK: task,
        KUEUE_QUEUE: queue,
    }
    return {
        **MANAGED,
        KIND: owner.kind,
        NAME: owner.name,
        **{key: value for key, value in optional.items() if value is not None},
    }


def owner_reference(owner: Owner) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def metadata(
    owner: Owner, name: str, labels: Mapping[str, str], annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Metadata of a child of owner, in its namespace."""
    found: dict[str, Any] = {
        "name": name,
        "namespace": owner.namespace,
        "labels": dict(labels),
        "ownerReferences": [owner_reference(owner)],
    }
    if annotations:
        found["annotations"] = dict(annotations)
    return found


def child_name(owner: str, *parts: str | int) -> str:
    """owner-part-part, at most 63 characters: a longer one ends in a digest of the whole instead."""
    name = "-".join((owner, *map(str, parts)))
    if len(name) <= NAME_LIMIT:
        return name
    return f"{name[: NAME_LIMIT - 9].rstrip('-.')}-{sha256(name.encode()).hexdigest()[:8]}"


def config_map(owner: Owner, name: str, job_config: JobConfig, labels: Mapping[str, str]) -> dict[str, Any]:
    """The JobConfig of one attempt; immutable, so a running pod's orders can't change."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(owner, name, labels),
        "immutable": True,
        "data": {PurePosixPath(config.CONFIG_PATH).name: job_config.to_json()},
    }


def job(
    owner: Owner,
    name: str,
    *,
    task: str,
    image: str,
    attempt: int = 1,
    resources: Mapping[str, Any] | None = None,
    pod: Mapping[str, Any] | None = None,
    deadline_seconds: int | None = None,
    progress: bool = False,
    gang: Gang | None = None,
    suspend: bool = False,
    queue: str | None = None,
) -> dict[str, Any]:
    """A Job that runs `slipway-jobs <task>` with the JobConfig of the ConfigMap of the same name.

    resources and pod are the spec's fields as on the wire. The Job of a gang is Indexed, and its pods find each
    other by the headless Service of the same name (rendezvous). backoffLimit 0 makes the first pod that fails the
    end of all. A Job with a queue starts suspended: Kueue resumes it, we never touch `suspend` then.
    """
    nodes = gang.nodes if gang is not None else 1
    child_labels = labels(owner, attempt=attempt, task=task)
    spec: dict[str, Any] = {
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "completions": nodes,
        "parallelism": nodes,
        "completionMode": "Indexed" if gang is not None else "NonIndexed",
        "suspend": suspend or queue is not None,
        "template": {
            "metadata": pod_metadata(child_labels, pod),
            "spec": _job_pod(name, task, image, resources, pod, progress, gang),
        },
    }
    if deadline_seconds is not None:
        spec["activeDeadlineSeconds"] = deadline_seconds
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(owner, name, labels(owner, attempt=attempt, task=task, queue=queue)),
        "spec": spec,
    }


def rendezvous(owner: Owner, name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """The headless Service by which the pods of a gang find each other."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(owner, name, labels),
        "spec": {
            "clusterIP": "None",
            # Nodes have to find each other before they are ready.
            "publishNotReadyAddresses": True,
            "selector": dict(labels),
        },
    }


def gang_env(job: str, gang: Gang) -> list[dict[str, Any]]:
    """What torchrun reads on each node; the names are its flags'."""
    return [
        {"name": "PET_NNODES", "value": str(gang.nodes)},
        {"name": "PET_NPROC_PER_NODE", "value": str(gang.processes)},
        {
            "name": "PET_NODE_RANK",
            "valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{COMPLETION_INDEX}']"}},
        },
        {"name": "PET_MASTER_ADDR", "value": f"{job}-0.{job}"},
        {"name": "PET_MASTER_PORT", "value": str(MASTER_PORT)},
        {"name": "PET_RDZV_CONF", "value": f"timeout={gang.patience}"},
    ]


def pod_metadata(labels: Mapping[str, str], pod: Mapping[str, Any] | None) -> dict[str, Any]:
    """Labels and annotations of a pod template; a user's can't replace ours."""
    user = pod or {}
    found: dict[str, Any] = {"labels": {**(user.get("labels") or {}), **labels}}
    if user.get("annotations"):
        found["annotations"] = dict(user["annotations"])
    return found


def pod_settings(pod: Mapping[str, Any] | None) -> dict[str, Any]:
    """The part of a pod's spec that a user may set."""
    return {key: value for key in POD_SETTINGS if (value := (pod or {}).get(key))}


def pod_security_context() -> dict[str, Any]:
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security_context() -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def store_env() -> list[dict[str, Any]]:
    """The namespace's store, put into the pod by kubelet: the operator never reads the Secret."""
    return [
        {
            "name": variable,
            "valueFrom": {"secretKeyRef": {"name": config.STORE_SECRET, "key": key, "optional": False}},
        }
        for variable, key in config.STORE_ENV.items()
    ]


def thread_env(resources: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """Threads follow the CPU request (else the limit); libraries would take those of the whole node."""
    threads = str(threads_of(resources))
    return [{"name": variable, "value": threads} for variable in THREAD_VARIABLES]


def threads_of(resources: Mapping[str, Any] | None) -> int:
    """Whole CPUs of the request, else of the limit; at least 1."""
    found = resources or {}
    cpu = (found.get("requests") or {}).get("cpu") or (found.get("limits") or {}).get("cpu")
    return 1 if cpu is None else max(1, int(quantity(cpu)))


def quantity(text: str | int | float) -> Decimal:
    """A Kubernetes quantity as a number, e.g. 500m, 2Gi, 1e3."""
    found = _QUANTITY.fullmatch(str(text))
    if found is None:
        raise ValueError(f"{str(text)!r} is not a Kubernetes quantity such as 500m, 2 or 1Gi")
    return Decimal(found["number"]) * _SUFFIXES[found["suffix"] or ""]


def _job_pod(
    name: str,
    task: str,
    image: str,
    resources: Mapping[str, Any] | None,
    pod: Mapping[str, Any] | None,
    progress: bool,
    gang: Gang | None,
) -> dict[str, Any]:
    config_path = PurePosixPath(config.CONFIG_PATH)
    token_path = PurePosixPath(config.PROGRESS_TOKEN_PATH)
    mounts = [
        {"name": "config", "mountPath": str(config_path.parent), "readOnly": True},
        {"name": "workspace", "mountPath": config.WORKSPACE},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    volumes: list[dict[str, Any]] = [
        {"name": "config", "configMap": {"name": name}},
        {"name": "workspace", "emptyDir": {"sizeLimit": WORKSPACE_SIZE}},
        {"name": "tmp", "emptyDir": {"sizeLimit": TMP_SIZE}},
    ]
    if progress:
        mounts.append({"name": "progress-token", "mountPath": str(token_path.parent), "readOnly": True})
        volumes.append(
            {
                "name": "progress-token",
                "projected": {
                    "sources": [
                        {
                            "serviceAccountToken": {
                                "audience": config.PROGRESS_AUDIENCE,
                                "expirationSeconds": 3600,
                                "path": token_path.name,
                            }
                        }
                    ]
                },
            }
        )
    main = {
        "name": MAIN,
        "image": image,
        "command": ["slipway-jobs"],
        "args": [task],
        "env": [
            *store_env(),
            *thread_env(resources),
            {"name": "HOME", "value": "/tmp"},
            {"name": "SLIPWAY_NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "SLIPWAY_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            *(gang_env(name, gang) if gang is not None else ()),
        ],
        "securityContext": container_security_context(),
        "terminationMessagePath": config.TERMINATION_PATH,
        "terminationMessagePolicy": "File",
        "volumeMounts": mounts,
    }
    if resources:
        main["resources"] = {key: dict(value) for key, value in resources.items() if value}
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security_context(),
        "containers": [main],
        "volumes": volumes,
        **pod_settings(pod),
    }
    if gang is not None:
        # With the hostname that Kubernetes gives each pod of an Indexed Job: <job>-<rank>.<job>.
        spec["subdomain"] = name
    return spec
