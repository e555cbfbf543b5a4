"""Answers of a model that was never trained, and the figures that follow from them."""

from typing import Any

import numpy as np

from catdog.evaluation.charts.figures import Figures
from catdog.evaluation.diagnostics import assess
from catdog.evaluation.metrics import compute_metrics


def answers(n: int = 400, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Answers that are right in about 85 of 100 cases: probabilities `(n, 2)` and labels `(n,)`."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    lead = rng.normal(1.0, 1.0, n) * np.where(labels == 1, 1, -1)
    share = 1 / (1 + np.exp(-2 * lead))
    return np.column_stack([1 - share, share]).astype(np.float32), labels


def made_figures(**more: Any) -> Figures:
    probabilities, labels = answers()
    classes = ("cats", "dogs")
    metadata = {
        "classes": classes,
        "metrics": compute_metrics(probabilities, labels, classes),
        "history": [{"loss": 0.5, "val_loss": 0.6, "accuracy": 0.8, "val_accuracy": 0.7}] * 3,
        "data": {"counts": {"train": {"cats": 30, "dogs": 10}, "test": {"cats": 5, "dogs": 5}, "validation": {}}},
    }
    pictures = [(f"{i:064x}", f"test/{classes[label]}/{i}.jpg") for i, label in enumerate(labels)]
    return Figures.of_version(metadata, assess(probabilities, labels, pictures), more)
