"""What a CompressionJob makes: the Job of an attempt with its orders, and the ModelVersion at the end."""

from collections.abc import Sequence
from typing import Any

from slipway import manifests
from slipway.api import CompressionJob
from slipway.api.compression_job import Pass
from slipway.api.gates import GateResult
from slipway.api.meta import NamedDigest, ObjectRef
from slipway.api.model_version import (
    EvaluatedOn,
    Lineage,
    MeasuredOn,
    ModelVersionSpec,
    Producer,
    Signature,
    VersionEvaluation,
)
from slipway.api.units import seconds
from slipway.contract import config
from slipway.contract.base import Gate
from slipway.contract.config import CompressTask, JobConfig, Owner, ProgressTarget
from slipway.contract.report import Artifact, CompressReport
from slipway.kinds import versions
from slipway.kinds.compression_job.inputs import Inputs
from slipway.settings import Platform

# Figures of the last variant that the version keeps beside those of its evaluation.
KEPT = (
    "accuracy_drop",
    "agreement",
    "speedup",
    "size_ratio",
    "latency_p50_ms",
    "latency_p99_ms",
    "size_bytes",
)


def job_name(job: CompressionJob, attempt: int) -> str:
    return manifests.child_name(job.metadata.name, attempt)


def attempt(
    job: CompressionJob, number: int, inputs: Inputs, platform: Platform, image: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ConfigMap and the Job."""
    metadata, spec = job.metadata, job.spec
    owner = Owner(kind="CompressionJob", namespace=metadata.namespace, name=metadata.name, uid=metadata.uid)
    name = job_name(job, number)
    task = CompressTask(
        source=inputs.source,
        source_uri=inputs.source_uri,
        dataset=inputs.dataset,
        passes=[config.Pass.model_validate(step.dump()) for step in spec.passes],
        device=spec.target.device or "CPU",
        threads=spec.target.threads,
        batch_sizes=spec.target.batch_sizes,
        evaluation_split=spec.evaluation.split,
        gates=[Gate.model_validate(gate.dump()) for gate in spec.gates],
        output_uri=f"store://models/{metadata.name}/",
        progress=ProgressTarget(url=platform.progress_url, ca=platform.progress_ca),
    )
    orders = JobConfig(owner=owner, attempt=number, task=task)
    made = manifests.job(
        owner,
        name,
        task="compress",
        image=image,
        attempt=number,
        resources=spec.resources.dump(),
        pod=spec.pod.dump(),
        deadline_seconds=round(seconds(spec.active_deadline)) if spec.active_deadline is not None else None,
        progress=True,
        queue=metadata.labels.get(manifests.KUEUE_QUEUE),
    )
    labels = manifests.labels(owner, attempt=number, task="compress")
    return manifests.config_map(owner, name, orders, labels), made


def version(
    job: CompressionJob,
    report: CompressReport,
    artifact: Artifact,
    judged: Sequence[GateResult],
    inputs: Inputs,
    image: str,
) -> dict[str, Any]:
    """The ModelVersion, of the job's name. It has no owner: it outlives the job."""
    model = job.spec.output.model_ref
    dataset = NamedDigest(name=inputs.dataset.name, digest=inputs.dataset.digest)
    spec = ModelVersionSpec(
        model_ref=ObjectRef(name=model.name) if model is not None else None,
        storage_uri=artifact.storage_uri,
        digest=artifact.digest,
        format="ONNX",
        signature=Signature.model_validate(artifact.signature.model_dump(exclude_none=True)),
        evaluation=_evaluation(report, dataset),
        gates=list(judged),
        lineage=Lineage(
            producer=Producer(kind="CompressionJob", name=job.metadata.name, uid=job.metadata.uid),
            parent=NamedDigest(name=inputs.source.name, digest=inputs.source.digest),
            dataset=dataset,
            image=image,
            parameters={f"passes.{step.name}": _in_words(step) for step in job.spec.passes},
        ),
    )
    return versions.manifest(job.metadata, "CompressionJob", spec)


def _evaluation(report: CompressReport, dataset: NamedDigest) -> VersionEvaluation:
    found = report.evaluation
    last = report.variants[-1].metrics if report.variants else {}
    compared = {name: last[name] for name in KEPT if name in last}
    return VersionEvaluation(
        dataset=EvaluatedOn(
            name=dataset.name, digest=dataset.digest, split=found.split if found is not None else None
        ),
        samples=found.samples if found is not None else None,
        metrics={**(found.metrics if found is not None else {}), **compared},
        measured_on=MeasuredOn.model_validate(report.measured_on.model_dump(exclude_none=True))
        if report.measured_on is not None
        else None,
        report_uri=report.report_uri,
    )


def _in_words(step: Pass) -> str:
    """staticQuantize UINT8/INT8 perChannel MinMax 512."""
    quantize = step.static_quantize
    if quantize is None:
        return ""
    kind = f"staticQuantize {quantize.activation_type}/{quantize.weight_type}"
    how = " perChannel" if quantize.per_channel else ""
    return f"{kind}{how} {quantize.calibration.method} {quantize.calibration.samples}"
