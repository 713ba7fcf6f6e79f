"""Progress on the wire: path and body of Kubeflow Trainer's status server (its KEP-2779), ours beside it.

    POST <url>/apis/trainer.kubeflow.org/v1alpha1/namespaces/<ns>/trainjobs/<name>/status
    {"trainerStatus": {"progressPercentage": 61, "estimatedRemainingSeconds": 22,
                       "metrics": [{"name": "train_loss", "value": "0.3412"}], "lastUpdatedTime": "..."},
     "slipway": {"attempt": 1, "step": 258, "totalSteps": 422, "checkpoint": {...}}}

A client of Kubeflow's (the Hugging Face callback) sends `trainerStatus` alone and is understood; their server
ignores `slipway`. <name> is that of the owner (TrainingRun, CompressionJob); its kind follows from the pod.
"""

import json
import math
import re
from datetime import datetime

from pydantic import ValidationError

from slipway.contract.base import Contract
from slipway.contract.report import Checkpoint, Progress

MAX_BODY = 64 * 1024
"""Bytes of a body that is read, as in Kubeflow's server."""
MAX_METRICS = 256
MAX_TEXT = 64
"""Characters of a metric's name and of its value."""
_PATH = re.compile(
    r"/apis/trainer\.kubeflow\.org/v1alpha1/namespaces/(?P<namespace>[a-z0-9-]{1,63})"
    r"/trainjobs/(?P<name>[a-z0-9-]{1,63})/status"
)


class _Metric(Contract):
    name: str
    value: str


class _TrainerStatus(Contract):
    progress_percentage: int | None = None
    estimated_remaining_seconds: float | None = None
    metrics: list[_Metric] = []
    last_updated_time: str | None = None


class _Extension(Contract):
    attempt: int = 1
    step: int | None = None
    total_steps: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    checkpoint: Checkpoint | None = None


class _Body(Contract):
    trainer_status: _TrainerStatus
    slipway: _Extension = _Extension()


def path(namespace: str, name: str) -> str:
    """Where the progress of an object is posted."""
    return f"/apis/trainer.kubeflow.org/v1alpha1/namespaces/{namespace}/trainjobs/{name}/status"


def parse_path(text: str) -> tuple[str, str] | None:
    """(namespace, name), or None for any other path."""
    match = _PATH.fullmatch(text)
    return (match["namespace"], match["name"]) if match else None


def encode(progress: Progress) -> bytes:
    """The body of a push."""
    # Non-finite figures are left out: JSON has none, and a diverging loss must not stop progress.
    metrics = {name: value for name, value in progress.metrics.items() if math.isfinite(value)}
    body = _Body(
        trainer_status=_TrainerStatus(
            progress_percentage=progress.percent,
            estimated_remaining_seconds=progress.remaining_seconds and round(progress.remaining_seconds),
            metrics=[_Metric(name=name, value=f"{value:.6g}") for name, value in metrics.items()],
            last_updated_time=progress.time,
        ),
        slipway=_Extension(
            attempt=progress.attempt,
            step=progress.step,
            total_steps=progress.total_steps,
            epoch=progress.epoch,
            epochs=progress.epochs,
            checkpoint=progress.checkpoint,
        ),
    )
    return body.to_json().encode()


def decode(raw: bytes, received: datetime) -> Progress:
    """The progress in a body; `received` becomes its time. ValueError with a sentence if it can't be read."""
    if len(raw) > MAX_BODY:
        raise ValueError(f"progress of {len(raw)} bytes; at most {MAX_BODY} are read")
    try:
        body = _Body.model_validate(json.loads(raw))
    except (ValidationError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"progress can't be read: {str(error)[:300]}") from error
    told = body.trainer_status
    percent = told.progress_percentage
    if percent is not None and not 0 <= percent <= 100:
        raise ValueError(f"progressPercentage is {percent}; it is from 0 to 100")
    return Progress(
        percent=percent,
        step=body.slipway.step,
        total_steps=body.slipway.total_steps,
        epoch=body.slipway.epoch,
        epochs=body.slipway.epochs,
        remaining_seconds=told.estimated_remaining_seconds,
        metrics=_numbers(told.metrics),
        checkpoint=body.slipway.checkpoint,
        attempt=body.slipway.attempt,
        time=received.isoformat(timespec="seconds").replace("+00:00", "Z"),
    )


def _numbers(metrics: list[_Metric]) -> dict[str, float]:
    """Metrics that are numbers; Kubeflow allows any text as a value, a status figure has to be a number."""
    if len(metrics) > MAX_METRICS:
        raise ValueError(f"{len(metrics)} metrics; at most {MAX_METRICS} are taken")
    numbers = {}
    for metric in metrics:
        if len(metric.name) > MAX_TEXT or len(metric.value) > MAX_TEXT:
            raise ValueError(f"metric {metric.name[:MAX_TEXT]}: name or value is over {MAX_TEXT} characters")
        try:
            value = float(metric.value)
        except ValueError:
            continue
        if math.isfinite(value):
            numbers[metric.name] = value
    return numbers
