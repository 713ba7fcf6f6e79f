"""The edges of every latency histogram: one fixed 1.2 ladder, the same in Envoy, in analysis and in status.

A change of these edges makes counters of before and after incomparable, so they are no setting.
"""

from bisect import bisect_left

FIRST_MS = 0.5
STEP = 1.2
EDGES = 65

LADDER_MS: tuple[float, ...] = tuple(float(f"{FIRST_MS * STEP**k:.2g}") for k in range(EDGES))
"""Upper edges in ms, with two digits, as fine as Envoy's histograms are: 0.5, 0.6, 0.72, ... 58000."""


def edge_at_or_above(threshold_ms: float) -> float:
    """The edge an SLO of `threshold_ms` is judged at: it rounds up; beyond the ladder its last edge."""
    index = bisect_left(LADDER_MS, threshold_ms)
    return LADDER_MS[min(index, EDGES - 1)]


def edge_below(edge_ms: float) -> float:
    """Lower edge of the bucket that ends at `edge_ms` (inf: the bucket above the last edge)."""
    index = bisect_left(LADDER_MS, edge_ms)
    return LADDER_MS[index - 1] if index else 0.0
