"""Fits a head, its temperature and its novelty reference on cached features, and measures them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catdog.evaluation.measure import Mistake, surest_mistakes
from catdog.evaluation.metrics import compute_metrics, coverage_metrics
from catdog.features.embedding import Embedded
from catdog.model.head import Head
from catdog.model.network import History, calibrate, create_head, make_repeatable, read_head, train_model, write_head
from catdog.model.novelty import NoveltyReference, fit_novelty

MIN_CALIBRATION: Final = 100
"""Minimum validation images for fitting a temperature."""


@dataclass(frozen=True)
class Fitted:
    """A fitted head with its Keras model, novelty reference, history and temperature."""

    head: Head
    network: Any
    novelty: NoveltyReference
    history: History
    temperature: float


@dataclass(frozen=True)
class Measured:
    """Probabilities for N test images `(N, C)`, which predictions are correct `(N,)`, metrics and mistakes."""

    probabilities: NDArray[np.float32]
    correct: NDArray[np.bool_]
    metrics: dict[str, Any]
    mistakes: tuple[Mistake, ...]


def fit(
    train: Embedded,
    validation: Embedded,
    classes: int,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    on_epoch: Callable[[int], None] | None = None,
) -> Fitted:
    """Fit the head on training features, then its temperature and the novelty reference; repeatable by `seed`.

    Validation images choose the epoch, the temperature and the novelty threshold, and are used for nothing else.
    """
    make_repeatable(seed)
    network = create_head(train.vectors.shape[-1], classes)
    history = train_model(
        network,
        (train.vectors, train.labels),
        (validation.vectors, validation.labels),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        on_epoch=(lambda epoch, _: on_epoch(epoch)) if on_epoch else None,
    )
    head, temperature = read_head(network), 1.0
    if len(validation.labels) >= MIN_CALIBRATION:
        head, temperature = calibrate(head, validation.vectors[:, 0], validation.labels)
        write_head(network, head)
    novelty = fit_novelty(train.vectors[:, 0], validation.vectors[:, 0], seed=seed)
    return Fitted(head, network, novelty, history, temperature)


def measure(fitted: Fitted, test: Embedded, classes: Sequence[str], unsure_below: float) -> Measured:
    """Measure a fitted head on test features, as `evaluation.evaluate` measures a saved version."""
    probabilities = fitted.head.probabilities(test.vectors[:, 0])
    correct = probabilities.argmax(axis=1) == test.labels
    answered = (fitted.novelty.distances(test.vectors[:, 0]) <= fitted.novelty.threshold) & (
        probabilities.max(axis=1) >= unsure_below
    )
    metrics = {
        **compute_metrics(probabilities, test.labels, classes),
        **coverage_metrics(answered, correct),
    }
    paths = [str(image.path) for image in test.pictures]
    return Measured(probabilities, correct, metrics, surest_mistakes(probabilities, test.labels, paths, classes))
