"""The Job that prepares a Dataset, and the key that says which spec it prepares."""

import json
from hashlib import sha256
from typing import Any

from slipway import manifests
from slipway.api import Dataset
from slipway.contract.base import Gate, Tensor
from slipway.contract.config import DatasetTask, JobConfig, Owner, Schema, Split

KEY_DIGITS = 6
NOT_PREPARED = ("augmentation",)
"""Fields of the spec that change nothing about the prepared copy."""


def key(dataset: Dataset) -> str:
    """Changes whenever there is something to prepare anew. Resources count: a larger limit is a reason to try."""
    spec = {name: value for name, value in dataset.spec.dump().items() if name not in NOT_PREPARED}
    return sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:KEY_DIGITS]


def job_name(dataset: Dataset, attempt: int) -> str:
    return manifests.child_name(dataset.metadata.name, key(dataset), attempt)


def folder(name: str) -> str:
    """Parent of the prepared copies of a Dataset, each under the first 12 digits of its digest."""
    return f"store://datasets/{name}/"


def prepare(dataset: Dataset, attempt: int, image: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ConfigMap and the Job."""
    metadata, spec = dataset.metadata, dataset.spec
    owner = Owner(kind="Dataset", namespace=metadata.namespace, name=metadata.name, uid=metadata.uid)
    name = job_name(dataset, attempt)
    target = spec.schema_.target
    task = DatasetTask(
        source_uri=spec.source.storage_uri,
        format=spec.format,
        schema_=Schema(
            inputs=[Tensor.model_validate(tensor.dump()) for tensor in spec.schema_.inputs],
            target=target.name,
            target_type=target.type,
            classes=target.classes or None,
        ),
        split=Split.model_validate(spec.split.dump()),
        preprocessing=[step.dump() for step in spec.preprocessing],
        gates=[Gate.model_validate(check.dump()) for check in spec.checks],
        output_uri=folder(metadata.name),
    )
    config = JobConfig(owner=owner, attempt=attempt, task=task)
    job = manifests.job(
        owner,
        name,
        task="dataset",
        image=image,
        attempt=attempt,
        resources=spec.resources.dump(),
        pod=spec.pod.dump(),
        queue=metadata.labels.get(manifests.KUEUE_QUEUE),
    )
    return manifests.config_map(
        owner, name, config, manifests.labels(owner, attempt=attempt, task="dataset")
    ), job
