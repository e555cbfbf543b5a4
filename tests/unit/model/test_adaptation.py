"""Adapting a head: it learns new images and keeps old ones."""

import numpy as np
import pytest
from numpy.typing import NDArray

from catdog.model.adapt import Examples, adapt
from catdog.model.head import Head

RNG = np.random.default_rng(3)
CENTRES = RNG.normal(size=(3, 32)) * 2


def cluster(centre: int, count: int, seed: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(size=(count, 32))
    return (CENTRES[centre] + noise).astype(np.float32)


@pytest.fixture(scope="module")
def champion() -> Head:
    """A head that separates cluster 0 from cluster 1."""
    start = Head(
        RNG.normal(size=(32, 16)).astype(np.float32) * 0.1, np.zeros(16, np.float32),
        RNG.normal(size=(16, 2)).astype(np.float32) * 0.1, np.zeros(2, np.float32),
    )  # fmt: skip
    features = np.concatenate([cluster(0, 100, 1), cluster(1, 100, 2)])
    data = Examples(features, np.repeat([0, 1], 100), np.ones(200, bool))
    head = start
    for seed in range(4):
        head, _ = adapt(head, data, data, epochs=60, seed=seed)
    return head


def old(seed: int, count: int = 40) -> Examples:
    features = np.concatenate([cluster(0, count, seed), cluster(1, count, seed + 1)])
    return Examples(features, np.repeat([0, 1], count), np.zeros(2 * count, bool))


def with_new(known: Examples, features: NDArray[np.float32], label: int) -> Examples:
    return Examples(
        np.concatenate([known.features, features]),
        np.concatenate([known.labels, np.full(len(features), label)]),
        np.concatenate([known.is_new, np.ones(len(features), bool)]),
    )


def accuracy(head: Head, data: Examples) -> float:
    return float((head.probabilities(data.features).argmax(axis=1) == data.labels).mean())


def test_it_fixes_mistakes_and_keeps_correct_predictions(champion: Head) -> None:
    strange = cluster(2, 15, 9)
    wrong = 1 - int(np.bincount(champion.probabilities(strange).argmax(axis=1), minlength=2).argmax())
    train = with_new(old(20), strange, wrong)
    assert accuracy(champion, Examples(strange, np.full(15, wrong), np.ones(15, bool))) < 0.5
    head, history = adapt(champion, train, old(30), epochs=60)
    assert accuracy(head, Examples(strange, np.full(15, wrong), np.ones(15, bool))) > 0.9
    assert accuracy(head, old(40)) >= accuracy(champion, old(40))
    assert history.epochs[history.best_epoch - 1]["val_loss"] == min(e["val_loss"] for e in history.epochs)


def test_many_images_of_one_class_do_not_bias_predictions(champion: Head) -> None:
    head, _ = adapt(champion, with_new(old(20), cluster(0, 300, 11), 0), old(30))
    answered = head.probabilities(old(50).features).argmax(axis=1)
    assert np.bincount(answered).tolist() == [40, 40]


def test_the_same_seed_gives_the_same_weights(champion: Head) -> None:
    train = with_new(old(20), cluster(2, 5, 9), 1)
    first, second, other = (adapt(champion, train, old(30), epochs=3, seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first.hidden_weights, second.hidden_weights)
    assert not np.array_equal(first.hidden_weights, other.hidden_weights)


def test_it_stops_early_after_lowering_its_rate(champion: Head) -> None:
    head, history = adapt(champion, with_new(old(20), cluster(0, 10, 12), 0), old(30), epochs=500)
    assert len(history.epochs) < 500
    assert history.epochs[-1]["learning_rate"] < history.epochs[0]["learning_rate"]
    assert len(history.epochs) == history.best_epoch + 5
    assert accuracy(head, old(50)) == 1


def test_without_a_new_image_there_is_nothing_to_learn(champion: Head) -> None:
    with pytest.raises(ValueError, match="80 old ones"):
        adapt(champion, old(20), old(30))
