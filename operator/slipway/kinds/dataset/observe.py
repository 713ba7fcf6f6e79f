"""Reads a Dataset and the Jobs that prepared it."""

from collections.abc import Iterable

from slipway import api
from slipway.cache import View
from slipway.decision import Key
from slipway.kinds import attempts, lookup
from slipway.kinds.dataset import objects
from slipway.kinds.dataset.decide import World


def observe(view: View, key: Key) -> World | None:
    dataset = lookup.read(view.objects, api.Dataset, key.namespace, key.name)
    if dataset is None:
        return None
    every = attempts.of(view.objects, dataset.metadata.uid)
    mine = {objects.job_name(dataset, attempt.number) for attempt in every}
    return World(
        now=view.now,
        dataset=dataset,
        attempts=tuple(attempt for attempt in every if attempt.job.name in mine),
        older=tuple(attempt for attempt in every if attempt.job.name not in mine),
        image=view.platform.jobs_image,
    )


def references(dataset: api.Dataset) -> Iterable[Key]:
    """None: a Dataset waits for nothing of ours."""
    return ()
