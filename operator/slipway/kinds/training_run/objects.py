"""What a TrainingRun makes: the Job of an attempt with its orders, and the ModelVersion at the end."""

import math
from collections.abc import Sequence
from typing import Any

from slipway import manifests
from slipway.api import TrainingRun
from slipway.api.gates import GateResult
from slipway.api.meta import NamedDigest, ObjectRef
from slipway.api.model_version import (
    EvaluatedOn,
    Lineage,
    ModelVersionSpec,
    Producer,
    Signature,
    VersionEvaluation,
)
from slipway.api.units import seconds
from slipway.contract import config
from slipway.contract.base import Gate
from slipway.contract.config import DatasetInput, JobConfig, Owner, ProgressTarget, TrainTask
from slipway.contract.report import Artifact, TrainReport
from slipway.kinds import versions
from slipway.settings import Platform

GPU = "nvidia.com/gpu"
JOINING = 120
"""Seconds from the start of the last pod until torchrun on it has found the others."""


def owner(run: TrainingRun) -> Owner:
    metadata = run.metadata
    return Owner(kind="TrainingRun", namespace=metadata.namespace, name=metadata.name, uid=metadata.uid)


def job_name(run: TrainingRun, attempt: int) -> str:
    return manifests.child_name(run.metadata.name, attempt)


def attempt(
    run: TrainingRun, number: int, dataset: DatasetInput, platform: Platform, image: str
) -> tuple[dict[str, Any], ...]:
    """ConfigMap and Job; before them the headless Service by which several nodes find each other."""
    name, spec, made_by = job_name(run, number), run.spec, owner(run)
    nodes = spec.trainer.num_nodes
    task = TrainTask(
        dataset=dataset,
        model=config.Architecture.model_validate(spec.model.dump()),
        hyperparameters=config.Hyperparameters.model_validate(spec.hyperparameters.dump()),
        # By uid: a run that is deleted and made again under its name must not go on from the old one's weights.
        checkpoint_uri=f"store://runs/{run.metadata.name}/{run.metadata.uid[:8]}/checkpoints/",
        checkpoint_interval_seconds=seconds(spec.checkpoints.interval),
        checkpoints_keep=spec.checkpoints.keep,
        evaluation_split=spec.evaluation.split,
        gates=[Gate.model_validate(gate.dump()) for gate in spec.gates],
        output_uri=f"store://models/{run.metadata.name}/",
        num_nodes=nodes,
        num_proc_per_node=_processes(run),
        progress=ProgressTarget(url=platform.progress_url, ca=platform.progress_ca),
    )
    orders = JobConfig(owner=made_by, attempt=number, task=task)
    labels = manifests.labels(made_by, attempt=number, task="train")
    gang = _gang(run) if nodes > 1 else None
    job = manifests.job(
        made_by,
        name,
        task="train",
        image=image,
        attempt=number,
        resources=spec.trainer.resources_per_node.dump(),
        pod=spec.pod.dump(),
        progress=True,
        gang=gang,
        queue=run.metadata.labels.get(manifests.KUEUE_QUEUE),
    )
    service = (manifests.rendezvous(made_by, name, labels),) if gang is not None else ()
    return (*service, manifests.config_map(made_by, name, orders, labels), job)


def version(
    run: TrainingRun,
    report: TrainReport,
    artifact: Artifact,
    judged: Sequence[GateResult],
    dataset: NamedDigest,
    image: str,
) -> dict[str, Any]:
    """The ModelVersion, of the run's name. It has no owner: it outlives the run."""
    evaluation = report.evaluation
    model = run.spec.output.model_ref
    spec = ModelVersionSpec(
        model_ref=ObjectRef(name=model.name) if model is not None else None,
        storage_uri=artifact.storage_uri,
        digest=artifact.digest,
        format="ONNX",
        signature=Signature.model_validate(artifact.signature.model_dump(exclude_none=True)),
        evaluation=VersionEvaluation(
            dataset=EvaluatedOn(name=dataset.name, digest=dataset.digest, split=evaluation.split),
            samples=evaluation.samples,
            metrics=evaluation.metrics,
            report_uri=evaluation.report_uri,
        )
        if evaluation is not None
        else None,
        gates=list(judged),
        lineage=Lineage(
            producer=Producer(kind="TrainingRun", name=run.metadata.name, uid=run.metadata.uid),
            dataset=dataset,
            image=image,
            parameters=_parameters(run),
        ),
    )
    return versions.manifest(run.metadata, "TrainingRun", spec)


def _processes(run: TrainingRun) -> int:
    """One for each GPU of a node, else one: threads make use of several CPUs."""
    gpus = run.spec.trainer.resources_per_node.limits.get(GPU)
    return max(1, int(manifests.quantity(gpus))) if gpus is not None else 1


def _gang(run: TrainingRun) -> manifests.Gang:
    """startDeadline ends a run whose pods haven't all started; a node that waits must not give up before."""
    patience = math.ceil(seconds(run.spec.start_deadline)) + JOINING
    return manifests.Gang(run.spec.trainer.num_nodes, _processes(run), patience)


def _parameters(run: TrainingRun) -> dict[str, str]:
    """Architecture and hyperparameters, one word each."""
    spec = run.spec
    model = {f"model.{name}": versions.in_words(value) for name, value in spec.model.dump().items()}
    return model | {name: versions.in_words(value) for name, value in spec.hyperparameters.dump().items()}
