from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from slipway.api import units


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("25ms", 0.025),
        ("100us", 0.0001),
        ("22s", 22),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("168h", 604800),
        ("0s", 0),
    ],
)
def test_durations_are_those_of_go(text: str, wanted: float) -> None:
    assert units.seconds(text) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("text", ["", "5", "1 day", "-3s", "1d", "s", "1h 5m"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write it like 30s, 25ms or 1h30m"):
        units.seconds(text)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (0, "0s"),
        (22.4, "22s"),
        (90, "1m30s"),
        (3600, "1h"),
        (7500, "2h5m"),
        (0.25, "250ms"),
        (0.0001, "100us"),
    ],
)
def test_seconds_are_written_for_people(value: float, wanted: str) -> None:
    assert units.duration(value) == wanted


@given(st.integers(0, 10**7))
def test_whole_seconds_survive_the_way_there_and_back(value: int) -> None:
    assert units.seconds(units.duration(value)) == value


@given(st.integers(1, 999_999))
def test_parts_of_a_second_survive_the_way_there_and_back(micros: int) -> None:
    assert units.seconds(units.duration(micros / 1e6)) == pytest.approx(micros / 1e6, abs=1e-9)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_what_is_no_length_of_time_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="is not a length of time"):
        units.duration(value)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("500m", "0.5"),
        ("2", "2"),
        ("1Gi", "1073741824"),
        ("512Mi", "536870912"),
        ("1k", "1000"),
        ("1e3", "1000"),
        (".5", "0.5"),
        ("2E", "2000000000000000000"),
        ("100n", "0.0000001"),
    ],
)
def test_quantities_are_those_of_kubernetes(text: str, wanted: str) -> None:
    assert units.quantity(text) == Decimal(wanted)


@pytest.mark.parametrize("text", ["", "1GB", "five", "1.2.3", "Gi"])
def test_what_is_no_quantity_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity; write it like 500m, 2 or 1Gi"):
        units.quantity(text)


def test_a_quantity_may_be_written_as_a_number() -> None:
    assert TypeAdapter(units.Quantity).validate_python(2) == "2"


@pytest.mark.parametrize(
    ("cpu", "wanted"), [(None, 1), ("250m", 1), ("1", 1), ("1500m", 1), ("2", 2), ("16", 16)]
)
def test_threads_follow_the_cpu_request(cpu: str | None, wanted: int) -> None:
    assert units.threads(cpu) == wanted


@pytest.mark.parametrize(
    ("count", "wanted"),
    [(0, "0"), (1023, "1023"), (343112, "335Ki"), (1262592, "1.2Mi"), (54525952, "52Mi"), (2 * 2**30, "2Gi")],
)
def test_sizes_are_written_for_people(count: int, wanted: str) -> None:
    assert units.size(count) == wanted


def test_times_lose_their_parts_of_a_second_and_their_zone() -> None:
    adapter = TypeAdapter(units.Time)
    east = datetime(2026, 11, 24, 12, 0, 1, 999, tzinfo=timezone(timedelta(hours=2)))
    made = adapter.validate_python(east)
    assert made == datetime(2026, 11, 24, 10, 0, 1, tzinfo=UTC)
    assert adapter.dump_python(made, mode="json") == "2026-11-24T10:00:01Z"
    assert adapter.validate_python("2026-11-24T10:00:01Z") == made


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="timezone"):
        TypeAdapter(units.Time).validate_python("2026-11-24T10:00:01")


def test_long_text_of_a_status_is_cut_instead_of_refused() -> None:
    assert TypeAdapter(units.Sentence).validate_python("a" * 2000) == "a" * 1023 + "…"
    assert TypeAdapter(units.LogTail).validate_python("a" * 3000 + "end").endswith("aend")
    assert len(TypeAdapter(units.LogTail).validate_python("a" * 3000)) == 2048


def test_a_loss_that_is_no_number_any_more_has_no_figure() -> None:
    found = {"train_loss": float("nan"), "accuracy": 0.1, "epoch": 3}
    assert TypeAdapter(units.Metrics).validate_python(found) == {"accuracy": 0.1, "epoch": 3.0}
