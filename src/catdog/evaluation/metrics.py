"""Metrics with intervals, calibration, coverage, and the comparison of two versions."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catdog.data.labels import display_name, probability_key
from catdog.text import counted

ECE_BINS: Final = 15
SIGNIFICANCE: Final = 0.05
_QUANTILE: Final = 1.959963984540054
"""Quantile of the normal distribution for a central 95 % interval."""

Probabilities = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Comparison:
    """Two versions on `n` images: how many only the champion, and only the challenger, classified correctly.

    `p_value` is from McNemar's exact test (https://doi.org/10.1007/BF02295996), whose null hypothesis is that neither
    is better.
    """

    n: int
    only_champion: int
    only_challenger: int
    p_value: float

    @property
    def significantly_worse(self) -> bool:
        """Whether the challenger is significantly worse, at the 5 % level."""
        return self.only_champion > self.only_challenger and self.p_value < SIGNIFICANCE

    def __str__(self) -> str:
        return (
            f"fixes {self.only_challenger} and breaks {self.only_champion} of {counted(self.n, 'test image')} "
            f"(McNemar's exact test, p = {self.p_value:.3g})"
        )


@dataclass(frozen=True)
class Measure:
    """A metric with its meaning and, if it is a share of `n` images, its 95 % interval."""

    name: str
    value: float
    meaning: str
    interval: tuple[float, float] | None = None
    n: int | None = None


def compute_metrics(probabilities: Probabilities, labels: Labels, classes: Sequence[str]) -> dict[str, Any]:
    """Compute metrics of predictions.

    Args:
        probabilities: `(N, C)`, rows sum to 1.
        labels: `(N,)` in [0, C).
        classes: C folder names.

    Returns:
        `n`, `accuracy`, `accuracy_ci` (Wilson, 95 %), `precision`, `recall`, `f1_score` (macro over present classes),
        `per_class`, `loss` (cross-entropy, nats), `brier` (in [0, 2]; for two classes halved, as is usual), `ece`
        (expected calibration error, 15 bins), `roc_auc` (macro, one against the rest; None if a class is missing),
        `confusion_matrix` (rows: true classes).

    Raises:
        ValueError: no images, or shapes that don't fit.
    """
    if len(labels) == 0 or probabilities.shape != (len(labels), len(classes)):
        raise ValueError(
            f"Metrics need at least one image and (N, {len(classes)}) probabilities, got {len(labels)} labels and "
            f"{probabilities.shape}"
        )
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    matrix = confusion_matrix(exact, labels)
    right, support, answered = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    precision, recall = _ratio(right, answered), _ratio(right, support)
    f1 = _ratio(2 * right, support + answered)
    present = support > 0
    names = [probability_key(name) for name in classes]
    return {
        "n": len(labels),
        "accuracy": float(right.sum() / len(labels)),
        "accuracy_ci": wilson_interval(int(right.sum()), len(labels)),
        "precision": float(precision[present].mean()),
        "recall": float(recall[present].mean()),
        "f1_score": float(f1[present].mean()),
        "per_class": {
            name: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1_score": float(f1[i]),
                "support": int(support[i]),
            }
            for i, name in enumerate(names)
        },
        "loss": float(-np.log(np.clip(exact[np.arange(len(labels)), labels], 1e-12, 1)).mean()),
        "brier": brier_score(exact, labels),
        "ece": expected_calibration_error(exact, labels),
        "roc_auc": _mean_roc_auc(exact, labels),
        "confusion_matrix": matrix.tolist(),
    }


def coverage_metrics(answered: NDArray[np.bool_], correct: NDArray[np.bool_]) -> dict[str, Any]:
    """Return `coverage`, the share of images whose verdict is a class, and `selective_accuracy`, their accuracy."""
    selective = float(correct[answered].mean()) if answered.any() else None
    return {"coverage": float(answered.mean()), "selective_accuracy": selective}


def wilson_interval(successes: int, n: int) -> list[float]:
    """Return Wilson's 95 % interval of a share (https://doi.org/10.1080/01621459.1927.10502953)."""
    share, weight = successes / n, _QUANTILE**2 / n
    middle = (share + weight / 2) / (1 + weight)
    reach = (weight * (share * (1 - share) + weight / 4)) ** 0.5 / (1 + weight)
    return [max(0.0, middle - reach), min(1.0, middle + reach)]


def measures(metrics: Mapping[str, Any], classes: Sequence[str]) -> list[Measure]:
    """List the metrics of a version with these classes, shares with Wilson's interval; missing ones are left out."""
    n = int(metrics.get("n", 0))
    answered = round(metrics.get("coverage", 0) * n)
    found = [
        _share("accuracy", metrics, "accuracy", n, "test images whose most probable class is correct"),
        _share("coverage", metrics, "coverage", n, "test images with a class as verdict, not neither or unsure"),
        _share("selective accuracy", metrics, "selective_accuracy", answered, "accuracy on images with such a verdict"),
        *_by_class(metrics, classes),
    ]
    rest = {
        "roc_auc": ("ROC AUC", "1 if every image of a class ranks above all others"),
        "f1_score": ("F1, mean of classes", "harmonic mean of precision and recall"),
        "ece": ("calibration error", "mean difference between confidence and accuracy; 0 is best"),
        "brier": ("Brier score", "mean squared error of the probabilities; 0 is best"),
        "loss": ("cross-entropy", "loss minimised in training; 0 is best"),
    }
    found += [
        Measure(name, metrics[key], meaning) for key, (name, meaning) in rest.items() if metrics.get(key) is not None
    ]
    return [measure for measure in found if measure is not None]


def _share(name: str, metrics: Mapping[str, Any], key: str, n: int, meaning: str) -> Measure | None:
    if metrics.get(key) is None or n < 1:
        return None
    low, high = wilson_interval(round(metrics[key] * n), n)
    return Measure(name, metrics[key], meaning, (low, high), n)


def _by_class(metrics: Mapping[str, Any], classes: Sequence[str]) -> Iterator[Measure]:
    """Yield recall and precision of each class, from the confusion matrix (rows: true classes)."""
    matrix = np.array(metrics.get("confusion_matrix", []), np.int64).reshape(-1, len(classes) or 1)
    for i, name in enumerate(map(display_name, classes) if len(matrix) else ()):
        right, true, answered = int(matrix[i, i]), int(matrix[i].sum()), int(matrix[:, i].sum())
        for kind, n, meaning in (
            ("recall", true, f"test images of {name} predicted as {name}"),
            ("precision", answered, f"test images predicted as {name} that are {name}"),
        ):
            if n:
                low, high = wilson_interval(right, n)
                yield Measure(f"{kind} of {name}", right / n, meaning, (low, high), n)


def brier_score(probabilities: NDArray[np.float64], labels: Labels) -> float:
    """Return the mean squared error of probabilities `(N, C)`, halved for two classes."""
    truth = np.eye(probabilities.shape[1])[labels]
    score = float(((probabilities - truth) ** 2).sum(axis=1).mean())
    return score / 2 if probabilities.shape[1] == 2 else score


def calibration_bins(probabilities: NDArray[Any], labels: Labels, bins: int = ECE_BINS) -> list[dict[str, float]]:
    """Return the non-empty bins of confidence: from, to, n, mean confidence, accuracy."""
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    numbers = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {
            "from": i / bins,
            "to": (i + 1) / bins,
            "n": int((numbers == i).sum()),
            "confidence": float(confidence[numbers == i].mean()),
            "accuracy": float(correct[numbers == i].mean()),
        }
        for i in np.unique(numbers)
    ]


def expected_calibration_error(probabilities: NDArray[Any], labels: Labels) -> float:
    """Return the mean difference of confidence and accuracy over 15 bins (https://arxiv.org/abs/1706.04599)."""
    bins = calibration_bins(probabilities, labels)
    return sum(b["n"] * abs(b["confidence"] - b["accuracy"]) for b in bins) / len(labels)


def compare(champion_correct: NDArray[np.bool_], challenger_correct: NDArray[np.bool_]) -> Comparison:
    """Compare two versions by McNemar's exact test on the same images, `(N,)` each.

    Raises:
        ValueError: the shapes differ.
    """
    if champion_correct.shape != challenger_correct.shape:
        raise ValueError(
            f"Both need predictions for the same images, got {champion_correct.shape} and {challenger_correct.shape}"
        )
    only_champion = int((champion_correct & ~challenger_correct).sum())
    only_challenger = int((challenger_correct & ~champion_correct).sum())
    p_value = _sign_test(only_champion, only_challenger)
    return Comparison(len(champion_correct), only_champion, only_challenger, p_value)


def _sign_test(one: int, other: int) -> float:
    """Return the two-sided p-value of an exact sign test."""
    n = one + other
    tail = sum(math.comb(n, k) for k in range(min(one, other) + 1))
    chance: float = 2 * tail / 2**n
    return min(1.0, chance)


def confusion_matrix(probabilities: NDArray[Any], labels: Labels) -> NDArray[np.int64]:
    """Count images `(C, C)` by true class (rows) and predicted class, from probabilities `(N, C)`."""
    classes = probabilities.shape[1]
    cells = labels * classes + probabilities.argmax(axis=1)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def roc_auc(positive: NDArray[np.bool_], scores: NDArray[Any]) -> float:
    """Return the probability that a positive scores higher than a negative; ties count half. Both must be present.

    See https://doi.org/10.1148/radiology.143.1.7063747.
    """
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # equal scores have the mean of their ranks
    above = int(positive.sum())
    pairs = above * (len(positive) - above)
    return float((ranks[place][positive].sum() - above * (above + 1) / 2) / pairs)


def _mean_roc_auc(probabilities: NDArray[np.float64], labels: Labels) -> float | None:
    classes = probabilities.shape[1]
    if classes < 2 or len(np.unique(labels)) < classes:
        return None
    if classes == 2:
        return roc_auc(labels == 1, probabilities[:, 1])
    return float(np.mean([roc_auc(labels == i, probabilities[:, i]) for i in range(classes)]))


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """Divide counts; the result is 0 for a zero denominator."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
