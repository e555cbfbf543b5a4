from pathlib import Path

import numpy as np
import pytest
from drawing import draw, encode

from catdog.data.images.pixels import prepare_dataset
from catdog.model.head import softmax
from catdog.model.network import (
    calibrate,
    create_head,
    create_model,
    make_repeatable,
    read_head,
    train_model,
    write_head,
)


def blobs(n: int = 200, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Features of two classes around two points."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    return (labels[:, None] * 2.0 + rng.normal(0, noise, (n, 16))).astype(np.float32), labels


def test_the_network_has_the_specified_head() -> None:
    model = create_model(2, image_size=64, weights=None)
    described = [
        (layer.__class__.__name__, getattr(layer, "rate", getattr(layer, "units", None))) for layer in model.layers[-5:]
    ]
    assert described == [
        ("GlobalAveragePooling2D", None),
        ("Dropout", 0.5),
        ("Dense", 128),
        ("Dropout", 0.3),
        ("Dense", 2),
    ]
    assert [layer.activation.__name__ for layer in (model.layers[-3], model.layers[-1])] == ["relu", "softmax"]
    assert model.input_shape == (None, 64, 64, 3)
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trainable == 1280 * 128 + 128 + 128 * 2 + 2  # the backbone is frozen


@pytest.mark.slow
def test_training_on_images_changes_only_the_head_and_learns(weights: Path) -> None:
    pictures = [encode(draw(animal, i)) for i in range(12) for animal in ("cat", "dog")]
    labels = [0, 1] * 12
    model = create_model(2, image_size=96, weights=weights)
    before = model.layers[2].get_weights()
    batches = prepare_dataset(pictures, labels, batch_size=4, image_size=96, augment=True)
    check = prepare_dataset(pictures, labels, batch_size=4, image_size=96)
    history = train_model(model, batches, check, epochs=8)
    assert all((a == b).all() for a, b in zip(before, model.layers[2].get_weights(), strict=True))
    assert min(epoch["val_loss"] for epoch in history.epochs) < history.epochs[0]["val_loss"]
    assert model.predict(np.stack([check[0][0][0]]), verbose=0).sum() == pytest.approx(1)


def test_the_best_epoch_is_kept_and_checkpointed(tmp_path: Path) -> None:
    features, labels = blobs()
    make_repeatable(1)
    network = create_head(16, 2, learning_rate=0.05)
    history = train_model(
        network,
        (features, labels),
        (features[:50], labels[:50]),
        epochs=40,
        batch_size=32,
        checkpoint=tmp_path / "best.weights.h5",
    )
    best = history.epochs[history.best_epoch - 1]["val_loss"]
    assert network.evaluate(features[:50], labels[:50], verbose=0)[0] == pytest.approx(best, abs=1e-5)
    assert (tmp_path / "best.weights.h5").exists()


def test_early_stopping_and_learning_rate_follow_the_validation_loss() -> None:
    features, labels = blobs()
    network = create_head(16, 2)
    history = train_model(network, (features, labels), (features[:50], 1 - labels[:50]), epochs=30, batch_size=32)
    # Learning makes this validation loss worse: after the best epoch come five more, and the rate was halved.
    assert len(history.epochs) == history.best_epoch + 5 < 30
    assert history.epochs[-1]["learning_rate"] == pytest.approx(history.epochs[0]["learning_rate"] / 2)


def test_each_view_is_seen_in_each_epoch() -> None:
    features, labels = blobs(40)
    views = np.stack([features, features + 100], axis=1)
    network = create_head(16, 2)
    steps = []
    train_model(
        network, (views, labels), (features, labels), epochs=1, batch_size=16, on_epoch=lambda *a: steps.append(a)
    )
    assert int(network.optimizer.iterations) == 5  # 80 views in batches of 16
    assert steps[0][0] == 1
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= steps[0][1].keys()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_head() -> None:
    features, labels = blobs()
    heads = []
    for seed in (5, 5, 6):
        make_repeatable(seed)
        network = create_head(16, 2)
        train_model(network, (features, labels), (features, labels), epochs=2, batch_size=32, seed=seed)
        heads.append(read_head(network))
    assert (heads[0].hidden_weights == heads[1].hidden_weights).all()
    assert (heads[0].hidden_weights != heads[2].hidden_weights).any()


def test_head_arrays_predict_like_keras() -> None:
    features, _ = blobs()
    network = create_head(16, 3)
    head = read_head(network)
    assert np.allclose(head.probabilities(features), network.predict(features, verbose=0), atol=1e-5)
    other = create_head(16, 3)
    write_head(other, head)
    assert np.allclose(other.predict(features, verbose=0), network.predict(features, verbose=0), atol=1e-6)


def test_calibration_lowers_the_loss_of_an_overconfident_head() -> None:
    features, labels = blobs(2000, noise=6.0)
    network = create_head(16, 2)
    train_model(network, (features[:200], labels[:200]), (features[200:400], labels[200:400]), epochs=5, batch_size=16)
    head = read_head(network)
    write_head(network, head)
    sure = type(head)(head.hidden_weights, head.hidden_bias, head.output_weights * 6, head.output_bias * 6)
    calibrated, temperature = calibrate(sure, features[400:], labels[400:])

    def loss(candidate: object) -> float:
        chosen = softmax(candidate.logits(features[400:]))[np.arange(1600), labels[400:]]  # type: ignore[attr-defined]
        return float(-np.log(chosen).mean())

    assert temperature > 1.5
    assert loss(calibrated) < loss(sure)
    assert (calibrated.logits(features).argmax(1) == sure.logits(features).argmax(1)).all()


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"at least 2 classes, got 1"):
        create_model(1, weights=None)
    features, labels = blobs(20)
    with pytest.raises(ValueError, match="got epochs=0"):
        train_model(create_head(16, 2), (features, labels), (features, labels), epochs=0)
