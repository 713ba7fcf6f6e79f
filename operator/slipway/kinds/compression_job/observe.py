"""Reads a job, what it compresses and measures on, its attempts and the version of its name."""

from collections.abc import Iterable

from slipway import api
from slipway.api.meta import ModelRef, ObjectRef
from slipway.cache import Objects, View
from slipway.contract.config import CompressTask
from slipway.decision import Key
from slipway.kinds import attempts, lookup, versions
from slipway.kinds.attempts import Attempt
from slipway.kinds.compression_job import inputs
from slipway.kinds.compression_job.decide import World
from slipway.kinds.compression_job.inputs import Inputs
from slipway.kinds.datasets import Missing

MAKERS = ("TrainingRun", "CompressionJob")


def observe(view: View, key: Key) -> World | None:
    job = lookup.read(view.objects, api.CompressionJob, key.namespace, key.name)
    if job is None:
        return None
    tried = attempts.of(view.objects, job.metadata.uid)
    return World(
        now=view.now,
        job=job,
        inputs=_taken(tried) or _resolved(view.objects, job),
        attempts=tried,
        version=lookup.other(view.objects, api.ModelVersion, key.namespace, key.name),
        progress=view.progress.get(job.metadata.uid),
        platform=view.platform,
    )


def references(job: api.CompressionJob) -> Iterable[Key]:
    """What it compresses and measures on, and the version of its name: someone else's may stand in its way."""
    namespace, spec, status = job.metadata.namespace, job.spec, job.status
    yield Key("ModelVersion", namespace, job.metadata.name)
    if spec.model_version_ref is not None:
        for kind in ("ModelVersion", *MAKERS):
            yield Key(kind, namespace, spec.model_version_ref.name)
    if spec.model_ref is not None:
        # Its versions are of no interest until the alias points to one, and then the Model changes.
        yield Key("Model", namespace, spec.model_ref.name)
    if spec.dataset_ref is not None:
        yield Key("Dataset", namespace, spec.dataset_ref.name)
    if status.inputs is not None and status.inputs.model_version is not None:
        yield Key("ModelVersion", namespace, status.inputs.model_version.name)


def _taken(tried: tuple[Attempt, ...]) -> Inputs | None:
    """What the first attempt was given, as its orders say."""
    for attempt in tried:
        task = attempt.config.task if attempt.config is not None else None
        if isinstance(task, CompressTask):
            return Inputs(task.source, task.source_uri, task.dataset)
    return None


def _resolved(objects: Objects, job: api.CompressionJob) -> Inputs | Missing:
    """What status says was taken, else what the references mean now."""
    source = _source(objects, job)
    if isinstance(source, Missing):
        return source
    namespace = job.metadata.namespace
    name = inputs.dataset_name(job, source)
    dataset = lookup.other(objects, api.Dataset, namespace, name) if name is not None else None
    return inputs.resolve(job, source, dataset, lookup.names(objects, api.Dataset, namespace))


def _source(objects: Objects, job: api.CompressionJob) -> api.ModelVersion | Missing:
    namespace, spec, taken = job.metadata.namespace, job.spec, job.status.inputs
    if taken is not None and taken.model_version is not None:
        # An alias may have moved since; the job stays with what it started from.
        reference = ObjectRef(name=taken.model_version.name)
        return versions.resolve(reference, None, _by_name(objects, namespace, reference.name))
    if spec.model_ref is None:
        name = spec.model_version_ref.name if spec.model_version_ref is not None else ""
        return versions.resolve(spec.model_version_ref, None, _by_name(objects, namespace, name))
    return versions.resolve(None, spec.model_ref, by_alias(objects, namespace, spec.model_ref))


def _by_name(objects: Objects, namespace: str, name: str) -> versions.Candidates:
    found = lookup.other(objects, api.ModelVersion, namespace, name)
    names = lookup.names(objects, api.ModelVersion, namespace)
    return versions.Candidates(found, names=names, maker=_maker(objects, namespace, name))


def by_alias(objects: Objects, namespace: str, reference: ModelRef) -> versions.Candidates:
    model = lookup.other(objects, api.Model, namespace, reference.name)
    if model is None:
        return versions.Candidates(None, names=lookup.names(objects, api.Model, namespace))
    name = versions.alias_target(model, reference.alias)
    version = lookup.other(objects, api.ModelVersion, namespace, name) if name is not None else None
    newest = None if version is not None else _newest(objects, namespace, reference.name)
    return versions.Candidates(version, model=model, newest=newest)


def _maker(objects: Objects, namespace: str, name: str) -> str | None:
    """A version has the name of what makes it."""
    for kind in MAKERS:
        manifest = objects.get(kind, namespace, name)
        if manifest is not None:
            return f"{kind} {name} ({(manifest.get('status') or {}).get('phase') or 'Pending'})"
    return None


def _newest(objects: Objects, namespace: str, model: str) -> api.ModelVersion | None:
    own = [
        manifest
        for manifest in objects.list("ModelVersion", namespace)
        if (manifest["spec"].get("modelRef") or {}).get("name") == model
    ]
    if not own:
        return None
    newest = max(own, key=lambda m: (m["metadata"]["creationTimestamp"], m["metadata"]["name"]))
    return lookup.other(objects, api.ModelVersion, namespace, newest["metadata"]["name"])
