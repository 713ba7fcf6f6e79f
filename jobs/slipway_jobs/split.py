"""Splitting: parts that the source names are kept; validation, and test where there is none, come from train."""

import numpy as np
from numpy.typing import NDArray

from slipway.contract.config import Split
from slipway_jobs.failure import InvalidConfig, Unreadable
from slipway_jobs.formats import Rows

NAMES = ("train", "validation", "test")


def split(parts: dict[str, Rows], rule: Split) -> dict[str, Rows]:
    """train, validation, test (those that have rows), each in the source's order."""
    if "train" not in parts:
        raise Unreadable(f"The source has {', '.join(sorted(parts))} but no train part.")
    fractions = {
        "validation": 0.0 if "validation" in parts else rule.validation_fraction,
        "test": 0.0 if "test" in parts else rule.test_fraction,
    }
    total = sum(fractions.values())
    if total >= 1:
        raise InvalidConfig(
            f"split: validationFraction and testFraction add up to {total:g}; they must leave rows for train."
        )
    train = parts["train"]
    taken = _draw(train.targets, fractions, rule)
    rest = np.setdiff1d(np.arange(len(train)), np.concatenate(list(taken.values())), assume_unique=True)
    result = dict(parts, train=train.take(rest))
    for name, rows in taken.items():
        if len(rows):
            result[name] = train.take(rows)
    return {name: result[name] for name in NAMES if name in result and len(result[name])}


def _draw(
    targets: NDArray[np.int64], fractions: dict[str, float], rule: Split
) -> dict[str, NDArray[np.int64]]:
    """Rows of train for each new part: of all rows, or the same share of every class."""
    rng = np.random.default_rng(rule.seed)
    if rule.method == "Stratified":
        groups = [np.flatnonzero(targets == value) for value in np.unique(targets)]
    else:
        groups = [np.arange(len(targets))]
    taken: dict[str, list[NDArray[np.int64]]] = {name: [np.empty(0, np.int64)] for name in fractions}
    for group in groups:
        order = rng.permutation(group)
        start = 0
        for name, fraction in fractions.items():
            count = round(fraction * len(group))
            taken[name].append(order[start : start + count])
            start += count
    return {name: np.sort(np.concatenate(rows)) for name, rows in taken.items()}
