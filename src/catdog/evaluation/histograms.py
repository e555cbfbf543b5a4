"""Bins that values are counted in: fixed, so that counts of several processes and hours can be added up."""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

SHARE_BINS: Final = 20
"""Equal bins of [0, 1], for confidence and novelty."""

LATENCY_FROM_MS: Final = 0.1
LATENCY_GROWTH: Final = 1.05
"""Each bin of latency is 5 % wider than the one before: its middle is within 2.5 % of all that lies in it."""

LATENCY_BINS: Final = 300
"""Up to 0.1 ms * 1.05^300 = 227 seconds; what takes longer is counted as that."""

PERCENTILES: Final = (50, 95, 99)
_STEP: Final = math.log(LATENCY_GROWTH)


def share_bin(value: float) -> int:
    """Number the bin of a value in [0, 1]; what lies outside is counted at the end."""
    return min(max(int(value * SHARE_BINS), 0), SHARE_BINS - 1)


def latency_bin(milliseconds: float) -> int:
    """Number the bin of a latency."""
    if milliseconds <= LATENCY_FROM_MS:
        return 0
    return min(int(math.log(milliseconds / LATENCY_FROM_MS) / _STEP), LATENCY_BINS - 1)


def share_histogram(counts: Mapping[int, int]) -> dict[str, list[Any]]:
    """Return `edges`, one more than bins, and `counts` of values in [0, 1], ready for JSON."""
    edges = [round(number / SHARE_BINS, 4) for number in range(SHARE_BINS + 1)]
    return {"edges": edges, "counts": [counts.get(number, 0) for number in range(SHARE_BINS)]}


def latency_percentiles(counts: Mapping[int, int]) -> dict[str, float | int]:
    """Return `n` and, where that isn't 0, `p50`, `p95` and `p99` in milliseconds, each within 2.5 %.

    Args:
        counts: how many latencies lie in each bin of `latency_bin`.
    """
    n = sum(counts.values())
    if n == 0:
        return {"n": 0}
    return {"n": n, **{f"p{percent}": round(_percentile(counts, n * percent / 100), 2) for percent in PERCENTILES}}


def _percentile(counts: Mapping[int, int], rank: float) -> float:
    """Return the middle of the bin in which the value of that rank lies."""
    reached = np.cumsum([count for _, count in sorted(counts.items())])
    number = sorted(counts)[int(np.searchsorted(reached, rank))]
    return float(LATENCY_FROM_MS * LATENCY_GROWTH ** (number + 0.5))
