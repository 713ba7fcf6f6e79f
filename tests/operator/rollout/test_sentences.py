from slipway.rollout import sentences
from slipway.rollout.analysis import Arm, Difference, Verdict

SEEN = Arm(660, 9, 9 / 660)


def verdict(word: str, needed: int | None = None, canary: Arm = SEEN) -> Verdict:
    return Verdict(
        word,  # type: ignore[arg-type]  # one of the verdicts
        canary,
        Arm(2640, 22, 22 / 2640),
        Difference(canary.rate - 22 / 2640, -0.0102, 0.0208),
        0.64,
        5.99,
        1.0,
        needed,
    )


def test_a_rollout_in_progress_says_what_is_shown_and_what_is_needed() -> None:
    verdicts = {"error_rate": verdict("Pass"), "slow_rate": verdict("Continue", 91)}
    assert (
        sentences.on_trial(
            "fashion-cnn-v2-int8", 20, 1, 2, verdicts, {"error_rate": 0.01, "slow_rate": 0.02}, 11.4
        )
        == "Canary fashion-cnn-v2-int8 takes 20 % (step 1 of 2): errors within 0.01 of stable; "
        "slow requests need about 90 more (8s at this rate)."
    )


def test_a_canary_that_more_requests_will_not_pass_is_told_so() -> None:
    text = sentences.on_trial("v2", 20, 1, 2, {"slow_rate": verdict("Continue")}, {"slow_rate": 0.002}, 10)
    assert text.endswith("slow requests +0.0053 from stable's, not shown to be within 0.002.")


def test_the_summary_of_a_rollback_names_both_shares() -> None:
    assert sentences.rolled_back_summary(
        "fashion-cnn-v2-int8",
        "fashion-cnn-v3-int8",
        20,
        "slow_rate",
        canary=0.31,
        stable=0.0083,
        threshold="25ms",
        way_on="Point candidate elsewhere, relax slo.latency, or: kubectl slipway retry fashion.",
    ) == (
        "Serving fashion-cnn-v2-int8. fashion-cnn-v3-int8 was rolled back at 20 %: 31 % of its requests took "
        "over 25ms, of stable's 0.8 %. Point candidate elsewhere, relax slo.latency, "
        "or: kubectl slipway retry fashion."
    )
