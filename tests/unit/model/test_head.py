from pathlib import Path

import numpy as np
import pytest

from catdog.errors import VersionCorruptError
from catdog.model.head import Head, softmax


@pytest.fixture
def head() -> Head:
    rng = np.random.default_rng(0)
    shapes = ((20, 8), (8,), (8, 3), (3,))
    return Head(*(rng.normal(size=shape).astype(np.float32) for shape in shapes))


def test_probabilities_sum_to_one_for_one_or_many(head: Head) -> None:
    features = np.random.default_rng(1).normal(size=(5, 20)).astype(np.float16)
    many = head.probabilities(features)
    assert many.shape == (5, 3)
    assert np.allclose(many.sum(axis=1), 1)
    assert np.allclose(head.probabilities(features[2]), many[2], atol=1e-6)


def test_softmax_does_not_overflow() -> None:
    assert softmax(np.array([1e4, 0.0], np.float32)).tolist() == [1.0, 0.0]


def test_saving_and_loading_gives_the_same_head(head: Head, tmp_path: Path) -> None:
    head.save(tmp_path / "head.npz")
    loaded = Head.load(tmp_path / "head.npz")
    assert all((getattr(loaded, name) == getattr(head, name)).all() for name in vars(head))


def test_a_damaged_head_is_refused(head: Head, tmp_path: Path) -> None:
    path = tmp_path / "head.npz"
    with pytest.raises(VersionCorruptError):
        Head.load(path)
    path.write_bytes(b"not an archive")
    with pytest.raises(VersionCorruptError):
        Head.load(path)
    np.savez(path, hidden_weights=head.hidden_weights)
    with pytest.raises(VersionCorruptError):
        Head.load(path)
    Head(head.hidden_weights, head.hidden_bias[:-1], head.output_weights, head.output_bias).save(path)
    with pytest.raises(VersionCorruptError, match="don't fit together"):
        Head.load(path)


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    names = ("hidden_weights", "hidden_bias", "output_weights", "output_bias")
    np.savez(tmp_path / "head.npz", **{name: np.array([{}], dtype=object) for name in names}, allow_pickle=True)
    with pytest.raises(VersionCorruptError):
        Head.load(tmp_path / "head.npz")


def test_the_gradient_is_that_of_the_lead_over_the_other_classes(head: Head) -> None:
    rng = np.random.default_rng(2)
    exact = [array.astype(np.float64) for array in vars(head).values()]

    def lead(features: np.ndarray, class_id: int) -> float:
        logits = np.maximum(features @ exact[0] + exact[1], 0) @ exact[2] + exact[3]
        return float(logits[class_id] - np.delete(logits, class_id).mean())

    for class_id in range(3):
        features = rng.normal(size=20)
        steps = 1e-6 * np.eye(20)
        numerical = [(lead(features + s, class_id) - lead(features - s, class_id)) / 2e-6 for s in steps]
        gradient = head.gradient(features, class_id)
        assert (gradient.shape, gradient.dtype) == ((20,), np.float32)
        assert np.allclose(gradient, numerical, rtol=1e-3, atol=1e-4)
