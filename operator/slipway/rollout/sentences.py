"""What a rollout says to people, in the words of docs/api."""

from collections.abc import Mapping

from slipway.api.units import duration
from slipway.rollout.analysis import Verdict

_NOUNS = {"error_rate": "errors", "slow_rate": "slow requests"}


def share(rate: float) -> str:
    """A rate as people read it in a sentence: 31 %, 0.8 %."""
    percent = 100 * rate
    if percent >= 10 or percent == round(percent):
        return f"{percent:.0f} %"
    return f"{percent:.2g} %" if percent >= 1 else f"{percent:.1g} %"


def figure(rate: float) -> str:
    """A rate as conditions give it, a fraction: 0.31, 0.0083."""
    return f"{rate:.2g}"


def noun(metric: str) -> str:
    return _NOUNS.get(metric, metric)


def on_trial(
    subject: str,
    weight: int,
    number: int,
    total: int,
    verdicts: Mapping[str, Verdict],
    max_increase: Mapping[str, float],
    canary_requests_per_s: float | None,
) -> str:
    """The summary of a rollout in progress: what is shown already, what is still needed and how long it takes."""
    parts = [
        _state_of(metric, verdict, max_increase[metric], canary_requests_per_s)
        for metric, verdict in verdicts.items()
    ]
    text = f"Canary {subject} takes {weight} % (step {number} of {total})"
    return f"{text}: {'; '.join(parts)}." if parts else f"{text}."


def inconclusive(verdicts: Mapping[str, Verdict], deadline: float) -> str:
    """No verdict on slow_rate in 5m: 41 canary requests, about 700 needed."""
    missing = {metric: verdict for metric, verdict in verdicts.items() if verdict.verdict != "Pass"}
    if not missing:
        return f"No verdict in {duration(deadline)}."
    # The metric that is furthest from a verdict: one that more requests won't help, else the one needing most.
    metric, verdict = max(missing.items(), key=lambda item: item[1].samples_needed or float("inf"))
    text = f"No verdict on {metric} in {duration(deadline)}: "
    if not verdict.canary.total:
        return text + (
            "no canary requests to compare." if verdict.verdict == "NoData" else "no canary requests."
        )
    text += f"{verdict.canary.total} canary requests"
    if verdict.samples_needed is None:
        return f"{text}, and at the difference seen, {verdict.difference.estimate:+.4f}, more won't pass it."
    return f"{text}, about {_round(verdict.canary.total + verdict.samples_needed)} needed."


def rolled_back(subject: str, metric: str, verdict: Verdict) -> str:
    """fashion-cnn-v3-int8 was rolled back: slow_rate 0.31 against 0.0083."""
    return f"{subject} was rolled back: {metric} {figure(verdict.canary.rate)} against {figure(verdict.stable.rate)}."


def rolled_back_summary(
    serving: str,
    subject: str,
    weight: int,
    metric: str,
    *,
    canary: float,
    stable: float,
    threshold: str,
    way_on: str,
) -> str:
    """Serving v2. v3 was rolled back at 20 %: 31 % of its requests took over 25ms, of stable's 0.8 %. ..."""
    did = {"error_rate": "failed", "slow_rate": f"took over {threshold}"}.get(metric, f"were bad by {metric}")
    return (
        f"Serving {serving}. {subject} was rolled back at {weight} %: {share(canary)} of its "
        f"requests {did}, of stable's {share(stable)}. {way_on}"
    )


def _state_of(metric: str, verdict: Verdict, margin: float, per_second: float | None) -> str:
    what = noun(metric)
    if verdict.verdict == "Pass":
        return f"{what} within {margin:g} of stable"
    if verdict.verdict == "NoData":
        return f"{what} wait for requests to both revisions"
    if verdict.verdict == "Fail":
        return f"{what} {figure(verdict.canary.rate)} against {figure(verdict.stable.rate)}"
    if verdict.samples_needed is None:
        return f"{what} {verdict.difference.estimate:+.4f} from stable's, not shown to be within {margin:g}"
    text = f"{what} need about {_round(verdict.samples_needed)} more"
    if per_second:
        text += f" ({duration(max(1.0, round(verdict.samples_needed / per_second)))} at this rate)"
    return text


def _round(samples: int) -> int:
    """To tens, or two figures, so that a summary isn't rewritten at every look."""
    if samples < 10:
        return samples
    size = 10 ** max(1, len(str(samples)) - 2)
    return int(round(samples / size) * size)
