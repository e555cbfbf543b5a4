"""Label issues match cleanlab's, and the probe matches scikit-learn's."""

import numpy as np
import pytest
from cleanlab import filter as cleanlab
from sklearn.linear_model import LogisticRegression

from catdog.evaluation import label_check
from catdog.model.head import softmax


def clusters(classes: int, n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Features of unit length `(n, 64)` that separate most images by class, and labels `(n,)`."""
    rng = np.random.default_rng(classes)
    labels = np.arange(n) % classes
    features = rng.normal(size=(classes, 64))[labels] + 1.5 * rng.normal(size=(n, 64))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32), labels


def flipped(labels: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels with a share flipped, and which ones are flipped."""
    rng = np.random.default_rng(1)
    wrong = rng.random(len(labels)) < share
    return np.where(wrong, (labels + 1) % (labels.max() + 1), labels), wrong


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_probe_matches_scikit_learn(classes: int) -> None:
    features, labels = clusters(classes)
    weights, bias = label_check.fit_probe(features, labels, classes)
    usual = LogisticRegression(C=label_check.STRENGTH, max_iter=5000, tol=1e-6).fit(features, labels)
    assert softmax(features @ weights + bias) == pytest.approx(usual.predict_proba(features), abs=0.01)


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_the_same_labels_look_wrong_as_in_cleanlab(classes: int, share: float) -> None:
    features, labels = clusters(classes)
    given, wrong = flipped(labels, share)
    probabilities = label_check.out_of_sample(features, given, np.arange(len(given)))
    found = label_check.find_label_issues(given, probabilities)
    usual = cleanlab.find_label_issues(given, probabilities, n_jobs=1)
    assert (found != usual).mean() <= 0.01
    assert share == 0 or (found & wrong).sum() > 0.6 * wrong.sum()


def test_no_group_is_in_its_own_training_data() -> None:
    """All labels of a group with swapped labels look wrong, as no probe saw it."""
    features, labels = clusters(2)
    given, groups = labels.copy(), np.arange(len(labels))
    given[:50] = 1 - given[:50]
    groups[:50] = 0
    probabilities = label_check.out_of_sample(features, given, groups)
    assert (probabilities[:50].argmax(axis=1) != given[:50]).mean() > 0.8
    assert (probabilities[50:].argmax(axis=1) == given[50:]).mean() > 0.8


def test_a_class_with_one_image_has_a_probability() -> None:
    features, labels = clusters(2)
    rare = np.where(np.arange(len(labels)) == 0, 2, labels)
    probabilities = label_check.out_of_sample(features, rare, np.arange(len(rare)))
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(len(rare)), abs=1e-5)
    assert label_check.find_label_issues(rare, probabilities).dtype == bool
