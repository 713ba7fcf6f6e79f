from typing import Any

import numpy as np
import pytest

from slipway_jobs import evaluate
from slipway_jobs.failure import Failure

pytestmark = pytest.mark.slow


def measured() -> tuple[Any, Any]:
    """Recorded a a a a b b c c, decided a a a b b b c a."""
    targets = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    decided = np.array([0, 0, 0, 1, 1, 1, 2, 0])
    return evaluate.measure(np.eye(3, dtype=np.float32)[decided], targets, ["a", "b", "c"])


def test_figures_are_those_worked_out_by_hand() -> None:
    figures, document = measured()
    assert figures.metrics() == {
        "accuracy": 0.75,
        "precision_macro": pytest.approx((3 / 4 + 2 / 3 + 1) / 3, abs=1e-6),
        "recall_macro": pytest.approx((3 / 4 + 1 + 1 / 2) / 3, abs=1e-6),
        "f1_macro": pytest.approx((3 / 4 + 4 / 5 + 2 / 3) / 3, abs=1e-6),
    }
    assert document["confusion"]["counts"] == [[3, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert document["classes"]["c"]["recall"]["value"] == 0.5


def test_every_figure_lies_in_its_interval() -> None:
    figures, _ = measured()
    all_of_them = [*figures.whole.values(), *(f for of in figures.classes.values() for f in of.values())]
    for figure in all_of_them:
        low, high = figure.interval(0.95)
        assert low <= figure.value <= high


def test_a_version_is_measured_again_with_the_same_result(tasks: Any) -> None:
    dataset = tasks.prepare()
    made = tasks.run(tasks.train_task(dataset))
    again = tasks.run(
        {
            "task": "evaluate",
            "model": {"name": "tiny", "digest": made.artifact.digest},
            "modelUri": made.artifact.storage_uri,
            "dataset": dataset,
            "gates": [{"metric": "accuracy", "min": 0.5}],
            "outputUri": "store://evaluations/tiny/",
        }
    )
    assert again.evaluation.metrics == made.evaluation.metrics
    other = {"name": "tiny", "digest": "sha256:" + "0" * 64}
    with pytest.raises(Failure, match=r"tiny should be sha256:000000000000, .* it is not loaded"):
        tasks.run(
            {
                "task": "evaluate",
                "model": other,
                "modelUri": made.artifact.storage_uri,
                "dataset": dataset,
                "outputUri": "store://evaluations/tiny/",
            }
        )
