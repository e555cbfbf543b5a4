import numpy as np
import pytest

from catdog.evaluation.metrics import (
    calibration_bins,
    compare,
    compute_metrics,
    coverage_metrics,
    expected_calibration_error,
    measures,
    wilson_interval,
)

PROBABILITIES = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7], [0.95, 0.05]], np.float32)
LABELS = np.array([0, 0, 0, 1, 1])


def test_metrics_match_a_calculation_by_hand() -> None:
    metrics = compute_metrics(PROBABILITIES, LABELS, ["cats", "dogs"])
    assert metrics["n"] == 5
    assert metrics["accuracy"] == pytest.approx(3 / 5)
    assert metrics["confusion_matrix"] == [[2, 1], [1, 1]]
    assert metrics["per_class"]["cat"] == {
        "precision": pytest.approx(2 / 3),
        "recall": pytest.approx(2 / 3),
        "f1_score": pytest.approx(2 / 3),
        "support": 3,
    }
    assert metrics["precision"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert metrics["loss"] == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.7, 0.05]).mean(), abs=1e-6)
    assert metrics["brier"] == pytest.approx(np.mean([0.01, 0.04, 0.36, 0.09, 0.9025]), abs=1e-6)
    assert metrics["roc_auc"] == pytest.approx(3 / 6)  # of six cat-dog pairs three are in the right order


def test_three_classes_and_a_missing_one() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]], np.float32)
    complete = compute_metrics(probabilities, np.array([0, 1, 2]), ["a", "b", "c"])
    assert (complete["accuracy"], complete["roc_auc"]) == (1.0, 1.0)
    missing = compute_metrics(probabilities[:2], np.array([0, 1]), ["a", "b", "c"])
    assert missing["roc_auc"] is None
    assert missing["recall"] == 1.0
    assert missing["per_class"]["c"]["support"] == 0


def test_wilson_interval_matches_the_published_form() -> None:
    n, k, z = 988, 976, 1.959963984540054
    p = k / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    assert wilson_interval(k, n) == pytest.approx([middle - half, middle + half])


def test_calibration_error_is_zero_if_calibrated_and_large_if_overconfident() -> None:
    probabilities = np.tile(np.array([[0.75, 0.25]], np.float32), (400, 1))
    right = (np.arange(400) % 4 == 0).astype(int)
    assert expected_calibration_error(probabilities, right) == pytest.approx(0, abs=1e-6)
    boasting = np.tile(np.array([[1.0, 0.0]], np.float32), (400, 1))
    assert expected_calibration_error(boasting, right) == pytest.approx(0.25)


def test_mcnemar_is_exact() -> None:
    champion = np.array([True] * 90 + [True] * 9 + [False])
    challenger = np.array([True] * 90 + [False] * 9 + [True])
    comparison = compare(champion, challenger)
    assert (comparison.only_champion, comparison.only_challenger) == (9, 1)
    assert comparison.p_value == pytest.approx(2 * (1 + 10) / 2**10)
    assert comparison.significantly_worse
    assert not compare(challenger, champion).significantly_worse
    assert compare(champion, champion).p_value == 1.0


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        compute_metrics(PROBABILITIES[:0], LABELS[:0], ["cats", "dogs"])
    with pytest.raises(ValueError, match="same images"):
        compare(np.array([True]), np.array([True, False]))


def test_every_answer_is_in_one_calibration_bin() -> None:
    bins = calibration_bins(PROBABILITIES, LABELS)
    assert sum(b["n"] for b in bins) == 5
    assert all(b["from"] <= b["confidence"] <= b["to"] for b in bins)


def test_coverage_counts_what_was_answered() -> None:
    answered = np.array([True, True, False, True])
    assert coverage_metrics(answered, np.array([True, False, False, True])) == {
        "coverage": 0.75,
        "selective_accuracy": pytest.approx(2 / 3),
    }
    assert coverage_metrics(np.zeros(3, bool), np.ones(3, bool))["selective_accuracy"] is None


def test_measures_have_the_interval_of_their_own_counts() -> None:
    probabilities = np.array([[0.9, 0.1]] * 8 + [[0.2, 0.8]] * 12, np.float32)
    labels = np.array([0] * 6 + [1] * 14)
    found = {m.name: m for m in measures(compute_metrics(probabilities, labels, ["cats", "dogs"]), ["cats", "dogs"])}
    assert found["accuracy"].value == pytest.approx(18 / 20)
    assert found["accuracy"].interval == pytest.approx(tuple(wilson_interval(18, 20)))
    assert (found["recall of Cat"].value, found["recall of Cat"].n) == (1, 6)
    assert (found["precision of Cat"].value, found["precision of Cat"].n) == (6 / 8, 8)
    assert found["recall of Dog"].interval == pytest.approx(tuple(wilson_interval(12, 14)))
    assert found["cross-entropy"].interval is None
    assert measures({}, ["cats", "dogs"]) == []
