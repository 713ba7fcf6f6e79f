"""What a CompressionJob works on: a source version and rows to calibrate and measure with. Pure."""

from dataclasses import dataclass

from slipway import api
from slipway.api.meta import DatasetRef, NamedDigest
from slipway.api.reasons import Reason
from slipway.contract.base import Named
from slipway.contract.config import DatasetInput
from slipway.kinds import datasets, versions
from slipway.kinds.datasets import Missing


@dataclass(frozen=True)
class Inputs:
    source: Named
    source_uri: str
    dataset: DatasetInput


def resolve(
    job: api.CompressionJob,
    source: api.ModelVersion | Missing,
    dataset: api.Dataset | None,
    names: tuple[str, ...],
) -> Inputs | Missing:
    """Both, or the first thing that is waited for. dataset: the object of that name, if there is one."""
    if isinstance(source, Missing):
        return source
    rows = _rows(job, source, dataset, names)
    if isinstance(rows, Missing):
        return rows
    digest = versions.digest_of(source)
    assert digest is not None, "a version that is Ready has a digest"
    uri = source.status.storage_uri or source.spec.storage_uri
    return Inputs(Named(name=source.metadata.name, digest=digest), uri, rows)


def dataset_name(job: api.CompressionJob, source: api.ModelVersion) -> str | None:
    """Of the Dataset that is needed."""
    if job.spec.dataset_ref is not None:
        return job.spec.dataset_ref.name
    own = dataset_of(source)
    return own.name if own is not None else None


def dataset_of(version: api.ModelVersion) -> NamedDigest | None:
    """What the version was measured on, else made with."""
    evaluation, lineage = version.spec.evaluation, version.spec.lineage
    if evaluation is not None and evaluation.dataset is not None:
        return NamedDigest(name=evaluation.dataset.name, digest=evaluation.dataset.digest)
    return lineage.dataset if lineage is not None else None


def _rows(
    job: api.CompressionJob, source: api.ModelVersion, found: api.Dataset | None, names: tuple[str, ...]
) -> DatasetInput | Missing:
    if job.spec.dataset_ref is not None:
        return datasets.resolve(job.spec.dataset_ref, found, names)
    own = dataset_of(source)
    if own is None:
        message = f"ModelVersion {source.metadata.name} names no Dataset: create a job that sets datasetRef."
        return Missing(Reason.DATASET_NOT_FOUND, message)
    if own.digest is None:
        return datasets.resolve(DatasetRef(name=own.name), found, names)
    if found is not None:
        return datasets.pinned_input(found, own.digest)
    # The Dataset may be gone; its prepared copy stays in the store under its digest.
    uri = datasets.prepared_copy(own.name, own.digest)
    return DatasetInput(name=own.name, digest=own.digest, storage_uri=uri)
