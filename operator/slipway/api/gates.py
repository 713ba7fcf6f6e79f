"""Gates: a bound on a figure, and what came of it. One shape in every kind."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from slipway.api.meta import ATOMIC, Wire, expressed, rule, rules
from slipway.api.units import Phrase, Word, capped

Verdict = Literal["Pass", "Fail", "Continue", "Inconclusive", "NoData"]
"""Only Pass opens a gate; Continue is said of evidence that is still being collected."""

PER_CLASS = ("precision", "recall", "f1")
OFFLINE = ("accuracy", *PER_CLASS, *(f"{name}_macro" for name in PER_CLASS))
COMPARED = (
    "accuracy_drop",
    "agreement",
    "speedup",
    "size_ratio",
    "latency_p50_ms",
    "latency_p99_ms",
    "cpu_ms",
    "throughput_per_s",
    "size_bytes",
)
DATA = ("rows", "missing_rate", "class_share", "leakage_rate", "duplicate_rate", "label_conflicts")
FRACTIONS = (
    *OFFLINE,
    "accuracy_drop",
    "agreement",
    "missing_rate",
    "class_share",
    "leakage_rate",
    "duplicate_rate",
)
UP = (*OFFLINE, "agreement", "speedup", "size_ratio", "throughput_per_s", "rows")
"""Metrics of which more is better; of the others less is."""


def _quoted(names: tuple[str, ...]) -> str:
    return "[" + ", ".join(f"'{name}'" for name in names) + "]"


def _fraction(bound: str) -> dict[str, str]:
    # Two whole messages: the API server takes a format for unboundedly long, so that joining two costs too much.
    says = f"{bound} is %s; %s is a fraction from 0 to 1"
    found = f"self.{bound}, self.metric"
    return expressed(
        f"!has(self.{bound}) || !(self.metric in {_quoted(FRACTIONS)})"
        f" || (self.{bound} >= -1.0 && self.{bound} <= 1.0)",
        # Nothing is suggested where it would be no fraction either.
        f"self.{bound} > 1.0 && self.{bound} <= 100.0"
        f" ? '{says}: did you mean %s?'.format([{found}, self.{bound} / 100.0]) : '{says}'.format([{found}])",
    )


class Gate(Wire):
    """A bound on a figure."""

    metric: Word
    """Name of the figure, e.g. accuracy."""
    class_: Word | None = None
    """One class by name, or "*" for each of them: the worst is judged and reported."""
    min: float | None = None
    """Least that passes."""
    max: float | None = None
    """Most that passes."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] | None = None
    """Judged on the bound of the interval of this confidence instead of on the estimate, e.g. 0.95."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("has(self.min) || has(self.max)", "set min, max or both"),
            expressed(
                "!has(self.min) || !has(self.max) || self.min <= self.max",
                "'min (%s) is above max (%s): nothing can pass'.format([self.min, self.max])",
            ),
            _fraction("min"),
            _fraction("max"),
        )
    )


class Check(Gate):
    """A bound on a figure of the data."""

    severity: Literal["Error", "Warning"] = "Error"
    """Error stops what depends on the Dataset; Warning only tells."""


def gates_of(known: tuple[str, ...], per_class: tuple[str, ...]) -> dict[str, Any]:
    """Schema extra of a list of gates: which figures are measured here, and which of them per class."""
    names = ", ".join(known)
    whole = ", ".join(per_class)
    return {
        "x-kubernetes-list-type": "atomic",
        **rules(
            expressed(
                f"self.all(g, g.metric in {_quoted(known)})",
                f"'%s is not measured here; use one of {names}'.format("
                f"[self.filter(g, !(g.metric in {_quoted(known)}))[0].metric])",
            ),
            rule(
                f"self.all(g, !has(g.class) || g.metric in {_quoted(per_class)})",
                f"class: only {whole} is measured per class; remove class from the others",
            ),
            rule(
                f"self.all(g, has(g.class) || !(g.metric in {_quoted(per_class)}))",
                f'class: {whole} is measured per class; set class to a class\'s name, or to "*" for each',
            ),
        ),
    }


class GateResult(Wire):
    """A gate and what came of it."""

    metric: Word
    """Name of the figure."""
    class_: Word | None = None
    """The class it is about; of "*" the worst one."""
    min: float | None = None
    """Least that passes."""
    max: float | None = None
    """Most that passes."""
    confidence: float | None = None
    """Where set, the bound of the interval was judged instead of the estimate."""
    value: float | None = None
    """The figure."""
    lower: float | None = None
    """Lower end of its interval."""
    upper: float | None = None
    """Upper end of its interval."""
    samples: int | None = None
    """How many rows or runs it was measured on."""
    severity: Literal["Error", "Warning"] | None = None
    """Of a Dataset's check: Warning tells, Error stops."""
    verdict: Verdict
    """Pass, Fail, Inconclusive or NoData. Only Pass opens the gate."""
    message: Phrase | None = None
    """Why there is no verdict, where there is none."""


GateResults = Annotated[list[GateResult], capped(32), Field(max_length=32, json_schema_extra=ATOMIC)]
RunGates = Annotated[list[Gate], Field(max_length=32, json_schema_extra=gates_of(OFFLINE, PER_CLASS))]
CompressionGates = Annotated[
    list[Gate], Field(max_length=32, json_schema_extra=gates_of((*OFFLINE, *COMPARED), PER_CLASS))
]
