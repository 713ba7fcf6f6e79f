"""Manifests of a ModelDeployment: what each revision runs as, and how clients find it. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from pydantic import ValidationError

from slipway import manifests
from slipway.api.reasons import Reason
from slipway.contract import config
from slipway.contract.config import FetchTask, JobConfig, Owner, ProbeTask
from slipway.contract.report import ToolReport
from slipway.rollout import plan
from slipway.settings import Platform

REASONS = {reason.value: reason for reason in Reason}
HTTP_PORT, GRPC_PORT, METRICS_PORT, PROBE_PORT = 8000, 8001, 8002, 8080
DRAIN_SECONDS = 5
"""Between a pod's end being asked and Triton's SIGTERM: the routers have taken it out long before."""
EXIT_TIMEOUT_SECONDS = 20
"""What Triton gives requests under way after SIGTERM."""
REPOSITORY = "/models"
SIDECAR_RESOURCES = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}
REVISION_DIGITS = 6
OUTCOME = "slipway.dev/outcome"
"""Annotation of a ControllerRevision; the rest of the outcome is in outcome-reason, -message, -started, -time."""


@dataclass(frozen=True)
class Model:
    """The version a revision serves."""

    name: str
    digest: str
    storage_uri: str
    examples_uri: str


@dataclass(frozen=True)
class Revision:
    """One {model, runtime, resources, Triton configuration}, as kept in its ControllerRevision."""

    name: str
    model: Model
    signature: Mapping[str, Any]
    """contract.base.Signature as JSON: what the next version's is compared with."""
    template: Mapping[str, Any]
    """Pod template."""
    configs: Mapping[str, str]
    """Data of its ConfigMap."""


@dataclass(frozen=True)
class Outcome:
    """How the last rollout of a revision ended. Kept on its ControllerRevision, so that a restore without status
    and ConfigMaps keeps the stable revision and remembers what was rejected."""

    word: plan.Outcome
    reason: Reason
    message: str
    started: datetime
    """Tells this rollout from another one of the same revision."""
    completed: datetime

    def annotations(self) -> dict[str, str]:
        return {
            OUTCOME: self.word,
            f"{OUTCOME}-reason": self.reason.value,
            f"{OUTCOME}-message": self.message,
            f"{OUTCOME}-started": self.started.isoformat(),
            f"{OUTCOME}-time": self.completed.isoformat(),
        }

    @classmethod
    def read(cls, annotations: Mapping[str, str]) -> "Outcome | None":
        word: plan.Outcome
        match annotations.get(OUTCOME):
            case "Promoted":
                word = "Promoted"
            case "RolledBack":
                word = "RolledBack"
            case _:
                return None
        try:
            completed = datetime.fromisoformat(annotations[f"{OUTCOME}-time"])
            started = datetime.fromisoformat(annotations.get(f"{OUTCOME}-started", completed.isoformat()))
            reason = REASONS[annotations[f"{OUTCOME}-reason"]]
        except (KeyError, ValueError):
            # Edited by hand: counted as no outcome, so the revision is tried anew rather than trusted.
            return None
        return cls(word, reason, annotations.get(f"{OUTCOME}-message", ""), started, completed)


def revision_name(deployment: str, identity: Mapping[str, Any]) -> str:
    """<deployment>-<first digits of the digest of what makes it different>."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return f"{deployment}-{sha256(text.encode()).hexdigest()[:REVISION_DIGITS]}"


def render(
    owner: Owner,
    name: str,
    model: Model,
    signature: Mapping[str, Any],
    config_pbtxt: str,
    *,
    platform: Platform,
    resources: Mapping[str, Any] | None,
    pod: Mapping[str, Any] | None,
) -> Revision:
    """A new revision; afterwards it is only ever read back from its ControllerRevision."""
    fetch = FetchTask(
        storage_uri=model.storage_uri,
        digest=model.digest,
        examples_uri=model.examples_uri,
        model_name=owner.name,
        config_pbtxt=config_pbtxt,
        repository=REPOSITORY,
    )
    probe = ProbeTask(model_name=owner.name, repository=REPOSITORY, port=PROBE_PORT)
    return Revision(
        name=name,
        model=model,
        signature=signature,
        template={
            "metadata": manifests.pod_metadata(manifests.labels(owner, revision=name), pod),
            "spec": _pod_spec(name, platform, resources, pod),
        },
        configs={
            "fetch.json": JobConfig(owner=owner, task=fetch).to_json(),
            "probe.json": JobConfig(owner=owner, task=probe).to_json(),
        },
    )


def controller_revision(
    owner: Owner, revision: Revision, number: int, outcome: Outcome | None = None
) -> dict[str, Any]:
    labels = manifests.labels(owner, revision=revision.name)
    annotations = outcome.annotations() if outcome is not None else None
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": manifests.metadata(owner, revision.name, labels, annotations),
        "revision": number,
        "data": {
            "model": {
                "name": revision.model.name,
                "digest": revision.model.digest,
                "storageUri": revision.model.storage_uri,
                "examplesUri": revision.model.examples_uri,
            },
            "signature": dict(revision.signature),
            "template": dict(revision.template),
            "configs": dict(revision.configs),
        },
    }


def read_revision(manifest: Mapping[str, Any]) -> Revision:
    data = manifest["data"]
    model = data["model"]
    return Revision(
        name=manifest["metadata"]["name"],
        model=Model(model["name"], model["digest"], model["storageUri"], model["examplesUri"]),
        signature=data["signature"],
        template=data["template"],
        configs=data["configs"],
    )


def image(revision: Revision) -> str:
    """Triton's image."""
    found: str = revision.template["spec"]["containers"][0]["image"]
    return found


def config_map(owner: Owner, revision: Revision) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": manifests.metadata(owner, revision.name, manifests.labels(owner, revision=revision.name)),
        "immutable": True,
        "data": dict(revision.configs),
    }


def deployment(
    owner: Owner, revision: Revision, replicas: int, progress_deadline_seconds: int
) -> dict[str, Any]:
    labels = manifests.labels(owner, revision=revision.name)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": manifests.metadata(owner, revision.name, labels),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 0,
            "progressDeadlineSeconds": progress_deadline_seconds,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": labels},
            "template": dict(revision.template),
        },
    }


def disruption_budget(owner: Owner, revision: Revision) -> dict[str, Any]:
    labels = manifests.labels(owner, revision=revision.name)
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": manifests.metadata(owner, revision.name, labels),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": labels},
        },
    }


def service(owner: Owner, platform: Platform) -> dict[str, Any]:
    """<name>.<namespace>.svc is an alias of the router, which tells deployments apart by host."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": manifests.metadata(owner, owner.name, manifests.labels(owner)),
        "spec": {
            "type": "ExternalName",
            "externalName": platform.router_host,
            "ports": [
                {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 80},
                {"name": "grpc", "port": GRPC_PORT, "protocol": "TCP", "targetPort": GRPC_PORT},
            ],
        },
    }


def network_policy(owner: Owner, platform: Platform) -> dict[str, Any]:
    """Serving pods answer the routers only. Where they read from (the store) isn't known here: egress is open."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": manifests.metadata(
            owner, manifests.child_name(owner.name, "serving"), manifests.labels(owner)
        ),
        "spec": {
            "podSelector": {"matchLabels": manifests.labels(owner)},
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [
                        {
                            "namespaceSelector": {
                                "matchLabels": {"kubernetes.io/metadata.name": platform.release_namespace}
                            },
                            "podSelector": {"matchLabels": {"app.kubernetes.io/component": "router"}},
                        }
                    ],
                    "ports": [
                        {"port": port, "protocol": "TCP"} for port in (HTTP_PORT, GRPC_PORT, PROBE_PORT)
                    ],
                }
            ],
        },
    }


def trial(owner: Owner, data: str) -> dict[str, Any]:
    """Where the rollout is and what it has seen so far: a leader that starts anew goes on from it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": manifests.metadata(owner, trial_name(owner.name), manifests.labels(owner)),
        "data": {"trial.json": data},
    }


def trial_name(deployment: str) -> str:
    return manifests.child_name(deployment, "rollout")


def _pod_spec(
    name: str, platform: Platform, resources: Mapping[str, Any] | None, pod: Mapping[str, Any] | None
) -> dict[str, Any]:
    triton = {
        "name": "triton",
        "image": platform.triton_image,
        "command": ["tritonserver"],
        "args": [
            f"--model-repository={REPOSITORY}",
            "--model-control-mode=none",
            "--disable-auto-complete-config",
            f"--http-port={HTTP_PORT}",
            f"--grpc-port={GRPC_PORT}",
            f"--metrics-port={METRICS_PORT}",
            f"--exit-timeout-secs={EXIT_TIMEOUT_SECONDS}",
        ],
        "env": manifests.thread_env(resources),
        "securityContext": manifests.container_security_context(),
        "ports": [
            {"name": "http", "containerPort": HTTP_PORT},
            {"name": "grpc", "containerPort": GRPC_PORT},
            {"name": "metrics", "containerPort": METRICS_PORT},
        ],
        # Both ask the sidecar, which replays examples: a Triton whose backend died stays ready by itself.
        "startupProbe": _probe("/ready", period=1, failures=600),
        "readinessProbe": _probe("/ready", period=2, failures=2),
        # One that answers wrong has nothing to drain, and unloading a dead backend took all of its time to exit:
        # 43 s went by until a single replica answered again.
        "livenessProbe": {**_probe("/live", period=5, failures=3), "terminationGracePeriodSeconds": 2},
        "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}},
        "volumeMounts": [
            {"name": "models", "mountPath": REPOSITORY, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if resources:
        triton["resources"] = {key: dict(value) for key, value in resources.items() if value}
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": manifests.pod_security_context(),
        "terminationGracePeriodSeconds": DRAIN_SECONDS + EXIT_TIMEOUT_SECONDS + 10,
        "initContainers": [
            _tool("fetch", platform, manifests.store_env()),
            # A native sidecar: started before Triton, ended after it.
            {**_tool("probe", platform, []), "restartPolicy": "Always", "ports": [
                {"name": "probe", "containerPort": PROBE_PORT}
            ]},
        ],
        "containers": [triton],
        "volumes": [
            {"name": "models", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {"sizeLimit": manifests.TMP_SIZE}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "256Mi"}},
            {"name": "config", "configMap": {"name": name}},
        ],
        **manifests.pod_settings(pod),
    }  # fmt: skip


def failure_message(report: str) -> str | None:
    """The sentence of a failed tool's Report; None if it is no report."""
    try:
        return ToolReport.model_validate_json(report).message
    except ValidationError:
        return None


def _tool(task: str, platform: Platform, env: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": task,
        "image": platform.operator_image,
        "command": ["slipway-jobs"],
        "args": [task],
        "env": [*env, {"name": "HOME", "value": "/tmp"}],
        "securityContext": manifests.container_security_context(),
        "resources": SIDECAR_RESOURCES,
        "terminationMessagePath": config.TERMINATION_PATH,
        "volumeMounts": [
            {"name": "models", "mountPath": REPOSITORY, "readOnly": task != "fetch"},
            {"name": "tmp", "mountPath": "/tmp"},
            # One file of the ConfigMap each, under the name every job reads.
            {"name": "config", "mountPath": config.CONFIG_PATH, "subPath": f"{task}.json", "readOnly": True},
        ],
    }


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": PROBE_PORT},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }
