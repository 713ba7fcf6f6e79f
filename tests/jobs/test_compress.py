import json
from typing import Any

import numpy as np
import pytest

from slipway.contract.base import Gate
from slipway.contract.examples import ExampleSet
from slipway.contract.report import ExitCode
from slipway_jobs import compress, measure
from slipway_jobs.failure import Failure
from slipway_jobs.measure import Comparison, Timing

pytestmark = pytest.mark.slow


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "SECONDS", 0.2)
    monkeypatch.setattr(measure, "RUNS", 300)
    monkeypatch.setattr(compress, "NOISE_LIMITS", {})  # the machine of the tests is as busy as it is


def task(tasks: Any, dataset: dict[str, Any], made: Any, **changes: Any) -> dict[str, Any]:
    return {
        "task": "compress",
        "source": {"name": "tiny", "digest": made.artifact.digest},
        "sourceUri": made.artifact.storage_uri,
        "dataset": dataset,
        "passes": [
            {
                "name": "int8",
                "staticQuantize": {"calibration": {"samples": 96, **changes.pop("calibration", {})}},
            }
        ],
        "batchSizes": [1, 8],
        "gates": [
            {"metric": m, "max": 2} for m in ("accuracy_drop", "agreement", "speedup", "size_bytes", "cpu_ms")
        ],
        "outputUri": "store://models/tiny-int8/",
        **changes,
    }


@pytest.mark.parametrize("method", ["MinMax", "Percentile"])
def test_an_int8_version_keeps_the_answers(tasks: Any, quick: None, method: str) -> None:
    dataset = tasks.prepare()
    made = tasks.run(tasks.train_task(dataset, model={"resnet": {"width": 8, "blocks": [1, 1]}}))
    small = tasks.run(task(tasks, dataset, made, calibration={"method": method}))
    baseline, int8 = small.variants
    assert baseline.metrics["accuracy"] == made.evaluation.metrics["accuracy"]
    drop = next(m for m in small.measurements if m.metric == "accuracy_drop")
    assert drop.value == pytest.approx(baseline.metrics["accuracy"] - int8.metrics["accuracy"], abs=1e-6)
    assert drop.lower <= drop.value <= drop.upper
    assert int8.metrics["agreement"] > 0.9
    assert int8.metrics["size_bytes"] < baseline.metrics["size_bytes"]
    assert any("Conv fused" in note for note in int8.notes)
    assert all(m.value is not None for m in small.measurements)
    assert small.artifact.signature == made.artifact.signature
    report = json.loads(tasks.store.read(small.report_uri))
    assert sorted(report["latency"]) == ["1", "8"]


def test_examples_keep_their_inputs_and_get_the_variants_answers(tasks: Any, quick: None) -> None:
    dataset = tasks.prepare()
    made = tasks.run(tasks.train_task(dataset))
    small = tasks.run(task(tasks, dataset, made))
    was, now = (
        ExampleSet.model_validate_json(tasks.store.read(of.artifact.examples.storage_uri))
        for of in (made, small)
    )
    assert [e.inputs for e in was.examples] == [e.inputs for e in now.examples]
    assert [e.outputs for e in was.examples] != [e.outputs for e in now.examples]


def found(noise: float) -> Comparison:
    timing = Timing(np.ones(2), np.ones(2))
    return Comparison(timing, timing, noise, 3)


def test_a_busy_node_gives_no_verdict_on_what_it_disturbs() -> None:
    latency, speedup, size = (
        Gate(metric=name, max=1) for name in ("latency_p99_ms", "speedup", "size_bytes")
    )
    compress._check_noise(found(1.2), [latency, speedup, size])
    compress._check_noise(found(2.5), [speedup, size])
    with pytest.raises(Failure) as failure:
        compress._check_noise(found(1.6), [speedup, latency])
    assert failure.value.message == (
        "Node too busy to compare latency_p99_ms (wall/CPU 1.6, 3 tries). Run it where CPUs are free."
    )
    assert (failure.value.reason, failure.value.exit_code) == ("Inconclusive", ExitCode.INCONCLUSIVE)


def test_the_machine_is_named() -> None:
    told = measure.measured_on(1, 1.0123)
    assert told.cpu_model
    assert told.runtime.startswith("onnxruntime 1.")
    assert told.noise == 1.012
