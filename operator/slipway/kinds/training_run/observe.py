"""Reads a run, what it trains on, its attempts and the version of its name."""

from collections.abc import Iterable

from slipway import api
from slipway.cache import View
from slipway.contract.config import DatasetInput, TrainTask
from slipway.decision import Key
from slipway.kinds import attempts, datasets, lookup
from slipway.kinds.attempts import Attempt
from slipway.kinds.datasets import Missing
from slipway.kinds.training_run.decide import World


def observe(view: View, key: Key) -> World | None:
    run = lookup.read(view.objects, api.TrainingRun, key.namespace, key.name)
    if run is None:
        return None
    tried = attempts.of(view.objects, run.metadata.uid)
    return World(
        now=view.now,
        run=run,
        dataset=_dataset(view, run, tried),
        attempts=tried,
        version=lookup.other(view.objects, api.ModelVersion, key.namespace, key.name),
        progress=view.progress.get(run.metadata.uid),
        platform=view.platform,
    )


def references(run: api.TrainingRun) -> Iterable[Key]:
    """Its Dataset, and the version of its name: someone else's may stand in its way."""
    namespace = run.metadata.namespace
    return [
        Key("Dataset", namespace, run.spec.dataset_ref.name),
        Key("ModelVersion", namespace, run.metadata.name),
    ]


def _dataset(view: View, run: api.TrainingRun, tried: tuple[Attempt, ...]) -> DatasetInput | Missing:
    """What the first attempt was given, as its orders or the status say; else what the reference means now."""
    for attempt in tried:
        if attempt.config is not None and isinstance(attempt.config.task, TrainTask):
            return attempt.config.task.dataset
    namespace = run.metadata.namespace
    found = lookup.other(view.objects, api.Dataset, namespace, run.spec.dataset_ref.name)
    inputs = run.status.inputs
    if (
        inputs is not None
        and inputs.dataset is not None
        and inputs.dataset.digest is not None
        and found is not None
    ):
        return datasets.pinned_input(found, inputs.dataset.digest)
    names = lookup.names(view.objects, api.Dataset, namespace)
    return datasets.resolve(run.spec.dataset_ref, found, names)
