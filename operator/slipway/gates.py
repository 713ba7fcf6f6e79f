"""Judges gates by what a job measured, and says in words what came of it. Pure.

A job measures (one Measurement per gate, in the order of the gates), the operator judges: so that a missed gate is a
Rejected version with its numbers, and not a failed job.
"""

import math
from collections.abc import Iterable, Sequence

from slipway.api.gates import FRACTIONS, Check, Gate, GateResult, Verdict
from slipway.contract.base import Measurement

COUNTS = ("rows", "size_bytes", "label_conflicts")
RATIOS = ("speedup", "size_ratio")


def judge(gates: Sequence[Gate], measurements: Sequence[Measurement]) -> list[GateResult]:
    """One row per gate, for status.gates. A gate that nothing was measured for gets the verdict NoData."""
    left = list(measurements)
    rows = []
    for gate in gates:
        found = next((m for m in left if _is_for(m, gate)), None)
        if found is not None:
            left.remove(found)
        rows.append(_row(gate, found or Measurement(metric=gate.metric, class_=gate.class_)))
    return rows


def all_pass(rows: Iterable[GateResult]) -> bool:
    """Whether nothing is held back; a check of severity Warning never holds anything back."""
    return not missed_rows(rows)


def missed_rows(rows: Iterable[GateResult]) -> list[GateResult]:
    """The rows that hold something back."""
    return [row for row in rows if row.verdict != "Pass" and row.severity != "Warning"]


def warnings(rows: Iterable[GateResult]) -> list[GateResult]:
    """Checks of severity Warning that did not pass."""
    return [row for row in rows if row.verdict != "Pass" and row.severity == "Warning"]


def _is_for(measurement: Measurement, gate: Gate) -> bool:
    if measurement.metric != gate.metric:
        return False
    if gate.class_ == "*":
        return measurement.class_ is not None
    return measurement.class_ == gate.class_


def _row(gate: Gate, measured: Measurement) -> GateResult:
    verdict, message = _verdict(gate, measured)
    warns = isinstance(gate, Check) and gate.severity == "Warning"
    return GateResult(
        metric=gate.metric,
        class_=measured.class_,
        min=gate.min,
        max=gate.max,
        confidence=gate.confidence,
        value=measured.value,
        lower=measured.lower,
        upper=measured.upper,
        samples=measured.samples,
        severity="Warning" if warns else None,
        verdict=verdict,
        message=message,
    )


def _verdict(gate: Gate, measured: Measurement) -> tuple[Verdict, str | None]:
    if measured.value is None or not math.isfinite(measured.value):
        return "NoData", "not measured"
    least = most = measured.value
    if gate.confidence is not None:
        needed = [measured.lower] * (gate.min is not None) + [measured.upper] * (gate.max is not None)
        if any(bound is None or not math.isfinite(bound) for bound in needed):
            return "Inconclusive", "measured without an interval; remove confidence"
        least = measured.lower if measured.lower is not None else least
        most = measured.upper if measured.upper is not None else most
    low = gate.min is not None and least < gate.min
    high = gate.max is not None and most > gate.max
    return ("Fail" if low or high else "Pass"), None


# Words.


def counted(rows: Sequence[GateResult], noun: str = "gate") -> str:
    """3 of 3 gates passed."""
    passed = sum(row.verdict == "Pass" for row in rows)
    return f"{passed} of {len(rows)} {noun}{'' if len(rows) == 1 else 's'} passed."


def missed(rows: Iterable[GateResult]) -> str:
    """For a condition: accuracy 0.8712, min 0.90."""
    return f"{'; '.join(_briefly(row) for row in rows if row.verdict != 'Pass')}."


def explained(row: GateResult) -> str:
    """For a summary: accuracy 0.8712 is under 0.90 (interval 0.8645 to 0.8776, 10,000 samples)."""
    if row.value is None or row.verdict == "NoData":
        return f"{_name(row)} could not be measured, so {_bounds(row)} can't be judged"
    if row.verdict == "Inconclusive":
        return f"{_figure(row)} was measured without an interval, so {_bounds(row)} can't be judged with confidence"
    found = _figure(row)
    for bound, end, beyond, what in (
        (row.min, row.lower, -1, ("under", "lower")),
        (row.max, row.upper, 1, ("over", "upper")),
    ):
        if bound is None:
            continue
        limit = _bound(row.metric, bound)
        if (row.value - bound) * beyond > 0:
            return f"{found} is {what[0]} {limit}{_uncertainty(row)}"
        if row.confidence is not None and end is not None and (end - bound) * beyond > 0:
            return (
                f"{found} is not shown with confidence {row.confidence:g} to hold {_bounds(row)}: its {what[1]} bound"
                f" {figure(row.metric, end, row.samples)} is {what[0]} it{_uncertainty(row)}"
            )
    return f"{found} holds {_bounds(row)}{_uncertainty(row)}"


def told(gates: Sequence[Gate], rows: Sequence[GateResult]) -> str:
    """accuracy 0.9060 (min 0.90) and worst recall 0.712, Shirt (min 0.50), pass. Empty without gates."""
    parts = []
    for gate, row in zip(gates, rows, strict=True):
        worst = "worst " if gate.class_ == "*" and row.value is not None else ""
        parts.append(f"{worst}{_figure(row)} ({_bounds(row)})")
    if not parts:
        return ""
    said = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    # With a class after it, "pass" would read as one more of its words.
    comma = "," if rows[-1].class_ is not None else ""
    verb = "passes" if len(parts) == 1 else "pass"
    return f"{said}{comma} {verb}" if all(row.verdict == "Pass" for row in rows) else said


def figure(metric: str, value: float, samples: int | None = None) -> str:
    """A figure with the digits that its kind and its number of samples are worth."""
    if metric in COUNTS:
        return f"{value:,.0f}"
    if metric in RATIOS:
        return f"{value:.2f}"
    if metric in FRACTIONS:
        digits = min(4, max(2, math.ceil(math.log10(samples)))) if samples else 4
        return f"{value:.{digits}f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _bound(metric: str, value: float) -> str:
    """A bound as a person would write it: two digits, more only where it has more."""
    if metric in COUNTS or (metric not in FRACTIONS and metric not in RATIOS) or value == 0:
        return f"{value:,.0f}" if value == round(value) else f"{value:g}"
    return f"{value:.2f}" if math.isclose(value, round(value, 2), abs_tol=1e-12) else f"{value:g}"


def _name(row: GateResult) -> str:
    if row.class_ == "*":
        return f"{row.metric} of each class"
    return row.metric if row.class_ is None else f"{row.metric} of {row.class_}"


def _figure(row: GateResult) -> str:
    if row.value is None:
        return _name(row)
    named = "" if row.class_ is None else f", {row.class_}"
    return f"{row.metric} {figure(row.metric, row.value, row.samples)}{named}"


def _bounds(row: GateResult) -> str:
    bounds = [f"min {_bound(row.metric, row.min)}"] if row.min is not None else []
    bounds += [f"max {_bound(row.metric, row.max)}"] if row.max is not None else []
    return " and ".join(bounds)


def _briefly(row: GateResult) -> str:
    if row.value is None or row.message is not None:
        return f"{_figure(row)} {row.message or row.verdict}, {_bounds(row)}"
    bound = row.confidence is not None and row.lower is not None and row.upper is not None
    interval = f" ({_ends(row)})" if bound else ""
    return f"{_figure(row)}{interval}, {_bounds(row)}"


def _ends(row: GateResult) -> str:
    assert row.lower is not None
    assert row.upper is not None
    return f"{figure(row.metric, row.lower, row.samples)} to {figure(row.metric, row.upper, row.samples)}"


def _uncertainty(row: GateResult) -> str:
    parts = [f"interval {_ends(row)}"] if row.lower is not None and row.upper is not None else []
    parts += [f"{row.samples:,} samples"] if row.samples is not None else []
    return f" ({', '.join(parts)})" if parts else ""
