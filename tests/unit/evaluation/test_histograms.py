import pytest

from catdog.evaluation.histograms import (
    LATENCY_BINS,
    SHARE_BINS,
    latency_bin,
    latency_percentiles,
    share_bin,
    share_histogram,
)


@pytest.mark.parametrize(("value", "number"), [(-0.1, 0), (0, 0), (0.049, 0), (0.05, 1), (0.999, 19), (1, 19), (2, 19)])
def test_shares_have_equal_bins(value: float, number: int) -> None:
    assert share_bin(value) == number


@pytest.mark.parametrize("milliseconds", [0.2, 1.0, 9.99, 123.4, 60_000.0])
def test_a_latency_falls_into_its_bin(milliseconds: float) -> None:
    assert latency_percentiles({latency_bin(milliseconds): 1})["p50"] == pytest.approx(milliseconds, rel=0.03)


def test_values_outside_the_bins_are_counted_at_the_ends() -> None:
    assert (latency_bin(0), latency_bin(1e9)) == (0, LATENCY_BINS - 1)


def test_percentiles_of_nothing() -> None:
    assert latency_percentiles({}) == {"n": 0}


def test_a_histogram_has_an_edge_more_than_bins() -> None:
    document = share_histogram({19: 3})
    assert (len(document["edges"]), document["edges"][-1]) == (SHARE_BINS + 1, 1.0)
    assert document["counts"] == [0] * 19 + [3]
