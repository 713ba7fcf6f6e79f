"""Figures: what a task measured, by metric and class, and the one line per gate that the operator judges."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from slipway.contract.base import Gate, Measurement

Interval = Callable[[float], tuple[float, float]]
"""Confidence -> (lower, upper)."""


@dataclass(frozen=True)
class Figure:
    value: float
    samples: int | None = None
    interval: Interval | None = None


@dataclass
class Figures:
    """Filled by a task: figures of the whole and of each class."""

    whole: dict[str, Figure] = field(default_factory=dict)
    classes: dict[str, dict[str, Figure]] = field(default_factory=dict)
    """metric -> class -> figure."""

    def measurements(self, gates: Iterable[Gate]) -> list[Measurement]:
        return [self._measure(gate) for gate in gates]

    def metrics(self) -> dict[str, float]:
        """Headline figures of the whole, rounded to what is worth reading."""
        return {name: round_to(figure.value) for name, figure in self.whole.items()}

    def _measure(self, gate: Gate) -> Measurement:
        class_, figure = gate.class_, None
        if class_ is None:
            figure = self.whole.get(gate.metric)
        elif class_ == "*":
            class_, figure = self._worst(gate)
        else:
            figure = self.classes.get(gate.metric, {}).get(class_)
        if figure is None:
            return Measurement(metric=gate.metric, class_=class_)
        lower, upper = figure.interval(gate.confidence or 0.95) if figure.interval else (None, None)
        return Measurement(
            metric=gate.metric,
            class_=class_,
            value=round_to(figure.value),
            lower=None if lower is None else round_to(lower),
            upper=None if upper is None else round_to(upper),
            samples=figure.samples,
        )

    def _worst(self, gate: Gate) -> tuple[str, Figure | None]:
        """The class nearest to, or farthest over, the gate's bounds."""
        of_class = self.classes.get(gate.metric, {})
        if not of_class:
            return "*", None

        def room(item: tuple[str, Figure]) -> float:
            value = item[1].value
            rooms = [value - gate.min] if gate.min is not None else []
            rooms += [gate.max - value] if gate.max is not None else []
            return min(rooms, default=value)

        return min(of_class.items(), key=room)


def round_to(value: float, digits: int = 6) -> float:
    """Significant digits: an accuracy has no more, and a report has 4096 bytes."""
    return float(f"{round(value, 12):.{digits}g}")
