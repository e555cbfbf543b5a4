"""The assessment of a version's test predictions: curves, bins and example images.

It is saved with a version as `assessment.json`. For older versions, `assess_version` computes it from the test features
in the replay memory.
"""

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catdog.errors import VersionCorruptError
from catdog.evaluation import curves
from catdog.evaluation.metrics import confusion_matrix
from catdog.registry.store import ModelVersion

EXAMPLES_PER_CELL: Final = 24
"""Images listed per cell of the confusion matrix."""

MOST_EXAMPLES: Final = 500

Assessment = dict[str, Any]


def assess(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], images: Sequence[tuple[str, str]]
) -> Assessment:
    """Compare predictions with labels, ready for JSON.

    Args:
        probabilities: `(N, C)`, rows sum to 1; N at least 1.
        labels: `(N,)` in [0, C).
        images: SHA-256 and path in the data set of each image.

    Returns:
        `n`; `rates`: precision and recall by class with intervals; `roc`, `precision_recall`: a curve per class, or
        None; `reliability`: bins of confidence; `confidence`: histograms of correct and wrong predictions; `examples`:
        images of each cell of the confusion matrix, first wrong predictions by falling confidence, then correct ones
        by rising confidence.
    """
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    numbers = range(exact.shape[1])
    return {
        "n": len(labels),
        "rates": curves.class_rates(confusion_matrix(exact, labels)),
        "roc": [curves.roc(exact, labels, class_id) for class_id in numbers],
        "precision_recall": [curves.precision_recall(exact, labels, class_id) for class_id in numbers],
        "reliability": curves.reliability(exact, labels),
        "confidence": curves.confidence_histogram(exact, labels),
        "examples": _examples(exact, labels, images),
    }


def assess_version(version: ModelVersion) -> Assessment | None:
    """Assess a version on the test features in its replay memory; None if it has none.

    Raises:
        VersionCorruptError: its head can't be read.
    """
    try:
        replay = version.replay()
    except VersionCorruptError:
        return None
    tested = replay.select("test") if replay else None
    if tested is None or not len(tested.labels):
        return None
    paths = {row["sha256"]: row["path"] for row in version.manifest()}
    images = [(sha256, paths.get(sha256, "")) for sha256 in tested.sha256.tolist()]
    return assess(version.load_head().probabilities(tested.features), tested.labels, images)


class Assessments:
    """Caches the assessment of the last requested version; thread-safe."""

    def __init__(self) -> None:
        self._last: tuple[ModelVersion, Assessment] | None = None
        self._lock = threading.Lock()

    def get(self, version: ModelVersion) -> Assessment:
        """Return a version's stored or computed assessment; empty if it has neither.

        Raises:
            VersionCorruptError: the version can't be read for computing it.
        """
        with self._lock:
            if self._last is None or self._last[0] != version:
                held = version.assessment()
                if held is None and version.has_replay:
                    held = assess_version(version)
                self._last = version, held or {}
            return self._last[1]


def _examples(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], images: Sequence[tuple[str, str]]
) -> list[dict[str, Any]]:
    answered, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    is_right = answered == labels
    order = np.lexsort((np.where(is_right, confidence, -confidence), is_right))
    listed: Counter[tuple[int, int]] = Counter()
    examples: list[dict[str, Any]] = []
    for i in order.tolist():
        cell = int(labels[i]), int(answered[i])
        if listed[cell] < EXAMPLES_PER_CELL and len(examples) < MOST_EXAMPLES:
            listed[cell] += 1
            sha256, path = images[i]
            shares = probabilities[i].round(5).tolist()
            path = path.encode("utf-8", "backslashreplace").decode()  # file names may be any bytes
            found = {"sha256": sha256, "path": path, "true": cell[0], "answered": cell[1], "probabilities": shares}
            examples.append(found)
    return examples
