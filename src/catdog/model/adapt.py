"""Adapts the champion's head to new images without forgetting the old ones; in NumPy.

`train_model` fits a new head in Keras. This fit starts from the champion's head and has at most ten thousand cached
features; importing TensorFlow would take longer than the fit. Network and training are the same: dropout 0.5 and 0.3,
Adam, early stopping with patience 5, the learning rate halved after 3 epochs without progress, the best epoch kept.

Targets of old images are mostly the champion's predictions rather than labels, which also preserves its calibration
(learning without forgetting, https://arxiv.org/abs/1606.09282; with replay, https://arxiv.org/abs/1904.07734).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catdog.model.head import Floats, Head, softmax
from catdog.model.network import DROPOUT, PLATEAU_FACTOR, PLATEAU_PATIENCE, STOP_PATIENCE, History

LEARNING_RATE: Final = 3e-4
"""Adam's initial rate. With the bundled model, 1,000 replayed features and 100 new images, 10 of them misclassified:
1e-4 fixed 8 of the 10, 3e-4 all; both lost one of 983 test images."""

DISTILLED: Final = 0.9
"""Share of the champion's prediction in the target of an old image; the rest is its label."""

BATCH: Final = 256
_DECAY: Final = (0.9, 0.999)  # Adam's, as in Keras
_EPSILON: Final = 1e-7


@dataclass(frozen=True)
class Examples:
    """Features `(N, D)` and labels `(N,)` of images; `is_new` `(N,)` marks images the champion wasn't trained on."""

    features: NDArray[Any]
    labels: NDArray[np.int64]
    is_new: NDArray[np.bool_]


def adapt(
    head: Head,
    train: Examples,
    validation: Examples,
    *,
    epochs: int = 30,
    seed: int = 42,
    on_epoch: Callable[[int], None] | None = None,
) -> tuple[Head, History]:
    """Fit `head` to old and new images, with equal weight per class; repeatable by `seed`.

    The best epoch has the lowest sum of the loss on old validation images and the loss on new training images.

    Args:
        head: the champion's.
        train: images to fit on; at least one new one.
        validation: images not used for gradients; the old ones measure forgetting.
        epochs: maximum epochs.
        seed: of shuffling and dropout.
        on_epoch: called with the epoch's number, from 1.

    Raises:
        ValueError: no new image.
    """
    if not train.is_new.any():
        raise ValueError(f"Adapting needs at least one new image, got {len(train.labels)} old ones")
    features, targets = train.features.astype(np.float32), _targets(head, train)
    weights, optimizer = _balance(train.labels, len(head.output_bias)), _Adam(head)
    criterion = _Criterion(head, train, validation)
    history, best = History(), head
    stalled = since_reduction = 0
    for epoch in range(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(len(features))
        loss = 0.0
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            rng = np.random.default_rng([seed, epoch, start])
            loss += optimizer.step(features[chosen], targets[chosen], weights[chosen], rng)
        figures = criterion.measure(optimizer.head)
        is_best = figures["val_loss"] < min((e["val_loss"] for e in history.epochs), default=np.inf)
        history.epochs.append({"loss": loss / len(order), **figures, "learning_rate": optimizer.rate})
        if on_epoch:
            on_epoch(epoch + 1)
        if is_best:
            best, stalled, since_reduction = optimizer.head, 0, 0
            continue
        stalled, since_reduction = stalled + 1, since_reduction + 1
        if since_reduction == PLATEAU_PATIENCE:
            optimizer.rate, since_reduction = optimizer.rate * PLATEAU_FACTOR, 0
        if stalled == STOP_PATIENCE:
            break
    return best, history


def _targets(head: Head, examples: Examples) -> Floats:
    """Return target probabilities `(N, C)`: labels, blended with correct predictions of `head` for old images."""
    targets = np.eye(len(head.output_bias), dtype=np.float32)[examples.labels]
    predicted = head.probabilities(examples.features)
    known = ~examples.is_new & (predicted.argmax(axis=1) == examples.labels)
    targets[known] = DISTILLED * predicted[known] + (1 - DISTILLED) * targets[known]
    return targets


def _balance(labels: NDArray[np.int64], classes: int) -> Floats:
    """Return weights of images `(N,)`, 1 on average, that give each present class the same total."""
    counts = np.bincount(labels, minlength=classes)
    weights: Floats = (len(labels) / (np.count_nonzero(counts) * counts[labels])).astype(np.float32)
    return weights


class _Criterion:
    """Measures a head by its loss on old validation images and on new training images."""

    def __init__(self, head: Head, train: Examples, validation: Examples) -> None:
        old = ~validation.is_new
        kept = validation if old.any() else train  # no old validation images: use the training images
        rows = ~kept.is_new
        self._parts = [
            (kept.features[rows].astype(np.float32), _targets(head, kept)[rows], kept.labels[rows]),
            (train.features[train.is_new].astype(np.float32), _targets(head, train)[train.is_new], None),
        ]

    def measure(self, head: Head) -> dict[str, float]:
        """Return `val_loss`, the sum of both losses, and `val_accuracy` on the old images."""
        figures = {"val_loss": 0.0, "val_accuracy": 1.0}
        for features, targets, labels in self._parts:
            if len(features):
                predicted = head.probabilities(features)
                figures["val_loss"] += _cross_entropy(predicted, targets)
                if labels is not None:
                    figures["val_accuracy"] = float((predicted.argmax(axis=1) == labels).mean())
        return figures


class _Adam:
    """Trains a head by Adam (https://arxiv.org/abs/1412.6980) on the weighted cross-entropy."""

    def __init__(self, head: Head) -> None:
        self.rate = LEARNING_RATE
        self._weights = [array.copy() for array in vars(head).values()]
        self._first = [np.zeros_like(array) for array in self._weights]
        self._second = [np.zeros_like(array) for array in self._weights]
        self._steps = 0

    @property
    def head(self) -> Head:
        """A copy of the current head."""
        return Head(*(array.copy() for array in self._weights))

    def step(self, features: Floats, targets: Floats, weights: Floats, rng: np.random.Generator) -> float:
        """Take one step on a batch, `(B, D)`, `(B, C)` and `(B,)`; return the sum of its losses."""
        hidden_weights, hidden_bias, output_weights, output_bias = self._weights
        # Dropout at 0.5 needs one random bit per feature; drawing floats would take as long as the step.
        bits = np.unpackbits(np.frombuffer(rng.bytes(-(-features.size // 8)), np.uint8))[: features.size]
        inputs = features * bits.reshape(features.shape) * np.float32(1 / (1 - DROPOUT[0]))
        before = inputs @ hidden_weights + hidden_bias
        kept = (rng.random(before.shape, np.float32) >= DROPOUT[1]) * (before > 0) * np.float32(1 / (1 - DROPOUT[1]))
        hidden = before * kept
        predicted = softmax(hidden @ output_weights + output_bias)
        error = (predicted - targets) * (weights / len(features))[:, np.newaxis]
        hidden_error = (error @ output_weights.T) * kept
        self._update([inputs.T @ hidden_error, hidden_error.sum(axis=0), hidden.T @ error, error.sum(axis=0)])
        return _cross_entropy(predicted, targets) * len(features)

    def _update(self, gradients: list[Floats]) -> None:
        self._steps += 1
        rate = np.float32(self.rate * np.sqrt(1 - _DECAY[1] ** self._steps) / (1 - _DECAY[0] ** self._steps))
        parts = zip(self._weights, self._first, self._second, gradients, strict=True)
        for weights, first, second, gradient in parts:
            first += (1 - _DECAY[0]) * (gradient - first)
            second += (1 - _DECAY[1]) * (np.square(gradient) - second)
            weights -= rate * first / (np.sqrt(second) + _EPSILON)


def _cross_entropy(predicted: Floats, targets: Floats) -> float:
    return float(-(targets * np.log(np.maximum(predicted, 1e-12))).sum(axis=1).mean())
