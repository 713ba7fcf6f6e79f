"""ModelVersions as runs and jobs make them, and how a reference to one is resolved."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway import api
from slipway.api.meta import Metadata, ModelRef, ObjectRef
from slipway.api.model_version import ModelVersionSpec
from slipway.api.reasons import Reason
from slipway.kinds import words
from slipway.kinds.datasets import Missing
from slipway.manifests import API_VERSION

MODEL = "slipway.dev/model"
PRODUCER = "slipway.dev/producer"


def manifest(producer: Metadata, kind: str, spec: ModelVersionSpec) -> dict[str, Any]:
    """Of the producer's name, with labels to select by and no owner: it outlives what made it."""
    labels = {PRODUCER: kind}
    if spec.model_ref is not None:
        labels[MODEL] = spec.model_ref.name
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelVersion",
        "metadata": {"name": producer.name, "namespace": producer.namespace, "labels": labels},
        "spec": spec.dump(),
    }


def made_by(version: api.ModelVersion, uid: str) -> bool:
    """Whether the object with this uid made it."""
    lineage = version.spec.lineage
    return lineage is not None and lineage.producer is not None and lineage.producer.uid == uid


def exists(version: api.ModelVersion, what: str) -> str:
    """Why a run or job of the version's name can't begin."""
    digest = digest_of(version)
    said = f" with digest {words.short(digest)}" if digest else ""
    return f"ModelVersion {version.metadata.name} exists{said}; give this {what} another name."


def digest_of(version: api.ModelVersion) -> str | None:
    """As stated, else as found when it was verified."""
    return version.spec.digest or version.status.digest


@dataclass(frozen=True)
class Candidates:
    """What a reference to a version may mean, as seen in the namespace."""

    version: api.ModelVersion | None
    model: api.Model | None = None
    names: tuple[str, ...] = ()
    """All of the kind that wasn't found."""
    maker: str | None = None
    """The run or job that makes the version that wasn't found, e.g. TrainingRun fashion-cnn-v1 (Running)."""
    newest: api.ModelVersion | None = None
    """Newest version of the Model, to be named where its alias is empty."""


def resolve(
    version_ref: ObjectRef | None, model_ref: ModelRef | None, found: Candidates
) -> api.ModelVersion | Missing:
    """A Ready version, or what is waited for."""
    if model_ref is not None:
        missing = _alias(model_ref, found)
        if missing is not None:
            return missing
    elif version_ref is not None and found.version is None:
        name = version_ref.name
        if found.maker is not None:
            said = f"Waiting for ModelVersion {name}, which {found.maker} makes."
        else:
            said = f"Waiting for ModelVersion {name}.{words.there_is('ModelVersion', name, found.names)}"
        return Missing(Reason.MODEL_VERSION_NOT_FOUND, said)
    version = found.version
    if version is None:
        return Missing(Reason.INVALID_SPEC, "Set exactly one of modelRef and modelVersionRef.")
    name, phase = version.metadata.name, version.status.phase
    if phase in ("Rejected", "Failed"):
        said = f"ModelVersion {name} is {phase}: {version.status.summary or 'see its status'}"
        return Missing(Reason.MODEL_VERSION_UNUSABLE, said)
    if phase != "Ready" or digest_of(version) is None:
        return Missing(Reason.MODEL_VERSION_NOT_READY, f"Waiting for ModelVersion {name} to be Ready.")
    return version


def alias_target(model: api.Model, alias: str) -> str | None:
    """Name of the version that an alias points to."""
    state = next((state for state in model.status.aliases if state.name == alias), None)
    return state.model_version_ref.name if state is not None and state.model_version_ref else None


def _alias(reference: ModelRef, found: Candidates) -> Missing | None:
    if found.model is None:
        suggestion = words.there_is("Model", reference.name, found.names)
        return Missing(Reason.MODEL_NOT_FOUND, f"Waiting for Model {reference.name}.{suggestion}")
    stated = [alias.name for alias in found.model.spec.aliases]
    where = f"alias {reference.alias} of Model {reference.name}"
    if reference.alias not in stated:
        has = f"it has {words.listed(stated)}" if stated else "it has none"
        return Missing(Reason.ALIAS_NOT_FOUND, f"Waiting: there is no {where}; {has}.")
    if found.version is None:
        newest = found.newest
        said = (
            f"; newest is {newest.metadata.name} ({newest.status.phase or 'Pending'})"
            if newest is not None
            else "; the Model has no versions"
        )
        return Missing(Reason.ALIAS_EMPTY, f"Waiting: {where} points to no version yet{said}.")
    return None


def in_words(value: Any) -> str:
    """A parameter as one line: maps as name value pairs, lists with commas."""
    if isinstance(value, Mapping):
        return " ".join(f"{name} {in_words(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ",".join(in_words(item) for item in value)
    return str(value)
