"""The Job that verifies a version: reads its bytes, loads it, and writes examples where it has none."""

from typing import Any

from slipway import manifests
from slipway.api import ModelVersion
from slipway.contract.base import Signature
from slipway.contract.config import JobConfig, Owner, VerifyTask
from slipway.contract.examples import FILE

# Room for a model of some hundred megabytes; a version has no `resources` of its own.
RESOURCES = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}}


def verify(version: ModelVersion, attempt: int, image: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ConfigMap and the Job."""
    metadata = version.metadata
    owner = Owner(kind="ModelVersion", namespace=metadata.namespace, name=metadata.name, uid=metadata.uid)
    name = manifests.child_name(metadata.name, "verify", attempt)
    signature = version.spec.signature
    task = VerifyTask(
        storage_uri=version.spec.storage_uri,
        digest=version.spec.digest,
        signature=Signature.model_validate(signature.dump()) if signature is not None else None,
        examples_uri=examples_uri(version),
    )
    config = JobConfig(owner=owner, attempt=attempt, task=task)
    labels = manifests.labels(owner, attempt=attempt, task="verify")
    job = manifests.job(owner, name, task="verify", image=image, attempt=attempt, resources=RESOURCES)
    return manifests.config_map(owner, name, config, labels), job


def examples_uri(version: ModelVersion) -> str:
    """Beside the model where Slipway wrote it, else in the namespace's own store: results go nowhere else."""
    lineage = version.spec.lineage
    producer = lineage.producer if lineage is not None else None
    if producer is not None and producer.kind != "User" and version.spec.storage_uri.endswith("/"):
        return version.spec.storage_uri + FILE
    return f"store://models/{version.metadata.name}/{FILE}"
