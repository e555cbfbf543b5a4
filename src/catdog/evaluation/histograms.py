"""Fixed bins for counting values, so counts of several processes and hours can be added."""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

SHARE_BINS: Final = 20
"""Equal bins of [0, 1], for confidence and novelty."""

LATENCY_FROM_MS: Final = 0.1
LATENCY_GROWTH: Final = 1.05
"""Each latency bin is 5 % wider than the one before, so its middle is within 2.5 % of its values."""

LATENCY_BINS: Final = 300
"""Up to 0.1 ms * 1.05^300 = 227 seconds; the last bin includes longer ones."""

PERCENTILES: Final = (50, 95, 99)
_STEP: Final = math.log(LATENCY_GROWTH)


def share_bin(value: float) -> int:
    """Return the bin of a value in [0, 1]; values outside are counted in the first or last."""
    return min(max(int(value * SHARE_BINS), 0), SHARE_BINS - 1)


def latency_bin(milliseconds: float) -> int:
    """Return the bin of a latency."""
    if milliseconds <= LATENCY_FROM_MS:
        return 0
    return min(int(math.log(milliseconds / LATENCY_FROM_MS) / _STEP), LATENCY_BINS - 1)


def share_histogram(counts: Mapping[int, int]) -> dict[str, list[Any]]:
    """Return `edges`, one more than bins, and `counts` of values in [0, 1], ready for JSON."""
    edges = [round(number / SHARE_BINS, 4) for number in range(SHARE_BINS + 1)]
    return {"edges": edges, "counts": [counts.get(number, 0) for number in range(SHARE_BINS)]}


def latency_percentiles(counts: Mapping[int, int]) -> dict[str, float | int]:
    """Return `n` and, unless it is 0, `p50`, `p95` and `p99` in milliseconds, each within 2.5 %.

    Args:
        counts: number of latencies by `latency_bin`.
    """
    n = sum(counts.values())
    if n == 0:
        return {"n": 0}
    return {"n": n, **{f"p{percent}": round(_percentile(counts, n * percent / 100), 2) for percent in PERCENTILES}}


def _percentile(counts: Mapping[int, int], rank: float) -> float:
    """Return the middle of the bin with the value of a rank."""
    reached = np.cumsum([count for _, count in sorted(counts.items())])
    number = sorted(counts)[int(np.searchsorted(reached, rank))]
    return float(LATENCY_FROM_MS * LATENCY_GROWTH ** (number + 0.5))
