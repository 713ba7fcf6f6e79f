"""Evaluation: figures of a classifier with their intervals, and the task that measures a version again."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipway.contract.config import EvaluateTask, JobConfig
from slipway.contract.report import EvaluateReport, Evaluation, ExitCode
from slipway_jobs import dataset, inference, report, statistics
from slipway_jobs.failure import Failure, InvalidConfig
from slipway_jobs.figures import Figure, Figures, round_to
from slipway_jobs.formats import Rows
from slipway_jobs.model_files import fetch_model
from slipway_jobs.store import Store, join

REPORT = "evaluation.json"


def run(config: JobConfig, task: EvaluateTask, store: Store) -> EvaluateReport:
    with tempfile.TemporaryDirectory() as temporary:
        prepared = dataset.load(task.dataset, store, Path(temporary, "dataset"))
        model = fetch_model(store, task.model_uri, task.model, Path(temporary, "model"))
        rows = prepared.rows(task.split)
        logits = predict(inference.session(model), rows, prepared.classes)
    figures, document = measure(logits, rows.targets, prepared.classes)
    document["split"] = task.split
    uri = join(task.output_uri, REPORT)
    store.write(uri, json.dumps(document).encode())
    result = EvaluateReport(
        outcome="Succeeded",
        attempt=config.attempt,
        evaluation=summary(figures, task.split, len(rows), store.resolve(uri)),
        measurements=figures.measurements(task.gates),
    )
    report.keep(result, store, task.output_uri, config)
    return result


def predict(running: Any, rows: Rows, classes: list[str]) -> NDArray[np.float32]:
    """Logits of every row, checked to be what the dataset's classes need."""
    given = running.get_inputs()[0]
    if len(running.get_inputs()) != 1 or list(given.shape[1:]) != list(rows.inputs.shape[1:]):
        raise Failure(
            "SignatureMismatch",
            f"The model takes {given.name} {given.shape}, the dataset has rows of {list(rows.inputs.shape[1:])}.",
            ExitCode.USER_ERROR,
        )
    logits = inference.predict(running, rows.inputs)
    if logits.ndim != 2 or logits.shape[1] != len(classes):
        raise Failure(
            "SignatureMismatch",
            f"The model gives {list(logits.shape[1:])} per row, the dataset has {len(classes)} classes.",
            ExitCode.USER_ERROR,
        )
    if not np.isfinite(logits).all():
        raise Failure(
            "NotFinite", "The model gives NaN or infinity on the evaluation split.", ExitCode.USER_ERROR
        )
    return logits


def measure(
    logits: NDArray[np.float32], targets: NDArray[np.int64], classes: list[str]
) -> tuple[Figures, dict[str, Any]]:
    """Figures for gates, and the whole for evaluation.json."""
    if not len(targets):
        raise InvalidConfig("The evaluation split has no rows.")
    decided = logits.argmax(axis=1)
    count = len(classes)
    matrix = np.bincount(targets * count + decided, minlength=count * count).reshape(count, count)
    figures = Figures()
    hits, total = int(np.trace(matrix)), len(targets)
    figures.whole["accuracy"] = Figure(hits / total, total, lambda c: statistics.wilson(hits, total, c))
    for name in ("precision", "recall", "f1"):
        figures.classes[name] = {
            label: _of_class(name, matrix, number) for number, label in enumerate(classes)
        }
        figures.whole[f"{name}_macro"] = _macro(name, matrix)
    document = {
        "samples": total,
        "metrics": figures.metrics(),
        "intervals": {name: _interval(figure) for name, figure in figures.whole.items()},
        "classes": {
            label: {
                name: {
                    "value": round_to(figures.classes[name][label].value),
                    **_bounds(figures.classes[name][label]),
                }
                for name in ("precision", "recall", "f1")
            }
            for label in classes
        },
        "confusion": {
            "rows": "recorded",
            "columns": "decided",
            "classes": classes,
            "counts": matrix.tolist(),
        },
    }
    return figures, document


def summary(figures: Figures, split: str, samples: int, uri: str) -> Evaluation:
    return Evaluation(split=split, samples=samples, metrics=figures.metrics(), report_uri=uri)


def _of_class(name: str, matrix: NDArray[np.int64], number: int) -> Figure:
    true = int(matrix[number, number])
    decided, recorded = int(matrix[:, number].sum()), int(matrix[number].sum())
    if name == "precision":
        return Figure(true / max(decided, 1), decided, lambda c: statistics.wilson(true, decided, c))
    if name == "recall":
        return Figure(true / max(recorded, 1), recorded, lambda c: statistics.wilson(true, recorded, c))
    wrong, missed = decided - true, recorded - true
    value = 2 * true / max(2 * true + wrong + missed, 1)
    return Figure(value, recorded, lambda c: statistics.f1(true, wrong, missed, c))


def _macro(name: str, matrix: NDArray[np.int64]) -> Figure:
    """Unweighted mean over the classes; its interval by resampling the confusion matrix."""
    total = int(matrix.sum())

    def interval(confidence: float) -> tuple[float, float]:
        rng = np.random.default_rng(0)
        draws = rng.multinomial(total, matrix.ravel() / total, statistics.RESAMPLES)
        values = _macro_of(name, draws.reshape(-1, *matrix.shape))
        low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)

    return Figure(float(_macro_of(name, matrix[None])[0]), total, interval)


def _macro_of(name: str, matrices: NDArray[np.int64]) -> NDArray[np.float64]:
    true = np.diagonal(matrices, axis1=1, axis2=2)
    decided, recorded = matrices.sum(axis=1), matrices.sum(axis=2)
    below = {"precision": decided, "recall": recorded, "f1": (decided + recorded) / 2}[name]
    values: NDArray[np.float64] = (true / np.maximum(below, 1)).mean(axis=1)
    return values


def _interval(figure: Figure) -> list[float]:
    return [round_to(value) for value in figure.interval(0.95)] if figure.interval else []


def _bounds(figure: Figure) -> dict[str, float]:
    low, high = _interval(figure)
    return {"lower": low, "upper": high}
