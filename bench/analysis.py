"""The figures of canary analysis, by the code that judges real canaries: python bench/analysis.py [runs]

False verdicts and canary requests needed, over simulated rollouts; then what a fold costs and a state weighs.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from canary_simulation import Outcome, Scenario, run
from slipway.rollout import analysis
from slipway.rollout.analysis import Table

ANY = Scenario(0.01, 0.01, max_increase=0.0)
CLUMPED = Scenario(0.01, 0.01, per_interval=150, intervals=60, correlation=0.01)
SCENARIOS = {
    "no difference, 1 %, any increase fails": ANY,
    "  with an incident of both arms": replace(ANY, incident=(40, 60)),
    "  errors in clumps (correlation .01)": replace(CLUMPED, max_increase=0.0),
    "no difference, none fails": Scenario(0.0, 0.0),
    "no difference, 0.1 %": Scenario(0.001, 0.001),
    "no difference, 1 %": Scenario(0.01, 0.01),
    "no difference, 3 %": Scenario(0.03, 0.03),
    "no difference, 1 %, 20:80": Scenario(0.01, 0.01, stable_times=4),
    "no difference, 1 %, margin 0.02": Scenario(0.01, 0.01, max_increase=0.02),
    "1 -> 2 %, any increase fails": Scenario(0.02, 0.01, max_increase=0.0),
    "1 -> 3 %": Scenario(0.03, 0.01),
    "1 -> 5 %": Scenario(0.05, 0.01),
    "1 -> 10 %": Scenario(0.10, 0.01),
    "worse by the margin, 0 -> 1 %": Scenario(0.01, 0.0),
    "worse by the margin, 1 -> 2 %": Scenario(0.02, 0.01),
    "  with an incident of both arms ": replace(Scenario(0.02, 0.01), incident=(40, 60)),
    "  errors in clumps (correlation .01) ": replace(CLUMPED, canary_rate=0.02),
}


def main(runs: int) -> None:
    first = Scenario(0, 0)
    print(
        f"{runs} runs each; {first.per_interval:g} canary requests an interval (150 where in clumps), stable "
        f"{first.stable_times:g} times that, at most {first.intervals} intervals; margin {first.max_increase}, "
        f"rollback at {first.alpha}, promotion at {first.promote_alpha}\n"
    )
    print(f"{'':44} {'Fail %':>7} {'median':>7} {'p90':>7}   {'Pass %':>7} {'median':>7} {'p90':>7}")
    for name, scenario in SCENARIOS.items():
        print(f"{name:44} {_row(run(scenario, runs))}")
    print()
    for title, table in (
        ("60 + 240 requests, no bad one", Table(60, 0, 240, 0)),
        ("60 + 240 requests, 4 bad", Table(60, 1, 240, 3)),
        ("1,000,000 requests, 59,000 bad", Table(500_000, 30_000, 500_000, 29_000)),
    ):
        fold, judge = _cost(table)
        print(f"{title:44} fold {fold:6.0f} µs   judge {judge:4.0f} µs")
    state = analysis.start(0.01)
    for _ in range(60):
        state = analysis.fold(state, Table(61, 1, 243, 3))
    print(
        f"state of one metric after 60 intervals       {len(json.dumps(state.to_json(), separators=(',', ':')))} bytes"
    )


def _row(outcome: Outcome) -> str:
    def counts(found: float, median: float, p90: float) -> str:
        shown = [f"{value:.0f}" if value != float("inf") else "-" for value in (median, p90)]
        return f"{100 * found:7.2f} {shown[0]:>7} {shown[1]:>7}"

    fails = counts(outcome.failed, outcome.fail_quantile(0.5), outcome.fail_quantile(0.9))
    passes = counts(outcome.passed, outcome.pass_quantile(0.5), outcome.pass_quantile(0.9))
    return f"{fails}   {passes}"


def _cost(table: Table, times: int = 100) -> tuple[float, float]:
    state = analysis.fold(analysis.start(0.01), table)
    begin = perf_counter()
    for _ in range(times):
        analysis.fold(state, table)
    middle = perf_counter()
    for _ in range(times):
        analysis.judge(state, 0.01, 0.0025, 0.05)
    return (middle - begin) / times * 1e6, (perf_counter() - middle) / times * 1e6


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4000)
