"""Figures of merit: metrics with intervals, calibration, coverage, and one version against another."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catdog.data.labels import probability_key
from catdog.text import counted

ECE_BINS: Final = 15
SIGNIFICANCE: Final = 0.05
_QUANTILE: Final = 1.959963984540054
"""Of the normal distribution, for 95 % around its middle."""

Probabilities = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Comparison:
    """Two versions on the same images: how many only the champion, and only the challenger, got right.

    `p_value` is that of McNemar's exact test (https://doi.org/10.1007/BF02295996); None of `champion` and
    `challenger` being better is its null hypothesis.
    """

    n: int
    only_champion: int
    only_challenger: int
    p_value: float

    @property
    def significantly_worse(self) -> bool:
        """Whether the challenger is worse by more than chance explains, at the 5 % level."""
        return self.only_champion > self.only_challenger and self.p_value < SIGNIFICANCE

    def __str__(self) -> str:
        return (
            f"on {counted(self.n, 'test picture')} the challenger alone is right on {self.only_challenger}, "
            f"the champion alone on {self.only_champion} (McNemar's exact test, p = {self.p_value:.3g})"
        )


@dataclass(frozen=True)
class Measure:
    """A figure of merit of a version, its 95 % interval where it is a share of `n` images, and what it says."""

    name: str
    value: float
    meaning: str
    interval: tuple[float, float] | None = None
    n: int | None = None


def compute_metrics(probabilities: Probabilities, labels: Labels, classes: Sequence[str]) -> dict[str, Any]:
    """Measure answers against labels.

    Args:
        probabilities: `(N, C)`, rows sum to 1.
        labels: `(N,)` in [0, C).
        classes: C folder names.

    Returns:
        `n`, `accuracy`, `accuracy_ci` (Wilson, 95 %), `precision`, `recall`, `f1_score` (macro over the classes that
        occur), `per_class`, `loss` (cross-entropy, nats), `brier` (squared distance of the probabilities from the
        truth, in [0, 2]; halved for two classes, where that is the usual form), `ece` (expected calibration error,
        15 bins), `roc_auc` (macro, one against the rest; None where a class is missing), `confusion_matrix` (rows:
        true classes).

    Raises:
        ValueError: no images, or shapes that don't fit.
    """
    if len(labels) == 0 or probabilities.shape != (len(labels), len(classes)):
        raise ValueError(
            f"At least one picture and (N, {len(classes)}) probabilities are needed. "
            f"Received: {len(labels)} labels and {probabilities.shape}"
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
    """Return how many of N images get a class for a verdict, and how right these are.

    Returns:
        `coverage`, the share answered, in [0, 1], and `selective_accuracy`, the accuracy on them; None where none is.
    """
    selective = float(correct[answered].mean()) if answered.any() else None
    return {"coverage": float(answered.mean()), "selective_accuracy": selective}


def wilson_interval(successes: int, n: int) -> list[float]:
    """Return Wilson's 95 % interval of a share (https://doi.org/10.1080/01621459.1927.10502953)."""
    share, weight = successes / n, _QUANTILE**2 / n
    middle = (share + weight / 2) / (1 + weight)
    reach = (weight * (share * (1 - share) + weight / 4)) ** 0.5 / (1 + weight)
    return [max(0.0, middle - reach), min(1.0, middle + reach)]


def measures(metrics: Mapping[str, Any]) -> list[Measure]:
    """List what a version's `metrics` hold, shares with Wilson's interval; what is missing is left out."""
    n = int(metrics.get("n", 0))
    answered = round(metrics.get("coverage", 0) * n)
    found = [
        _share("accuracy", metrics, "accuracy", n, "test pictures whose likeliest class is right"),
        _share("coverage", metrics, "coverage", n, "test pictures that get a class, and not neither or unsure"),
        _share(
            "accuracy where answered", metrics, "selective_accuracy", answered, "the same, of those that get a class"
        ),
        *_by_class(metrics),
    ]
    rest = {
        "roc_auc": ("ROC AUC", "1 where every picture of a class is put above all others"),
        "f1_score": ("F1, mean of classes", "harmonic mean of precision and recall"),
        "ece": ("calibration error", "how far confidence is from the share that is right; 0 is best"),
        "brier": ("Brier score", "mean squared distance of the probabilities; 0 is best"),
        "loss": ("cross-entropy", "what training makes small; 0 is best"),
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


def _by_class(metrics: Mapping[str, Any]) -> Iterator[Measure]:
    """Return recall and precision of each class, from the confusion matrix: true classes down, answered ones across."""
    matrix = np.array(metrics.get("confusion_matrix", []), np.int64).reshape(-1, len(metrics.get("per_class", {})) or 1)
    for i, name in enumerate(metrics.get("per_class", {}) if len(matrix) else {}):
        right, true, answered = int(matrix[i, i]), int(matrix[i].sum()), int(matrix[:, i].sum())
        for kind, n, meaning in (
            ("recall", true, f"test pictures of {name} that are called so"),
            ("precision", answered, f"test pictures called {name} that are"),
        ):
            if n:
                low, high = wilson_interval(right, n)
                yield Measure(f"{kind} of {name}", right / n, meaning, (low, high), n)


def brier_score(probabilities: NDArray[np.float64], labels: Labels) -> float:
    """Return the mean squared distance of probabilities `(N, C)` from the truth; halved for two classes."""
    truth = np.eye(probabilities.shape[1])[labels]
    score = float(((probabilities - truth) ** 2).sum(axis=1).mean())
    return score / 2 if probabilities.shape[1] == 2 else score


def calibration_bins(probabilities: NDArray[Any], labels: Labels, bins: int = ECE_BINS) -> list[dict[str, float]]:
    """Sort answers by confidence into equal bins; of each non-empty one: from, to, n, mean confidence, accuracy."""
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
    """Average, over 15 equal bins of confidence, how far confidence and accuracy are apart.

    https://arxiv.org/abs/1706.04599
    """
    bins = calibration_bins(probabilities, labels)
    return sum(b["n"] * abs(b["confidence"] - b["accuracy"]) for b in bins) / len(labels)


def compare(champion_correct: NDArray[np.bool_], challenger_correct: NDArray[np.bool_]) -> Comparison:
    """Compare two versions by McNemar's exact test on the same images, `(N,)` each.

    Raises:
        ValueError: not as many answers of one as of the other.
    """
    if champion_correct.shape != challenger_correct.shape:
        raise ValueError(
            f"Both need answers for the same pictures. Received: {champion_correct.shape}, {challenger_correct.shape}"
        )
    only_champion = int((champion_correct & ~challenger_correct).sum())
    only_challenger = int((challenger_correct & ~champion_correct).sum())
    p_value = _sign_test(only_champion, only_challenger)
    return Comparison(len(champion_correct), only_champion, only_challenger, p_value)


def _sign_test(one: int, other: int) -> float:
    """Return the chance that fair coins fall at least as unevenly, to either side."""
    n = one + other
    tail = sum(math.comb(n, k) for k in range(min(one, other) + 1))
    chance: float = 2 * tail / 2**n
    return min(1.0, chance)


def confusion_matrix(probabilities: NDArray[Any], labels: Labels) -> NDArray[np.int64]:
    """Count images `(C, C)` by true class, down, and by the likeliest of their probabilities `(N, C)`, across."""
    classes = probabilities.shape[1]
    cells = labels * classes + probabilities.argmax(axis=1)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def roc_auc(positive: NDArray[np.bool_], scores: NDArray[Any]) -> float:
    """Return how often a positive has a higher score than a negative; a tie counts half.

    https://doi.org/10.1148/radiology.143.1.7063747. There must be some of each.
    """
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # equal scores share the mean of their ranks
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
    """Divide counts; 0 if there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
