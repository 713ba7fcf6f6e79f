from slipway.contract.base import Gate, Measurement
from slipway_jobs.figures import Figure, Figures


def recalls() -> Figures:
    return Figures(
        whole={"accuracy": Figure(0.9, 100, lambda c: (0.9 - c / 10, 0.9 + c / 100))},
        classes={"recall": {"Shirt": Figure(0.7, 10), "Bag": Figure(0.99, 10)}},
    )


def gate(**told: object) -> Gate:
    return Gate.model_validate(told)


def test_star_reports_the_class_nearest_to_missing_the_bound() -> None:
    low, high = recalls().measurements(
        [gate(metric="recall", **{"class": "*"}, min=0.5), gate(metric="recall", **{"class": "*"}, max=0.9)]
    )
    assert (low.class_, low.value) == ("Shirt", 0.7)
    assert (high.class_, high.value) == ("Bag", 0.99)


def test_the_interval_is_at_the_gates_confidence() -> None:
    plain, bold = recalls().measurements(
        [gate(metric="accuracy", min=0.8), gate(metric="accuracy", min=0.8, confidence=0.5)]
    )
    assert (plain.lower, bold.lower) == (0.805, 0.85)


def test_what_was_not_measured_has_no_value() -> None:
    assert recalls().measurements(
        [gate(metric="bleu", min=1), gate(metric="recall", **{"class": "Hat"}, min=1)]
    ) == [
        Measurement(metric="bleu"),
        Measurement(metric="recall", class_="Hat"),
    ]
