"""Fitting a head that exists already to new images, so that it keeps what it knows; without TensorFlow.

`model.train_model` fits a new head from nothing, in Keras. Here the champion's head is the start, and a thousand or ten
thousand cached features are all there is: importing TensorFlow would take longer than this whole fit in NumPy. Network
and training are the same: dropout 0.5 and 0.3, Adam, early stopping with patience 5, the learning rate halved after 3
epochs without progress, the best epoch kept.

What is kept in memory of the old images is pulled towards the champion's answers rather than to the labels alone
(learning without forgetting, https://arxiv.org/abs/1606.09282; with stored examples, https://arxiv.org/abs/1904.07734),
which also keeps its calibration.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catdog.model.head import Floats, Head, softmax
from catdog.model.network import DROPOUT, PLATEAU_FACTOR, PLATEAU_PATIENCE, STOP_PATIENCE, History

LEARNING_RATE: Final = 3e-4
"""Adam's at the start. With the starter, 1,000 features of its memory and 100 new images, of which 10 were answered
wrongly: at 1e-4 it learnt 8 of the 10, at 3e-4 all; either way one of 983 test images was lost."""

DISTILLED: Final = 0.9
"""Share of the champion's answer in what an old image is to be answered; the rest is its label."""

BATCH: Final = 256
_DECAY: Final = (0.9, 0.999)  # Adam's, as in Keras
_EPSILON: Final = 1e-7


@dataclass(frozen=True)
class Examples:
    """Features `(N, D)` and labels `(N,)` of images; `is_new` `(N,)` marks those that the head wasn't fitted on."""

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
    """Fit `head` to old and new images, each class with the same weight; repeatable by `seed`.

    An epoch is as good as its loss on old validation images plus its loss on the new training images: what is to be
    kept, and what is to be learnt. Epoch 0, the head as it is, is the start and is never the best.

    Args:
        head: the champion's.
        train: images to fit on; at least one new one.
        validation: images that are in no gradient; their old ones judge what is kept.
        epochs: most epochs.
        seed: of shuffling and dropout.
        on_epoch: called with the epoch's number, from 1.

    Raises:
        ValueError: no new image.
    """
    if not train.is_new.any():
        raise ValueError(f"At least one new picture is needed. Received: {len(train.labels)} old ones")
    features, targets = train.features.astype(np.float32), _targets(head, train)
    weights, optimizer = _balance(train.labels, len(head.output_bias)), _Adam(head)
    judge = _Judge(head, train, validation)
    history, best = History(), head
    stalled = since_reduction = 0
    for epoch in range(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(len(features))
        loss = 0.0
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            rng = np.random.default_rng([seed, epoch, start])
            loss += optimizer.step(features[chosen], targets[chosen], weights[chosen], rng)
        figures = judge.measure(optimizer.head)
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
    """Return what each image is to be answered, `(N, C)`: its label; where the head was right, mostly as it did."""
    truth = np.eye(len(head.output_bias), dtype=np.float32)[examples.labels]
    answers = head.probabilities(examples.features)
    known = ~examples.is_new & (answers.argmax(axis=1) == examples.labels)
    truth[known] = DISTILLED * answers[known] + (1 - DISTILLED) * truth[known]
    return truth


def _balance(labels: NDArray[np.int64], classes: int) -> Floats:
    """Weigh images `(N,)` so that each class that occurs counts the same, 1 on average."""
    counts = np.bincount(labels, minlength=classes)
    weights: Floats = (len(labels) / (np.count_nonzero(counts) * counts[labels])).astype(np.float32)
    return weights


class _Judge:
    """Measures a head: what it keeps on old validation images, and what it learnt of the new training images."""

    def __init__(self, head: Head, train: Examples, validation: Examples) -> None:
        old = ~validation.is_new
        kept = validation if old.any() else train  # without any old image apart, those that are fitted on
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
                answers = head.probabilities(features)
                figures["val_loss"] += _cross_entropy(answers, targets)
                if labels is not None:
                    figures["val_accuracy"] = float((answers.argmax(axis=1) == labels).mean())
        return figures


class _Adam:
    """A head under training, by Adam (https://arxiv.org/abs/1412.6980) on the weighted cross-entropy."""

    def __init__(self, head: Head) -> None:
        self.rate = LEARNING_RATE
        self._weights = [array.copy() for array in vars(head).values()]
        self._first = [np.zeros_like(array) for array in self._weights]
        self._second = [np.zeros_like(array) for array in self._weights]
        self._steps = 0

    @property
    def head(self) -> Head:
        """The head as it is now, a copy."""
        return Head(*(array.copy() for array in self._weights))

    def step(self, features: Floats, targets: Floats, weights: Floats, rng: np.random.Generator) -> float:
        """Take one step on a batch, `(B, D)`, `(B, C)` and `(B,)`; gives the sum of its losses."""
        hidden_weights, hidden_bias, output_weights, output_bias = self._weights
        # Which features are dropped: a bit each, since half of them are (drawing floats takes as long as the step).
        bits = np.unpackbits(np.frombuffer(rng.bytes(-(-features.size // 8)), np.uint8))[: features.size]
        inputs = features * bits.reshape(features.shape) * np.float32(1 / (1 - DROPOUT[0]))
        before = inputs @ hidden_weights + hidden_bias
        kept = (rng.random(before.shape, np.float32) >= DROPOUT[1]) * (before > 0) * np.float32(1 / (1 - DROPOUT[1]))
        hidden = before * kept
        answers = softmax(hidden @ output_weights + output_bias)
        error = (answers - targets) * (weights / len(features))[:, np.newaxis]
        behind = (error @ output_weights.T) * kept
        self._update([inputs.T @ behind, behind.sum(axis=0), hidden.T @ error, error.sum(axis=0)])
        return _cross_entropy(answers, targets) * len(features)

    def _update(self, gradients: list[Floats]) -> None:
        self._steps += 1
        rate = np.float32(self.rate * np.sqrt(1 - _DECAY[1] ** self._steps) / (1 - _DECAY[0] ** self._steps))
        parts = zip(self._weights, self._first, self._second, gradients, strict=True)
        for weights, first, second, gradient in parts:
            first += (1 - _DECAY[0]) * (gradient - first)
            second += (1 - _DECAY[1]) * (np.square(gradient) - second)
            weights -= rate * first / (np.sqrt(second) + _EPSILON)


def _cross_entropy(answers: Floats, targets: Floats) -> float:
    return float(-(targets * np.log(np.maximum(answers, 1e-12))).sum(axis=1).mean())
