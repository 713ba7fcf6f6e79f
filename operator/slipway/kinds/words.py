"""How figures and lists are said to people in summaries and messages; durations and sizes are in api.units."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from slipway.api.units import duration
from slipway.gates import figure


def about(seconds: float) -> str:
    """A countdown: whole minutes from two minutes on, so that its message isn't rewritten all the time."""
    return duration(max(0, seconds if seconds < 120 else round(seconds / 60) * 60))


def megabytes(number: int) -> str:
    return f"{number / 1e6:.1f} MB"


def short(digest: str) -> str:
    """A digest as messages show it: the algorithm and 12 digits."""
    return digest[:19]


def some(number: int, noun: str) -> str:
    """A count with its noun: 1 file, 70,000 rows."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """a; a and b; a, b and c."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def there_is(kind: str, name: str, names: Iterable[str]) -> str:
    """A sentence naming the closest object of that kind, with a space before it; empty if none is close."""
    close = get_close_matches(name, sorted(names), n=1, cutoff=0.6)
    return f" There is a {kind} {close[0]}." if close else ""


def headline(metrics: Mapping[str, float]) -> str:
    """The result column of a model: accuracy, else the first of its metrics."""
    if not metrics:
        return "no metrics"
    name = "accuracy" if "accuracy" in metrics else next(iter(metrics))
    return f"{name} {figure(name, metrics[name])}"
