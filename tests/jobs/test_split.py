import numpy as np
import pytest

from slipway.contract.config import Split
from slipway_jobs.formats import Rows
from slipway_jobs.split import split


def part(classes: list[int]) -> Rows:
    return Rows(np.arange(len(classes)), np.array(classes))


def test_stratified_takes_the_same_share_of_every_class() -> None:
    made = split({"train": part([0] * 80 + [1] * 20)}, Split(validation_fraction=0.1, test_fraction=0.2))
    assert {name: np.bincount(rows.targets).tolist() for name, rows in made.items()} == {
        "train": [56, 14],
        "validation": [8, 2],
        "test": [16, 4],
    }
    assert sorted(np.concatenate([rows.inputs for rows in made.values()]).tolist()) == list(range(100))


def test_the_seed_decides_alone() -> None:
    parts = {"train": part([0, 1] * 50)}

    def drawn(seed: int) -> list[int]:
        return split(parts, Split(method="Random", seed=seed))["validation"].inputs.tolist()

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)


def test_parts_of_the_source_are_kept() -> None:
    parts = {"train": part([0] * 10), "test": part([0] * 3), "validation": part([0] * 2)}
    made = split(parts, Split(validation_fraction=0.5, test_fraction=0.3))
    assert {name: len(rows) for name, rows in made.items()} == {"train": 10, "validation": 2, "test": 3}


def test_nothing_comes_from_no_train() -> None:
    with pytest.raises(Exception, match="has test but no train part"):
        split({"test": part([0])}, Split())
