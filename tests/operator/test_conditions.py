from datetime import UTC, datetime, timedelta

from slipway import conditions
from slipway.api import Dataset, Reason
from slipway.api.meta import Condition
from slipway.conditions import State

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)


def merged(*states: State, old: list[Condition] | None = None, now: datetime = NOON) -> list[Condition]:
    return conditions.merge(old or [], states, now, 3)


def test_a_new_condition_begins_now() -> None:
    (made,) = merged(State("Ready", "False", Reason.PREPARING, "Reading."))
    assert made.dump() == {
        "type": "Ready",
        "status": "False",
        "reason": "Preparing",
        "message": "Reading.",
        "observedGeneration": 3,
        "lastTransitionTime": "2026-11-24T12:00:00Z",
    }


def test_a_new_reason_or_message_moves_no_time() -> None:
    old = merged(State("Ready", "False", Reason.PREPARING, "Reading."))
    (made,) = merged(State("Ready", "False", Reason.GATE_MISSED, "rows 5."), old=old, now=LATER)
    assert (made.reason, made.message, made.last_transition_time) == ("GateMissed", "rows 5.", NOON)


def test_a_new_status_begins_now() -> None:
    old = merged(State("Ready", "Unknown", Reason.NOT_STARTED))
    (made,) = merged(State("Ready", "True", Reason.PREPARED), old=old, now=LATER)
    assert made.last_transition_time == LATER


def test_merging_the_same_again_changes_nothing() -> None:
    states = [State("InputsReady", "True", Reason.RESOLVED), State("Ready", "True", Reason.PREPARED)]
    old = merged(*states)
    assert merged(*states, old=old, now=LATER) == old


def test_what_is_not_wanted_any_more_is_left_out() -> None:
    old = merged(State("Gone", "True", Reason.RESOLVED), State("Ready", "True", Reason.PREPARED))
    assert [c.type for c in merged(State("Ready", "True", Reason.PREPARED), old=old)] == ["Ready"]


def test_the_order_is_the_order_in_which_they_are_stated() -> None:
    states = [State(name, "True", Reason.RESOLVED) for name in ("Ready", "InputsReady", "Available")]
    assert [c.type for c in merged(*states)] == ["Ready", "InputsReady", "Available"]


def test_work_under_way_is_said_by_reconciling() -> None:
    assert conditions.kstatus("Reconciling", Reason.TRAINING, "Step 258 of 422.") == (
        State("Reconciling", "True", Reason.TRAINING, "Step 258 of 422."),
        State("Stalled", "False", Reason.TRAINING, ""),
    )


def test_a_bad_end_is_said_by_stalled() -> None:
    assert conditions.kstatus("Stalled", Reason.GATE_MISSED, "accuracy 0.87.") == (
        State("Reconciling", "False", Reason.GATE_MISSED, ""),
        State("Stalled", "True", Reason.GATE_MISSED, "accuracy 0.87."),
    )


def test_where_nothing_is_left_to_do_neither_holds() -> None:
    assert [s.status for s in conditions.kstatus("Done", Reason.USABLE, "m")] == ["False", "False"]


def dataset(status: dict[str, object]) -> Dataset:
    return Dataset.parse(
        {
            "metadata": {"name": "d", "generation": 3},
            "spec": {
                "source": {"storageUri": "store://d/"},
                "format": "IDX",
                "schema": {
                    "inputs": [{"name": "image", "datatype": "UINT8", "shape": [28, 28]}],
                    "target": {"name": "label"},
                },
            },
            "status": status,
        }
    )


def test_an_object_gets_all_its_conditions_at_the_first_visit() -> None:
    states = [
        State("InputsReady", "False", Reason.STORE_UNREACHABLE, "Can't reach it."),
        State("GatesPassed", "Unknown", Reason.NOT_EVALUATED),
        State("Ready", "Unknown", Reason.NOT_STARTED),
    ]
    made = conditions.of(
        dataset({}), NOON, states, "Reconciling", (Reason.STORE_UNREACHABLE, "Can't reach it.")
    )
    assert [(c.type, c.status, c.reason, c.message) for c in made] == [
        ("InputsReady", "False", "StoreUnreachable", "Can't reach it."),
        ("GatesPassed", "Unknown", "NotEvaluated", ""),
        ("Ready", "Unknown", "NotStarted", ""),
        ("Reconciling", "True", "StoreUnreachable", "Can't reach it."),
        ("Stalled", "False", "StoreUnreachable", ""),
    ]


def test_the_cause_left_out_is_the_last_state_and_times_are_kept_over_the_wire() -> None:
    states = [State("Ready", "True", Reason.PREPARED, "70,000 rows.")]
    first = conditions.of(dataset({}), NOON, states, "Done")
    wire = [c.dump() for c in first]
    assert conditions.of(dataset({"conditions": wire}), LATER, states, "Done") == first
    assert {c.reason for c in first} == {"Prepared"}
