import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.api.reasons import Reason
from slipway.rollout import steps
from slipway.rollout.analysis import Arm, Difference, Verdict
from slipway.rollout.plan import Hold, Plan, Position, SetWeight, begin, next_weight
from slipway.rollout.steps import Action, Facts, Pause, Promote, Rollback, Shift, Wait

START = datetime(2026, 11, 24, 10, 5, 41, tzinfo=UTC)
PLAN = Plan("fashion-cnn-v2", (SetWeight(20), SetWeight(50)), metrics=("error_rate", "slow_rate"))
NAME = "fashion-84b1e0"


def verdict(word: Any, canary: tuple[int, int] = (660, 0), needed: int | None = None) -> Verdict:
    rate = canary[1] / canary[0] if canary[0] else 0.0
    return Verdict(
        word,
        Arm(*canary, rate),
        Arm(2640, 22, 22 / 2640),
        Difference(rate - 22 / 2640, -0.01, 0.02),
        0.6,
        5.99,
        1.0,
        needed,
    )


def both(word: Any) -> dict[str, Verdict]:
    return {"error_rate": verdict(word), "slow_rate": verdict(word)}


class Rollout:
    """A rollout that is looked at every few seconds, with everything in order unless said otherwise."""

    def __init__(self, plan: Plan = PLAN, **facts: Any) -> None:
        self.plan = plan
        self.facts = Facts(START, NAME, True, True, self_test=True, acknowledged=True)
        self.facts = replace(self.facts, **facts)
        self.position = begin(NAME, START)

    def look(self, after: float = 1.0, act: Any = None, **facts: Any) -> Action:
        self.facts = replace(self.facts, now=self.facts.now + timedelta(seconds=after), act=act, **facts)
        self.position, action = steps.advance(self.plan, self.position, self.facts)
        assert Position.from_json(json.loads(json.dumps(self.position.to_json()))) == self.position
        return action

    def until(self, kind: type, **facts: Any) -> Action:
        for _ in range(20):
            action = self.look(**facts)
            if isinstance(action, kind):
                return action
        raise AssertionError(f"no {kind.__name__}, at {self.position}")


def test_all_passed_leads_by_the_steps_to_promotion() -> None:
    rollout = Rollout()
    assert rollout.look() == Shift(20)
    assert rollout.until(Shift, verdicts=both("Pass")) == Shift(50)
    rollout.facts = replace(rollout.facts, verdicts=both("Continue"))
    assert isinstance(rollout.look(), Wait)
    assert isinstance(rollout.look(), Wait)
    promote = rollout.until(Promote, verdicts=both("Pass"))
    assert promote == Promote(Reason.ALL_PASSED, "fashion-cnn-v2 takes all traffic: every step passed.")
    assert (rollout.position.weight, rollout.position.outcome) == (100, "Promoted")
    assert [(r.weight, r.verdict) for r in rollout.position.records] == [(20, "Pass"), (50, "Pass")]
    assert rollout.look() == Wait(Reason.ALL_PASSED, promote.message)


def test_weight_comes_after_capacity_and_the_self_test() -> None:
    rollout = Rollout(capacity_ready=False, capacity_message="0 of 1 replicas are ready.", self_test=None)
    waiting = rollout.look()
    assert isinstance(waiting, Wait)
    assert (waiting.reason, waiting.message) == (Reason.STARTING_REPLICAS, "0 of 1 replicas are ready.")
    testing = rollout.look(capacity_ready=True)
    assert isinstance(testing, Wait)
    assert testing.reason == Reason.SELF_TESTING
    assert rollout.look(self_test=True, capacity_ready=False).reason == Reason.STARTING_REPLICAS  # type: ignore[union-attr]  # a Wait
    assert rollout.look(capacity_ready=True) == Shift(20)


def test_evidence_begins_when_every_router_has_the_weight() -> None:
    rollout = Rollout(acknowledged=False)
    rollout.look()
    waiting = rollout.look(verdicts=both("Fail"))
    assert isinstance(waiting, Wait)
    assert waiting.reason == Reason.NOT_ACKNOWLEDGED
    assert rollout.position.evidence_since is None
    rollout.look(acknowledged=True, verdicts={})
    assert rollout.position.evidence_since == rollout.facts.now
    rollout.until(Shift, verdicts=both("Pass"))
    assert rollout.position.evidence_since is None


def test_a_wrong_answer_is_rejected_before_any_weight() -> None:
    message = "fashion-84b1e0 answers example 2 with class Bag, recorded Shirt; it gets no traffic."
    rollout = Rollout(self_test=False, self_test_message=message)
    assert rollout.look() == Rollback(Reason.SELF_TEST_FAILED, message)
    assert rollout.position.rejected


def test_a_fail_rolls_back_and_stays_rejected_until_retry() -> None:
    rollout = Rollout()
    rollout.look()
    rollout.look()
    failed = rollout.look(verdicts={"error_rate": verdict("Pass"), "slow_rate": verdict("Fail", (300, 93))})
    assert failed == Rollback(
        Reason.SLOW_RATE_INCREASED, "fashion-cnn-v2 was rolled back: slow_rate 0.31 against 0.0083."
    )
    assert rollout.position.weight == 0
    for act in (None, "promote", "abort"):
        assert rollout.look(act=act, verdicts=both("Pass")) == Wait(failed.reason, failed.message)
        assert rollout.position.rejected
    rollout.look(act="retry", verdicts={})
    assert rollout.position == begin(NAME, rollout.facts.now)
    assert rollout.look() == Shift(20)


def test_a_fail_counts_during_a_pause_and_while_paused_by_the_spec() -> None:
    rollout = Rollout(replace(PLAN, steps=(SetWeight(20), Hold(), SetWeight(50))))
    rollout.until(Pause, verdicts=both("Pass"))
    assert isinstance(rollout.look(verdicts=both("Fail"), paused=True), Rollback)


def test_the_first_revision_takes_over_after_its_self_test() -> None:
    rollout = Rollout(has_stable=False, self_test=None, capacity_ready=False)
    assert next_weight(PLAN, rollout.position, has_stable=False) == 100
    assert isinstance(rollout.look(), Wait)
    assert isinstance(rollout.look(capacity_ready=True), Wait)
    promote = rollout.look(self_test=True)
    assert isinstance(promote, Promote)
    assert promote.reason == Reason.FIRST_REVISION


def test_without_steps_the_revision_takes_over_after_its_self_test() -> None:
    promote = Rollout(Plan("fashion-cnn-v2")).look()
    assert isinstance(promote, Promote)
    assert promote.reason == Reason.NO_CANARY


def test_no_verdict_by_the_deadline_pauses_and_more_traffic_ends_the_pause() -> None:
    rollout = Rollout()
    rollout.look()
    rollout.look()
    seen = {"error_rate": verdict("Pass"), "slow_rate": verdict("Continue", (41, 1), needed=660)}
    assert isinstance(rollout.look(after=299, verdicts=seen), Wait)
    assert rollout.look() == Pause(
        Reason.INCONCLUSIVE,
        "No verdict on slow_rate in 5m: 41 canary requests, about 700 needed. "
        "Paused: promote, abort, or send more traffic.",
    )
    assert rollout.until(Shift, verdicts=both("Pass")) == Shift(50)


@pytest.mark.parametrize(("choice", "kind"), [("Pause", Pause), ("Rollback", Rollback), ("Promote", Wait)])
def test_on_inconclusive_decides(choice: Any, kind: type) -> None:
    rollout = Rollout(replace(PLAN, on_inconclusive=choice))
    rollout.look()
    rollout.look()
    assert isinstance(rollout.look(after=301, verdicts=both("Continue")), kind)
    assert rollout.position.step == (1 if choice == "Promote" else 0)
    assert rollout.position.rejected == (choice == "Rollback")


def test_no_traffic_at_all_is_inconclusive_and_never_a_pass() -> None:
    rollout = Rollout()
    rollout.look()
    rollout.look()
    paused = rollout.look(after=301, verdicts={})
    assert isinstance(paused, Pause)
    paused = rollout.look(verdicts=dict.fromkeys(PLAN.metrics, verdict("NoData", (0, 0))))
    assert isinstance(paused, Pause)
    assert paused.message.startswith("No verdict on error_rate in 5m: no canary requests to compare.")


def test_promote_goes_on_from_a_pause_and_finishes_elsewhere() -> None:
    plan = replace(PLAN, steps=(SetWeight(20), Hold(), SetWeight(50)))
    rollout = Rollout(plan)
    rollout.until(Pause, verdicts=both("Pass"))
    rollout.look(act="promote", verdicts={})
    assert rollout.look() == Shift(50)
    rollout.look()
    promote = rollout.look(act="promote", verdicts=both("Continue"))
    assert isinstance(promote, Promote)
    assert promote.reason == Reason.PROMOTED_BY_USER


def test_promote_before_the_self_test_skips_the_steps_but_not_the_test() -> None:
    rollout = Rollout(self_test=None)
    assert isinstance(rollout.look(act="promote"), Wait)
    assert next_weight(PLAN, rollout.position, has_stable=True) == 100
    assert isinstance(rollout.look(self_test=True, capacity_ready=False), Wait)
    assert isinstance(rollout.look(capacity_ready=True), Promote)


def test_a_pause_with_a_duration_ends_by_itself() -> None:
    rollout = Rollout(replace(PLAN, steps=(SetWeight(20), Hold(600), SetWeight(50))))
    paused = rollout.until(Pause, verdicts=both("Pass"))
    assert paused == Pause(Reason.ROLLOUT_PAUSED, "Paused at 20 % for 10m.", 599)
    assert isinstance(rollout.look(after=598), Pause)
    assert isinstance(rollout.look(after=1), Wait)
    assert rollout.look() == Shift(50)


def test_paused_by_the_spec_nothing_rises() -> None:
    rollout = Rollout(paused=True)
    for act in (None, "promote"):
        paused = rollout.look(act=act)
        assert isinstance(paused, Pause)
        assert rollout.position.weight == 0
    assert rollout.look(paused=False) == Shift(20)


@pytest.mark.parametrize("lacking", [{"self_test": None}, {"capacity_ready": False}])
def test_a_revision_that_does_not_get_ready_is_given_up_at_the_progress_deadline(lacking: Any) -> None:
    rollout = Rollout(capacity_message="0 of 1 replicas are ready.", **lacking)
    rollout.look()
    assert isinstance(rollout.look(after=599), Wait)
    end = rollout.look(after=1)
    assert isinstance(end, Rollback)
    assert end.reason == Reason.PROGRESS_DEADLINE_EXCEEDED
    assert end.message.startswith("fashion-84b1e0 was not ready within 10m: ")


def test_pods_lost_after_a_long_pause_get_the_whole_deadline_anew() -> None:
    rollout = Rollout(paused=True)
    rollout.look(after=5)
    rollout.look(after=3600)
    assert isinstance(rollout.look(paused=False, capacity_ready=False, capacity_message="0 of 1."), Wait)


def test_a_leader_that_starts_anew_need_not_test_again() -> None:
    rollout = Rollout()
    rollout.look()
    rollout.look(self_test=None)
    assert rollout.until(Shift, verdicts=both("Pass")) == Shift(50)


def test_shares_that_differ_hold_a_pass_but_not_a_fail() -> None:
    rollout = Rollout(sample_ratio_mismatch="20 % asked, 3 % seen.")
    rollout.look()
    rollout.look()
    assert rollout.look(verdicts=both("Pass")) == Pause(Reason.SHARES_DIFFER, "20 % asked, 3 % seen.")
    assert isinstance(rollout.look(verdicts=both("Fail")), Rollback)


def test_a_newer_revision_ends_the_trial_without_rejecting_it() -> None:
    rollout = Rollout()
    rollout.look()
    end = rollout.look(desired="fashion-f02a77")
    assert isinstance(end, Rollback)
    assert end.reason == Reason.SUPERSEDED
    assert not rollout.position.rejected
    assert rollout.position.weight == 0


def test_abort_goes_back_to_stable() -> None:
    rollout = Rollout()
    rollout.look()
    assert isinstance(rollout.look(act="abort"), Rollback)
    assert rollout.position.rejected


def test_the_position_is_small() -> None:
    rollout = Rollout()
    rollout.until(Promote, verdicts=both("Pass"))
    assert len(json.dumps(rollout.position.to_json(), separators=(",", ":"))) < 600


words = st.sampled_from(["Pass", "Pass", "Pass", "Continue", "NoData", "Fail"])
events = st.fixed_dictionaries(
    {
        "after": st.floats(0.1, 400),
        "capacity_ready": st.sampled_from([True, True, True, False]),
        "self_test": st.sampled_from([True, True, True, None, False]),
        "acknowledged": st.booleans(),
        "act": st.sampled_from([None, None, None, None, None, "promote", "abort", "retry"]),
        "paused": st.sampled_from([False, False, False, True]),
        "verdicts": st.builds(lambda a, b: {"error_rate": verdict(a), "slow_rate": verdict(b)}, words, words),
        "sample_ratio_mismatch": st.sampled_from([None, None, None, "20 % asked, 3 % seen."]),
    }
)


@settings(deadline=None, max_examples=300)
@given(st.lists(events, max_size=40), st.sampled_from(["Pause", "Rollback", "Promote"]), st.booleans())
def test_whatever_happens_the_rules_hold(happenings: list[Any], choice: Any, has_stable: bool) -> None:
    plan = replace(PLAN, steps=(SetWeight(20), Hold(30), SetWeight(50)), on_inconclusive=choice)
    rollout = Rollout(plan, has_stable=has_stable)
    passed_self_test = False
    for happening in happenings:
        before = rollout.position
        passed_self_test |= happening["self_test"] is True and not before.outcome
        action = rollout.look(**happening)
        after = rollout.position
        assert after.weight in (0, 20, 50, 100)
        if after.weight < before.weight:
            assert isinstance(action, Rollback)
        if after.weight > before.weight:
            assert isinstance(action, Shift | Promote)
            assert passed_self_test
            assert happening["capacity_ready"]
            assert not (happening["paused"] and has_stable)
        if before.rejected and happening["act"] != "retry":
            assert after == before
        if before.rejected and happening["act"] == "retry":
            passed_self_test = False
        failing = any(v.verdict == "Fail" for v in happening["verdicts"].values())
        if before.evidence_since and not before.outcome and failing:
            assert isinstance(action, Rollback)
        if after.outcome == "Promoted" and after.reason is Reason.ALL_PASSED:
            assert [r.weight for r in after.records] == [20, 50]
