"""Finds label issues by confident learning, on out-of-sample probabilities of a linear probe.

In NumPy, as every server needs it for retraining. cleanlab does the same, but requires scikit-learn, SciPy and pandas,
280 MB together. Tests compare the two.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catdog.model.head import softmax

FOLDS: Final = 5
STRENGTH: Final = 3.0
"""Inverse of the probe's L2 penalty on features of unit length; 3 and 10 find the same flips, 3 faster."""

MOST_STEPS: Final = 1000
TOLERANCE: Final = 3e-2
"""Largest entry of the gradient at convergence; it starts above 100 for 1,000 images."""

Probabilities = NDArray[np.float64]
Labels = NDArray[np.int64]


def find_label_issues(labels: Labels, probabilities: Probabilities) -> NDArray[np.bool_]:
    """Return which of N labels look wrong, by pruning by noise rate (https://arxiv.org/abs/1911.00068).

    Args:
        labels: `(N,)` in [0, C), some of each class.
        probabilities: `(N, C)`, out of sample.
    """
    noise = _count_noise(labels, probabilities)
    given = probabilities[np.arange(len(labels)), labels]
    issues = np.zeros(len(labels), bool)
    for label, true in zip(*np.nonzero(noise), strict=True):
        members = np.flatnonzero(labels == label)
        margins = probabilities[members, true] - given[members]
        issues[members[np.argsort(-margins, kind="stable")[: noise[label, true]]]] = True
    issues &= probabilities.argmax(axis=1) != labels
    return issues


def _count_noise(labels: Labels, probabilities: Probabilities) -> Labels:
    """Estimate the number of images by label and true class, `(C, C)`, with 0 on the diagonal."""
    classes = probabilities.shape[1]
    # An image counts for a class if its probability reaches the mean of images with that label.
    thresholds = np.array([probabilities[labels == c, c].mean() for c in range(classes)])
    confident = np.where(probabilities >= thresholds - 1e-6, probabilities, -1)
    counted = confident.max(axis=1) >= 0
    joint = np.zeros((classes, classes))
    np.add.at(joint, (labels[counted], confident[counted].argmax(axis=1)), 1)
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    per_label = np.bincount(labels, minlength=classes)
    noise: Labels = np.rint(joint / joint.sum(axis=1, keepdims=True) * per_label[:, None]).astype(np.int64)
    np.fill_diagonal(noise, 0)
    return noise


def out_of_sample(features: NDArray[Any], labels: Labels, groups: Labels) -> Probabilities:
    """Return probabilities `(N, C)`, each from a probe fitted without the image's group.

    Args:
        features: `(N, D)`, of unit length.
        labels: `(N,)` in [0, C), some of each class.
        groups: `(N,)`, numbers from 0.
    """
    classes = int(labels.max()) + 1
    folds = _assign_folds(labels, groups, classes)
    result = np.zeros((len(labels), classes))
    for fold in range(FOLDS):
        held_out = folds == fold
        if held_out.any():
            weights, bias = fit_probe(features[~held_out], labels[~held_out], classes)
            result[held_out] = softmax(features[held_out] @ weights + bias)
    return result


def _assign_folds(labels: Labels, groups: Labels, classes: int) -> Labels:
    """Return the fold of each image `(N,)`; groups stay together, and classes are spread evenly."""
    counts = np.zeros((groups.max() + 1, classes))
    np.add.at(counts, (groups, labels), 1)
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    # Large groups first, which are harder to balance; equal ones in random order.
    order = np.random.default_rng(0).permutation(len(counts))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    filled, fold_of = np.zeros((FOLDS, classes)), np.zeros(len(counts), np.int64)
    for group in order:
        fold = fold_of[group] = (filled @ shares[group]).argmin()
        filled[fold] += shares[group]
    return fold_of[groups]


def fit_probe(features: NDArray[Any], labels: Labels, classes: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Fit a multinomial logistic regression with an L2 penalty; return weights `(D, C)` and bias `(C,)`.

    By Nesterov's accelerated gradient with restarts (https://arxiv.org/abs/1204.3982), on centred features.
    """
    centre = features.mean(axis=0)
    centred = features - centre
    scale = _largest_singular_value(centred)
    constant = np.full((len(centred), 1), scale / len(centred) ** 0.5, centred.dtype)
    inputs = np.hstack([centred, constant])
    # With two classes, both columns of weights define one boundary, which is penalised once.
    strength = np.float32(STRENGTH / 2 if classes == 2 else STRENGTH)
    penalty = np.ones((inputs.shape[1], 1), np.float32)
    penalty[-1] = 0  # the bias
    truth = np.eye(classes, dtype=np.float32)[labels]
    step = np.float32(1 / (strength * scale**2 / 2 + 1))
    weights = ahead = np.zeros((inputs.shape[1], classes), np.float32)
    momentum = 1.0
    for _ in range(MOST_STEPS):
        gradient = strength * inputs.T @ (softmax(inputs @ ahead) - truth) + penalty * ahead
        if np.abs(gradient).max() < TOLERANCE:
            break
        moved = ahead - step * gradient
        if (gradient * (moved - weights)).sum() > 0:
            momentum = 1.0
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = moved + np.float32((momentum - 1) / following) * (moved - weights)
        weights, momentum = moved, following
    return ahead[:-1], ahead[-1] * constant[0, 0] - centre @ ahead[:-1]


def _largest_singular_value(matrix: NDArray[Any]) -> np.float32:
    """Return a close upper bound, by power iteration."""
    vector = np.ones(matrix.shape[1], np.float32) / matrix.shape[1] ** 0.5
    length = 0.0
    for _ in range(30):
        vector = matrix.T @ (matrix @ vector)
        length = float(np.linalg.norm(vector))
        if not length:
            break
        vector /= length
    return np.float32(1.1 * max(length, 1e-6) ** 0.5)
