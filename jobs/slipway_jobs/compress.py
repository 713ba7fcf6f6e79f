"""Task compress: run the passes in order, and measure what comes out against the source in the same run."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipway.contract.base import Gate
from slipway.contract.config import CompressTask, JobConfig, Pass
from slipway.contract.examples import FILE as EXAMPLES
from slipway.contract.examples import ExampleSet
from slipway.contract.report import CompressReport, ExitCode, Progress, Variant
from slipway_jobs import dataset, evaluate, inference, measure, quantize, report, samples, statistics
from slipway_jobs.dataset import Prepared
from slipway_jobs.failure import Failure, InvalidConfig
from slipway_jobs.figures import Figure, Figures, round_to
from slipway_jobs.formats import Rows
from slipway_jobs.measure import Comparison
from slipway_jobs.model_files import MODEL, fetch_model, publish
from slipway_jobs.progress import Reporter
from slipway_jobs.store import Store, join

REPORT = "compression.json"
NOISE_LIMITS = {
    "speedup": 3.0,
    "cpu_ms": 3.0,
    "throughput_per_s": 3.0,
    "latency_p50_ms": 1.5,
    "latency_p99_ms": 1.5,
}
"""Noise up to which a gate on a figure can be judged: CPU time bears far more of it than the wall clock."""


@dataclass(frozen=True)
class Measured:
    """A variant against the source."""

    figures: Figures
    document: dict[str, Any]
    comparisons: dict[int, Comparison]
    """By batch size."""


def run(config: JobConfig, task: CompressTask, store: Store) -> CompressReport:
    if task.device != "CPU":
        raise InvalidConfig(f"target.device is {task.device}; measuring is built for CPU.")
    reporter = Reporter(task.progress, config.owner)
    try:
        with tempfile.TemporaryDirectory() as temporary:
            return _run(config, task, store, Path(temporary), reporter)
    finally:
        reporter.close()


def _run(
    config: JobConfig, task: CompressTask, store: Store, folder: Path, reporter: Reporter
) -> CompressReport:
    data = dataset.load(task.dataset, store, folder / "dataset")
    source = fetch_model(store, task.source_uri, task.source, folder / "source")
    rows = data.rows(task.evaluation_split)
    total = len(task.passes) + 1
    reporter.update(Progress(percent=0, step=0, total_steps=total, attempt=config.attempt))
    baseline = evaluate.predict(inference.session(source), rows, data.classes)
    current, variants, last = source, [], None
    for number, told in enumerate(task.passes):
        made = folder / f"{number}-{told.name}.onnx"
        notes = _apply(told, current, data, made)
        print(f"compress: {told.name}: {'; '.join(notes)}", flush=True)
        last = _measure(source, made, baseline, rows, data, task)
        _check_noise(last.comparisons[task.batch_sizes[0]], task.gates)
        variants.append(Variant(name=told.name, metrics=last.figures.metrics(), notes=notes))
        current = made
        reporter.update(
            Progress(
                percent=100 * (number + 1) // total,
                step=number + 1,
                total_steps=total,
                metrics=last.figures.metrics(),
                attempt=config.attempt,
            )
        )
    if last is None:
        raise InvalidConfig("passes is empty; name at least one.")
    first = last.comparisons[task.batch_sizes[0]]
    variants.insert(0, _baseline(source, baseline, rows, data, last.comparisons))
    output = _output(folder, current, source, last.document, variants, task)
    artifact = publish(output, store, task.output_uri)
    uri = store.resolve(join(task.output_uri, REPORT))
    result = CompressReport(
        outcome="Succeeded",
        attempt=config.attempt,
        artifact=artifact,
        evaluation=evaluate.summary(last.figures, task.evaluation_split, len(rows), uri),
        variants=variants,
        measured_on=measure.measured_on(task.threads, first.noise),
        runs=first.runs,
        measurements=last.figures.measurements(task.gates),
        report_uri=uri,
    )
    report.keep(result, store, task.output_uri, config)
    return result


def _apply(told: Pass, source: Path, data: Prepared, target: Path) -> list[str]:
    if told.static_quantize is None:
        raise InvalidConfig(f"passes: {told.name} says no pass; allowed is staticQuantize.")
    return quantize.static(source, told.static_quantize, data, target)


def _measure(
    source: Path,
    made: Path,
    baseline: NDArray[np.float32],
    rows: Rows,
    data: Prepared,
    task: CompressTask,
) -> Measured:
    logits = evaluate.predict(inference.session(made), rows, data.classes)
    targets = np.asarray(rows.targets)
    figures, document = evaluate.measure(logits, targets, data.classes)
    was, now = baseline.argmax(axis=1), logits.argmax(axis=1)
    _add_paired(figures, was == targets, now == targets)
    same, total = int((was == now).sum()), len(targets)
    figures.whole["agreement"] = Figure(same / total, total, lambda c: statistics.wilson(same, total, c))
    comparisons = {
        size: measure.compare(source, made, np.ascontiguousarray(rows.inputs[:size]), task.threads)
        for size in task.batch_sizes
    }
    first = comparisons[task.batch_sizes[0]]
    figures.whole["speedup"] = Figure(first.speedup()[0], first.runs, lambda c: first.speedup(c)[1:])
    for name, value in first.second.metrics(task.batch_sizes[0]).items():
        figures.whole[name] = Figure(value, first.runs)
    figures.whole["size_bytes"] = Figure(made.stat().st_size)
    figures.whole["size_ratio"] = Figure(source.stat().st_size / made.stat().st_size)
    document["latency"] = {str(size): _timings(found, size) for size, found in comparisons.items()}
    return Measured(figures, document, comparisons)


def _add_paired(figures: Figures, was: NDArray[np.bool_], now: NDArray[np.bool_]) -> None:
    """accuracy_drop: source minus variant on the same rows."""
    both, lost = int((was & now).sum()), int((was & ~now).sum())
    won, neither = int((~was & now).sum()), int((~was & ~now).sum())
    total = len(was)
    figures.whole["accuracy_drop"] = Figure(
        (lost - won) / total, total, lambda c: statistics.paired_difference(both, lost, won, neither, c)
    )


def _check_noise(found: Comparison, gates: list[Gate]) -> None:
    """A figure that a gate needs and that this node is too busy to give ends the job; it never counts as passed."""
    for gate in gates:
        if found.noise > NOISE_LIMITS.get(gate.metric, found.noise):
            raise Failure(
                "Inconclusive",
                f"Node too busy to compare {gate.metric} (wall/CPU {found.noise:.1f}, {found.tries} tries). "
                "Run it where CPUs are free.",
                ExitCode.INCONCLUSIVE,
            )


def _baseline(
    source: Path, logits: NDArray[np.float32], rows: Rows, data: Prepared, comparisons: dict[int, Comparison]
) -> Variant:
    figures, _ = evaluate.measure(logits, np.asarray(rows.targets), data.classes)
    size, first = next(iter(comparisons.items()))
    timed = {name: round_to(value) for name, value in first.first.metrics(size).items()}
    metrics = {**figures.metrics(), **timed, "size_bytes": float(source.stat().st_size)}
    return Variant(name="baseline", metrics=metrics)


def _timings(found: Comparison, size: int) -> dict[str, Any]:
    estimate, lower, upper = found.speedup()
    return {
        "baseline": {name: round_to(value) for name, value in found.first.metrics(size).items()},
        "variant": {name: round_to(value) for name, value in found.second.metrics(size).items()},
        "speedup": {"value": round_to(estimate), "lower": round_to(lower), "upper": round_to(upper)},
        "runs": found.runs,
        "noise": round_to(found.noise, 3),
        "tries": found.tries,
    }


def _output(
    folder: Path,
    made: Path,
    source: Path,
    document: dict[str, Any],
    variants: list[Variant],
    task: CompressTask,
) -> Path:
    """The version's folder: the model, the source's examples with this model's answers, the report."""
    output = folder / "output"
    output.mkdir()
    made.rename(output / MODEL)
    running = inference.session(output / MODEL)
    signature = inference.signature(inference.read(output / MODEL))
    kept = source.parent / EXAMPLES
    examples = (
        samples.again(running, ExampleSet.model_validate_json(kept.read_bytes()), signature)
        if kept.is_file()
        else samples.of_signature(running, signature)
    )
    samples.save(examples, output)
    document |= {
        "split": task.evaluation_split,
        "variants": [variant.model_dump(mode="json") for variant in variants],
        "passes": [told.model_dump(mode="json", by_alias=True, exclude_none=True) for told in task.passes],
    }
    (output / REPORT).write_text(json.dumps(document))
    return output
