"""The gate: versions that pass or fail, with a reason."""

import numpy as np
import pytest
from numpy.typing import NDArray

from catdog.evaluation.gate import Verdict, judge


def answers(labels: NDArray[np.int64], wrong: list[int], confidence: float = 0.97) -> NDArray[np.float32]:
    """Predict images of two classes, all correctly except those in `wrong`."""
    chosen = labels.copy()
    chosen[wrong] = 1 - chosen[wrong]
    probabilities = np.full((len(labels), 2), 1 - confidence, np.float32)
    probabilities[np.arange(len(labels)), chosen] = confidence
    return probabilities


def verdict(champion_wrong: list[int], challenger_wrong: list[int], n: int = 400, confidence: float = 0.97) -> Verdict:
    labels = np.arange(n) % 2
    before, after = answers(labels, champion_wrong), answers(labels, challenger_wrong, confidence)
    return judge(before, after, labels, ("cats", "dogs"), "version 3")


def test_an_equal_and_a_better_version_pass_with_a_reason() -> None:
    assert verdict([1, 2], [1, 2]).passed
    better = verdict(list(range(20)), [])
    assert better.passed
    assert better.reason.startswith("not significantly worse than version 3: fixes 20 and breaks 0 of 400 test images")


def test_a_significantly_worse_one_is_refused() -> None:
    refused = verdict([], [0, 1, 2, 3, 4, 5])
    assert not refused.passed
    assert refused.reason.startswith("significantly worse than version 3")
    assert refused.comparison.p_value < 0.05
    assert verdict([], [0, 1, 2, 3]).passed  # p = 0.125: that may be chance


def test_a_class_that_loses_over_two_points_of_recall_fails_the_gate() -> None:
    cats, dogs = list(range(0, 400, 2)), list(range(1, 400, 2))
    refused = verdict(dogs[:5], cats[:5])
    assert not refused.passed
    assert "recall of cat falls from 100.0% to 97.5%" in refused.reason
    assert verdict(dogs[:4], cats[:4]).passed


def test_one_of_few_test_images_may_be_lost() -> None:
    assert verdict([], [0], n=20).passed
    assert not verdict([1], [0, 2], n=20).passed


@pytest.mark.parametrize(("confidence", "passed"), [(0.97, True), (0.86, False)])
def test_calibration_must_not_get_worse(confidence: float, passed: bool) -> None:
    found = verdict(list(range(20)), list(range(20)), confidence=confidence)
    assert found.passed is passed
    assert passed or "calibration error" in found.reason
