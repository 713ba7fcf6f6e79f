from typing import Any

from slipway.cache import Change
from slipway.decision import Key
from slipway.interest import Interest
from toy import CONTROLLERS, PARSE, dataset, model

DIGITS, LETTERS, BOTH = (
    Key("Dataset", "demo", "digits"),
    Key("Dataset", "demo", "letters"),
    Key("Model", "demo", "both"),
)


def child(kind: str, **metadata: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"namespace": "demo", "name": "x", **metadata}}


def of(kind: str, name: str) -> dict[str, str]:
    return {"slipway.dev/kind": kind, "slipway.dev/name": name}


def test_a_child_wakes_the_owner_its_labels_name() -> None:
    interest = Interest(CONTROLLERS, PARSE)
    assert interest.note(Change(None, child("Pod", labels=of("Dataset", "digits")))) == {DIGITS}
    moved = Change(
        child("Pod", labels=of("Dataset", "digits")), child("Pod", labels=of("Dataset", "letters"))
    )
    assert interest.note(moved) == {DIGITS, LETTERS}
    assert interest.note(Change(None, child("Pod"))) == set()
    assert interest.note(Change(None, child("Pod", labels=of("Secret", "digits")))) == set()


def test_who_refers_to_an_object_is_woken_by_it_even_before_it_is_there() -> None:
    interest = Interest(CONTROLLERS, PARSE)
    interest.note(Change(None, model("digits", "letters")))
    assert interest.note(Change(None, dataset("digits"))) == {DIGITS, BOTH}
    assert interest.note(Change(dataset("digits"), None)) == {DIGITS, BOTH}


def test_a_reference_that_is_dropped_wakes_no_more() -> None:
    interest = Interest(CONTROLLERS, PARSE)
    interest.note(Change(None, model("digits", "letters")))
    interest.note(Change(model("digits", "letters"), model("letters")))
    assert interest.note(Change(None, dataset("digits"))) == {DIGITS}
    assert interest.note(Change(None, dataset("letters"))) == {LETTERS, BOTH}
    interest.note(Change(model("letters"), None))
    assert interest.note(Change(None, dataset("letters"))) == {LETTERS}


def test_a_version_wakes_its_maker_and_its_model() -> None:
    interest = Interest(CONTROLLERS, PARSE)
    spec = {"modelRef": {"name": "both"}, "lineage": {"producer": {"kind": "Dataset", "name": "digits"}}}
    version = {**child("ModelVersion"), "spec": spec}
    assert interest.note(Change(None, version)) == {DIGITS, BOTH}
    made_elsewhere = {**child("ModelVersion"), "spec": {"modelRef": {"name": "both"}}}
    assert interest.note(Change(None, made_elsewhere)) == {BOTH}


def test_an_object_that_cannot_be_read_still_wakes_itself() -> None:
    def refuse(manifest: object) -> Any:
        raise ValueError("spec.datasets is missing")

    interest = Interest(CONTROLLERS, {**PARSE, "Model": refuse})
    assert interest.note(Change(None, model("digits"))) == {BOTH}
    assert interest.note(Change(None, dataset("digits"))) == {DIGITS}
