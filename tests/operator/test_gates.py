from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway import gates
from slipway.api.gates import Check, Gate, GateResult
from slipway.contract.base import Measurement


def gate(**fields: Any) -> Gate:
    return Gate.model_validate(fields)


def measured(**fields: Any) -> Measurement:
    return Measurement.model_validate(fields)


ACCURACY = gate(metric="accuracy", min=0.90)
RECALL = gate(**{"metric": "recall", "class": "*", "min": 0.50})
DROP = gate(metric="accuracy_drop", max=0.005, confidence=0.95)


def verdict(wanted: Gate, *found: Measurement) -> str:
    (row,) = gates.judge([wanted], found)
    return row.verdict


def test_a_row_is_the_gate_with_its_figures_and_verdict() -> None:
    found = measured(metric="accuracy", value=0.906, lower=0.9001, upper=0.9116, samples=10000)
    assert [row.dump() for row in gates.judge([ACCURACY], [found])] == [
        {
            "metric": "accuracy",
            "min": 0.9,
            "value": 0.906,
            "lower": 0.9001,
            "upper": 0.9116,
            "samples": 10000,
            "verdict": "Pass",
        }
    ]


def test_a_gate_for_each_class_reports_the_worst_that_was_measured() -> None:
    found = measured(**{"metric": "recall", "class": "Shirt", "value": 0.712, "samples": 1000})
    (row,) = gates.judge([RECALL], [found])
    assert (row.class_, row.value, row.verdict) == ("Shirt", 0.712, "Pass")


def test_measurements_are_taken_in_the_order_of_the_gates() -> None:
    strict = gate(**{"metric": "recall", "class": "*", "min": 0.50, "confidence": 0.99})
    found = [
        measured(**{"metric": "recall", "class": "Shirt", "value": 0.52, "lower": 0.51, "upper": 0.53}),
        measured(**{"metric": "recall", "class": "Shirt", "value": 0.52, "lower": 0.49, "upper": 0.55}),
    ]
    assert [row.verdict for row in gates.judge([RECALL, strict], found)] == ["Pass", "Fail"]


@pytest.mark.parametrize(
    ("value", "wanted"), [(0.90, "Pass"), (0.8999, "Fail"), (None, "NoData"), (float("nan"), "NoData")]
)
def test_without_confidence_the_estimate_is_judged(value: float | None, wanted: str) -> None:
    assert verdict(ACCURACY, measured(metric="accuracy", value=value, lower=0.0, upper=1.0)) == wanted


def test_with_confidence_the_bound_on_the_wrong_side_is_judged() -> None:
    assert verdict(DROP, measured(metric="accuracy_drop", value=0.003, lower=0.0, upper=0.005)) == "Pass"
    assert verdict(DROP, measured(metric="accuracy_drop", value=0.003, lower=0.0, upper=0.006)) == "Fail"
    low = gate(metric="accuracy", min=0.9, confidence=0.95)
    assert verdict(low, measured(metric="accuracy", value=0.91, lower=0.899, upper=0.92)) == "Fail"
    assert verdict(low, measured(metric="accuracy", value=0.91, lower=0.9, upper=0.92)) == "Pass"


def test_a_figure_without_an_interval_is_inconclusive_where_confidence_is_asked() -> None:
    small = gate(metric="size_bytes", max=1_000_000, confidence=0.95)
    assert verdict(small, measured(metric="size_bytes", value=343112)) == "Inconclusive"


def test_what_nobody_measured_is_no_data_and_holds_back() -> None:
    (row,) = gates.judge([ACCURACY], [measured(metric="f1_macro", value=1.0)])
    assert (row.verdict, gates.all_pass([row])) == ("NoData", False)


def test_both_bounds_must_hold() -> None:
    both = gate(metric="class_share", min=0.05, max=0.2)
    assert verdict(both, measured(metric="class_share", value=0.1)) == "Pass"
    assert verdict(both, measured(metric="class_share", value=0.3)) == "Fail"


def test_a_warning_tells_and_holds_nothing_back() -> None:
    check = Check(metric="leakage_rate", max=0, severity="Warning")
    rows = gates.judge([check], [measured(metric="leakage_rate", value=0.1)])
    assert (rows[0].verdict, rows[0].severity, gates.all_pass(rows)) == ("Fail", "Warning", True)
    assert gates.warnings(rows) == rows


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_pass_means_that_what_was_judged_holds_the_bound(
    bound: float, value: float, below: float, above: float
) -> None:
    wanted = gate(metric="accuracy", min=bound, confidence=0.95)
    lower = max(0.0, value - below)
    found = measured(metric="accuracy", value=value, lower=lower, upper=value + above)
    assert (verdict(wanted, found) == "Pass") == (lower >= bound)


# Words: those of api.md.


def row(**fields: Any) -> GateResult:
    return GateResult.model_validate(fields)


MISSED = row(
    metric="accuracy", min=0.9, value=0.8712, lower=0.8645, upper=0.8776, samples=10000, verdict="Fail"
)
PASSED = row(
    metric="accuracy", min=0.9, value=0.906, lower=0.9001, upper=0.9116, samples=10000, verdict="Pass"
)
SHIRT = row(
    **{"metric": "recall", "class": "Shirt", "min": 0.5, "value": 0.712, "samples": 1000, "verdict": "Pass"}
)


def test_a_missed_gate_is_explained_with_its_interval() -> None:
    assert (
        gates.explained(MISSED) == "accuracy 0.8712 is under 0.90 (interval 0.8645 to 0.8776, 10,000 samples)"
    )


def test_a_missed_gate_is_said_briefly_in_a_condition() -> None:
    assert gates.missed([PASSED, MISSED]) == "accuracy 0.8712, min 0.90."


def test_what_passed_is_told_with_the_bounds_and_the_worst_class() -> None:
    assert (
        gates.told([ACCURACY, RECALL], [PASSED, SHIRT])
        == "accuracy 0.9060 (min 0.90) and worst recall 0.712, Shirt (min 0.50), pass"
    )


def test_one_gate_passes_and_no_gates_say_nothing() -> None:
    assert gates.told([ACCURACY], [PASSED]) == "accuracy 0.9060 (min 0.90) passes"
    assert gates.told([], []) == ""


def test_gates_are_counted() -> None:
    assert gates.counted([PASSED, MISSED]) == "1 of 2 gates passed."
    assert gates.counted([PASSED], "check") == "1 of 1 check passed."


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            row(
                metric="accuracy_drop",
                max=0.005,
                confidence=0.95,
                value=0.003,
                lower=-0.0001,
                upper=0.0061,
                samples=10000,
                verdict="Fail",
            ),
            "accuracy_drop 0.0030 is not shown with confidence 0.95 to hold max 0.005: its upper bound 0.0061 is over"
            " it (interval -0.0001 to 0.0061, 10,000 samples)",
        ),
        (
            row(
                metric="accuracy_drop",
                max=0.005,
                confidence=0.95,
                value=0.03,
                lower=0.02,
                upper=0.04,
                samples=10000,
                verdict="Fail",
            ),
            "accuracy_drop 0.0300 is over 0.005 (interval 0.0200 to 0.0400, 10,000 samples)",
        ),
        (
            row(metric="size_bytes", max=1000000, value=1262592, verdict="Fail"),
            "size_bytes 1,262,592 is over 1,000,000",
        ),
        (row(metric="rows", min=60000, value=512, verdict="Fail"), "rows 512 is under 60,000"),
        (row(metric="speedup", min=1.3, value=1.18, verdict="Fail"), "speedup 1.18 is under 1.30"),
        (
            row(metric="latency_p99_ms", max=0.2, value=0.214159, verdict="Fail"),
            "latency_p99_ms 0.214 is over 0.2",
        ),
        (
            row(metric="leakage_rate", max=0, value=0.0123, samples=16000, verdict="Fail"),
            "leakage_rate 0.0123 is over 0 (16,000 samples)",
        ),
        (
            row(
                **{
                    "metric": "recall",
                    "class": "Bga",
                    "min": 0.5,
                    "verdict": "NoData",
                    "message": "not measured",
                }
            ),
            "recall of Bga could not be measured, so min 0.50 can't be judged",
        ),
        (
            row(
                metric="size_bytes",
                max=1000000,
                confidence=0.95,
                value=343112,
                verdict="Inconclusive",
                message="measured without an interval",
            ),
            "size_bytes 343,112 was measured without an interval, so max 1,000,000 can't be judged with confidence",
        ),
    ],
    ids=lambda value: value.metric if isinstance(value, GateResult) else "",
)
def test_each_way_to_miss_has_its_sentence(found: GateResult, said: str) -> None:
    assert gates.explained(found) == said


def test_what_could_not_be_judged_says_why_in_a_condition() -> None:
    (nothing,) = gates.judge([ACCURACY], [])
    assert gates.missed([nothing]) == "accuracy not measured, min 0.90."


def test_a_figure_has_the_digits_that_its_samples_are_worth() -> None:
    assert [gates.figure("recall", 0.71234, n) for n in (None, 10, 1000, 10_000, 10**6)] == [
        "0.7123",
        "0.71",
        "0.712",
        "0.7123",
        "0.7123",
    ]
