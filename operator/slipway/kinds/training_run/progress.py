"""What a pod pushes, as status tells it. Pure."""

from datetime import timedelta

from slipway import gates
from slipway.api.training_run import RunCheckpoint, RunProgress
from slipway.api.units import duration
from slipway.contract.report import Progress

EVERY = 15.0
"""Seconds between two writes of progress."""
MOST = 64
"""As many as a status takes; the progress port takes more."""


def as_status(told: Progress) -> RunProgress:
    return RunProgress(
        percent=told.percent,
        step=told.step,
        total_steps=told.total_steps,
        remaining=duration(round(told.remaining_seconds)) if told.remaining_seconds is not None else None,
        metrics=dict(list(told.metrics.items())[:MOST]),
        last_update_time=told.time,
    )


def checkpoint(told: Progress) -> RunCheckpoint | None:
    return RunCheckpoint.model_validate(told.checkpoint.model_dump()) if told.checkpoint is not None else None


def seconds_between(known: RunProgress, told: Progress) -> float | None:
    new = as_status(told).last_update_time
    if known.last_update_time is None or new is None:
        return None
    return (new - known.last_update_time) / timedelta(seconds=1)


def step(told: Progress) -> str:
    if told.step is None:
        return "Training."
    return (
        f"Step {told.step} of {told.total_steps}." if told.total_steps is not None else f"Step {told.step}."
    )


def sentence(told: Progress) -> str:
    """Epoch 2 of 2, 61 %, about 22s left; validation accuracy 0.8871."""
    parts = []
    if told.epoch is not None:
        parts.append(
            f"Epoch {told.epoch} of {told.epochs}" if told.epochs is not None else f"Epoch {told.epoch}"
        )
    if told.percent is not None:
        parts.append(f"{told.percent} %")
    if told.remaining_seconds is not None:
        parts.append(f"about {duration(round(told.remaining_seconds))} left")
    figure = told.metrics.get("validation_accuracy")
    shown = f"; validation accuracy {gates.figure('accuracy', figure)}" if figure is not None else ""
    return f"{', '.join(parts) or 'Training'}{shown}."


def result(told: Progress) -> str | None:
    figure = told.metrics.get("validation_accuracy")
    return f"accuracy {gates.figure('accuracy', figure)}" if figure is not None else None
