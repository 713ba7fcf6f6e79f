"""What is measured of a dataset: figures for its checks, and the profile that drift is later compared with."""

import hashlib
from collections import defaultdict
from typing import Any

import numpy as np

from slipway.contract.config import Schema
from slipway.contract.report import InputProfile
from slipway_jobs.figures import Figure, Figures, round_to
from slipway_jobs.formats import Rows
from slipway_jobs.statistics import wilson

BINS = 32


def figures(splits: dict[str, Rows], schema: Schema) -> Figures:
    """rows, missing_rate, class_share, leakage_rate, duplicate_rate, label_conflicts."""
    measured = Figures()
    rows = sum(len(part) for part in splits.values())
    measured.whole["rows"] = Figure(rows)
    measured.whole["missing_rate"] = Figure(
        sum(_missing(part) for part in splits.values()) / max(rows, 1), samples=rows
    )
    targets = np.concatenate([part.targets for part in splits.values()])
    counts = np.bincount(targets, minlength=len(schema.classes or []))
    measured.classes["class_share"] = {
        name: Figure(int(counts[number]) / max(rows, 1), rows)
        for number, name in enumerate(schema.classes or [])
    }
    _by_content(splits, measured)
    return measured


def _by_content(splits: dict[str, Rows], measured: Figures) -> None:
    """Rows met twice, rows of held-out parts that train has, equal inputs with unlike labels."""
    train: set[bytes] = set()
    labels: dict[bytes, set[int]] = defaultdict(set)
    rows = repeated = leaked = held_out = 0
    for name, part in splits.items():  # train comes first
        for row, target in zip(part.inputs, part.targets, strict=True):
            key = hashlib.blake2b(row.tobytes(), digest_size=16).digest()
            rows += 1
            repeated += key in labels
            labels[key].add(int(target))
            if name == "train":
                train.add(key)
            else:
                held_out += 1
                leaked += key in train
    conflicts = sum(len(seen) > 1 for seen in labels.values())
    measured.whole["leakage_rate"] = Figure(
        leaked / max(held_out, 1), held_out, lambda c: wilson(leaked, held_out, c)
    )
    measured.whole["duplicate_rate"] = Figure(
        repeated / max(rows, 1), rows, lambda c: wilson(repeated, rows, c)
    )
    measured.whole["label_conflicts"] = Figure(conflicts, rows)


def _missing(part: Rows) -> int:
    """Rows with a value that isn't a number; integers have none."""
    if not np.issubdtype(part.inputs.dtype, np.floating):
        return 0
    bad = ~np.isfinite(part.inputs.reshape(len(part), -1))
    return int(bad.any(axis=1).sum())


def profile(splits: dict[str, Rows], schema: Schema) -> tuple[list[InputProfile], dict[str, Any]]:
    """The summary for status, and the whole profile with histograms, both of train."""
    train = splits["train"]
    tensor = schema.inputs[0]
    missing = _missing(train) / max(len(train), 1)
    # In slices: a copy of all rows as float64 would take 8 times their memory.
    total = square = 0.0
    count = 0
    low, high = np.inf, -np.inf
    for start in range(0, len(train), 4096):
        values = train.inputs[start : start + 4096].astype(np.float64).ravel()
        values = values[np.isfinite(values)]
        total, square, count = total + values.sum(), square + np.square(values).sum(), count + values.size
        if values.size:
            low, high = min(low, values.min()), max(high, values.max())
    mean = total / max(count, 1)
    std = float(np.sqrt(max(square / max(count, 1) - mean * mean, 0.0)))
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    histogram = np.zeros(BINS, np.int64)
    means = []
    for start in range(0, len(train), 4096):
        part = train.inputs[start : start + 4096].astype(np.float64).reshape(-1, train.inputs[0].size)
        histogram += np.histogram(part[np.isfinite(part)], edges)[0]
        means.append(np.nanmean(part, axis=1))
    row_means = np.concatenate(means)
    summary = InputProfile(
        name=tensor.name,
        min=round_to(float(low)),
        max=round_to(float(high)),
        mean=round_to(float(mean)),
        std=round_to(std),
        missing_rate=missing,
    )
    counts = {
        name: np.bincount(part.targets, minlength=len(schema.classes or [])) for name, part in splits.items()
    }
    row_counts, row_edges = np.histogram(row_means, BINS)
    document = {
        "split": "train",
        "rows": len(train),
        "inputs": [
            {
                **summary.model_dump(),
                "histogram": {"edges": edges.tolist(), "counts": histogram.tolist()},
                # One figure per row: what a window of traffic can be compared with row by row.
                "row_mean": {"edges": row_edges.tolist(), "counts": row_counts.tolist()},
            }
        ],
        "target": {
            "classes": schema.classes,
            "counts": {name: values.tolist() for name, values in counts.items()},
        },
    }
    return [summary], document
