"""Curves on test images: ROC, precision-recall and reliability, thinned for JSON."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catdog.evaluation.histograms import SHARE_BINS
from catdog.evaluation.metrics import Labels, calibration_bins, roc_auc, wilson_interval

MOST_POINTS: Final = 200
"""Maximum points of a curve; more wouldn't show in a chart of 400 pixels."""

Rows = list[dict[str, Any]]


def roc(probabilities: NDArray[np.float64], labels: Labels, class_id: int) -> dict[str, Any] | None:
    """Return the ROC curve of a class against the rest.

    Returns:
        `points`, at most 200 pairs of false and true positive rate from (0, 0) to (1, 1), and the `auc`, from all
        points; None if all images are of the class or none is.
    """
    positive = labels == class_id
    if positive.all() or not positive.any():
        return None
    scores = probabilities[:, class_id]
    found, false = (np.concatenate([[0], counts]) for counts in _counts(positive, scores))
    bends = np.concatenate([[True], (np.diff(found, 2) != 0) | (np.diff(false, 2) != 0), [True]])
    found, false = found[bends], false[bends]
    return {"points": _thin(false / false[-1], found / found[-1]), "auc": roc_auc(positive, scores)}


def precision_recall(probabilities: NDArray[np.float64], labels: Labels, class_id: int) -> dict[str, Any] | None:
    """Return the precision-recall curve of a class against the rest.

    Returns:
        `points`, at most 200 pairs of recall and precision by rising recall, and the `average_precision`; None if no
        image is of the class.
    """
    positive = labels == class_id
    if not positive.any():
        return None
    found, false = _counts(positive, probabilities[:, class_id])
    recall = np.concatenate([[0], found / found[-1]])
    precision = np.concatenate([[1], found / (found + false)])
    average = float((np.diff(recall) * precision[1:]).sum())
    return {"points": _thin(recall, precision), "average_precision": average}


def reliability(probabilities: NDArray[np.float64], labels: Labels) -> Rows:
    """Return `metrics.calibration_bins` with Wilson's 95 % interval of the accuracy, `low` and `high`."""
    rows: Rows = []
    for found in calibration_bins(probabilities, labels):
        low, high = wilson_interval(round(found["accuracy"] * found["n"]), int(found["n"]))
        rows.append({**found, "low": low, "high": high})
    return rows


def confidence_histogram(probabilities: NDArray[np.float64], labels: Labels) -> dict[str, Any]:
    """Count `right` and `wrong` predictions in the 20 bins of confidence that the server uses too."""
    numbers = np.clip((probabilities.max(axis=1) * SHARE_BINS).astype(int), 0, SHARE_BINS - 1)
    is_right = probabilities.argmax(axis=1) == labels
    return {
        "right": np.bincount(numbers[is_right], minlength=SHARE_BINS).tolist(),
        "wrong": np.bincount(numbers[~is_right], minlength=SHARE_BINS).tolist(),
    }


def class_rates(matrix: NDArray[np.int64]) -> Rows:
    """Return precision and recall of each class with Wilson's 95 % interval, from the confusion matrix `(C, C)`.

    A class without images has no recall; one that is never predicted has no precision.
    """
    rows: Rows = []
    for class_id, right in enumerate(np.diag(matrix).tolist()):
        for measure, of in (("precision", matrix[:, class_id]), ("recall", matrix[class_id])):
            if n := int(of.sum()):
                low, high = wilson_interval(right, n)
                rows.append({"class": class_id, "measure": measure, "value": right / n, "low": low, "high": high})
    return rows


def _counts(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return cumulative counts of positives and negatives at each distinct score, highest first."""
    order = np.argsort(-scores, kind="stable")
    last_of_equals = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    found = np.cumsum(positive[order])[last_of_equals]
    return found, last_of_equals + 1 - found


def _thin(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[list[float]]:
    """Keep at most 200 points, evenly spaced along the curve, with both ends."""
    # By length, not by number: nearly all points of a good classifier lie in a corner.
    steps = np.hypot(np.diff(x), np.diff(y)) + 1 / (10 * len(x))
    along = np.concatenate([[0.0], np.cumsum(steps)])
    kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], MOST_POINTS)).clip(0, len(x) - 1))
    points: list[list[float]] = np.column_stack([x[kept], y[kept]]).round(5).tolist()
    return points
