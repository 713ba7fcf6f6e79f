"""How a datasetRef is resolved: the same for runs and compression jobs."""

from dataclasses import dataclass

from slipway import api
from slipway.api.meta import DatasetRef
from slipway.api.reasons import Reason
from slipway.contract.config import DatasetInput
from slipway.kinds import words


@dataclass(frozen=True)
class Missing:
    """A reference that can't be used yet: why, in a word and in a sentence."""

    reason: Reason
    message: str


def resolve(
    reference: DatasetRef, found: api.Dataset | None, names: tuple[str, ...]
) -> DatasetInput | Missing:
    """The prepared copy, or what is waited for."""
    name = reference.name
    if found is None:
        suggestion = words.there_is("Dataset", name, names)
        return Missing(Reason.DATASET_NOT_FOUND, f"Waiting for Dataset {name}.{suggestion}")
    status = found.status
    ready = status.condition("Ready")
    current = status.observed_generation == found.metadata.generation
    if current and status.phase in ("Rejected", "Failed"):
        why = ready.message if ready is not None else ""
        return Missing(Reason.DATASET_UNUSABLE, f"Dataset {name} is {status.phase}: {why}")
    if not current or status.phase != "Ready" or status.digest is None:
        stands = f"; it is {status.phase}" if status.phase is not None else ""
        return Missing(Reason.DATASET_NOT_READY, f"Waiting for Dataset {name} to be Ready{stands}.")
    if reference.digest not in (None, status.digest):
        pinned, has = words.short(reference.digest or ""), words.short(status.digest)
        said = f"datasetRef pins {pinned}, Dataset {name} has {has}: pin that one, or none."
        return Missing(Reason.DIGEST_NOT_FOUND, said)
    return pinned_input(found, status.digest)


def pinned_input(dataset: api.Dataset, digest: str) -> DatasetInput:
    """Content that the Dataset has or had: old copies stay in the store for what still refers to them."""
    known = dataset.status.digest == digest and dataset.status.storage_uri is not None
    uri = dataset.status.storage_uri if known else prepared_copy(dataset.metadata.name, digest)
    assert uri is not None
    return DatasetInput(
        name=dataset.metadata.name,
        digest=digest,
        storage_uri=uri,
        augmentation=[step.dump() for step in dataset.spec.augmentation],
    )


def prepared_copy(name: str, digest: str) -> str:
    """Where the prepare Job puts it, by name and digest alone."""
    return f"store://datasets/{name}/{digest.removeprefix('sha256:')[:12]}/"
