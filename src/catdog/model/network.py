"""The whole network in Keras, and fitting a head on features.

Keras and TensorFlow are imported inside functions only, so the server never loads them.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catdog.data.images.pixels import IMAGE_SIZE, PictureBatches
from catdog.features.frameworks import import_keras
from catdog.features.weights import IMAGENET, build_keras_backbone, download_imagenet, scale_pixels
from catdog.model.head import Head, softmax
from catdog.settings import load_settings

HIDDEN_UNITS: Final = 128
DROPOUT: Final = (0.5, 0.3)
STOP_PATIENCE: Final = 5
PLATEAU_PATIENCE: Final = 3
PLATEAU_FACTOR: Final = 0.5
LEARNING_RATE: Final = 7e-4
"""Adam's initial rate. In cross-validation on 7,193 photographs, 5e-4 and 1e-3 differ by less than the noise
(cross-entropy 0.0309 and 0.0301); decoupled weight decay and averaged weights were worse."""

STEPS_PER_EXECUTION: Final = 8
"""Training steps per backend call: 1.6 times faster than single steps, with the same weights."""

Features = NDArray[Any]
Labels = NDArray[np.int64]


@dataclass
class History:
    """Figures of each epoch: `loss`, `accuracy`, `val_loss`, `val_accuracy`, `learning_rate`."""

    epochs: list[dict[str, float]] = field(default_factory=list)

    @property
    def best_epoch(self) -> int:
        """Number, from 1, of the epoch with the lowest validation loss, whose weights were kept."""
        return 1 + int(np.argmin([epoch["val_loss"] for epoch in self.epochs]))


def create_model(
    classes: int = 2,
    *,
    image_size: int = IMAGE_SIZE,
    weights: str | Path | None = IMAGENET,
    trainable_backbone: bool = False,
) -> Any:
    """Build the whole Keras network, compiled: pixels to probabilities.

    `(N, size, size, 3) in [0, 255]` -> scale to [-1, 1] -> MobileNetV2 -> GlobalAveragePooling2D -> Dropout 0.5 ->
    Dense 128 ReLU -> Dropout 0.3 -> Dense softmax -> `(N, classes) float32`.

    Args:
        classes: 2 or more.
        image_size: side in pixels.
        weights: `"imagenet"` (downloaded once), the path of a weights file, or None for random weights.
        trainable_backbone: whether training changes the backbone too.

    Raises:
        ValueError: fewer than 2 classes.
        BackboneError: the weights don't fit.
        DownloadError: the ImageNet weights can't be downloaded.
    """
    if classes < 2:
        raise ValueError(f"A model needs at least 2 classes, got {classes}")
    keras = import_keras()
    if weights == IMAGENET:
        settings = load_settings()
        weights = download_imagenet(settings.weights_url, settings.models_dir)
    network = build_keras_backbone(None if weights is None else Path(weights), image_size)
    network.trainable = trainable_backbone
    pixels = keras.Input((image_size, image_size, 3), name="pixels")
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(network(scale_pixels(keras)(pixels), training=False))
    return _compiled(keras, keras.Model(pixels, _head_layers(keras, pooled, classes), name="catdog"), LEARNING_RATE)


def create_head(features: int, classes: int, *, learning_rate: float = LEARNING_RATE) -> Any:
    """Build the layers of `create_model` after pooling, compiled: `(N, features)` -> `(N, classes)`."""
    keras = import_keras()
    vector = keras.Input((features,), name="features")
    head = keras.Model(vector, _head_layers(keras, vector, classes), name="head")
    return _compiled(keras, head, learning_rate, STEPS_PER_EXECUTION)


def train_model(
    model: Any,
    train: PictureBatches | tuple[Features, Labels],
    validation: PictureBatches | tuple[Features, Labels],
    *,
    epochs: int = 30,
    batch_size: int = 256,
    seed: int = 42,
    checkpoint: Path | None = None,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> History:
    """Fit a compiled model with early stopping, learning-rate reduction and checkpointing.

    Training stops after 5 epochs without a lower validation loss, and halves the learning rate after 3. The best epoch
    is restored at the end. The same seed and data give the same weights.

    Args:
        model: a model from `create_model` or `create_head`.
        train: batches of images, or features `(N, D)` or `(N, V, D)` with labels `(N,)`. An epoch uses each view of
            each image once.
        validation: batches of images, or features `(M, D)` or `(M, V, D)`; only the first view counts.
        epochs: maximum epochs, at least 1.
        batch_size: features per step; batches of images have their own size.
        seed: of shuffling, dropout and the choice of views.
        checkpoint: file for the best weights, `.weights.h5`; a temporary one by default.
        on_epoch: called with the epoch's number, from 1, and its figures.
    """
    keras = import_keras()
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"Epochs and batch size must be at least 1, got epochs={epochs}, batch_size={batch_size}")
    history = History()

    def record(epoch: int, logs: dict[str, float]) -> None:
        history.epochs.append({name: float(value) for name, value in logs.items()})
        if on_epoch:
            on_epoch(epoch + 1, history.epochs[-1])

    with tempfile.TemporaryDirectory() as temporary:
        best = checkpoint or Path(temporary) / "best.weights.h5"
        callbacks = [
            keras.callbacks.EarlyStopping(monitor="val_loss", patience=STOP_PATIENCE),
            keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=PLATEAU_FACTOR, patience=PLATEAU_PATIENCE),
            keras.callbacks.ModelCheckpoint(best, monitor="val_loss", save_best_only=True, save_weights_only=True),
            keras.callbacks.LambdaCallback(on_epoch_end=record),
        ]
        model.fit(
            _shuffled(keras, train, batch_size, seed),
            validation_data=_unshuffled(keras, validation, batch_size),
            epochs=epochs,
            callbacks=callbacks,
            shuffle=False,  # the data set shuffles, by the seed
            verbose=0,
        )
        model.load_weights(best)
    return history


def make_repeatable(seed: int) -> None:
    """Seed Keras, NumPy and the backend, and enable deterministic kernels. Call before building a model."""
    keras = import_keras()
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def read_head(model: Any) -> Head:
    """Return the head of a Keras model whose last layers are the head."""
    dense = [layer for layer in model.layers if layer.__class__.__name__ == "Dense"]
    (hidden_weights, hidden_bias), (output_weights, output_bias) = (layer.get_weights() for layer in dense[-2:])
    return Head(hidden_weights, hidden_bias, output_weights, output_bias)


def write_head(model: Any, head: Head) -> None:
    """Write a head's weights into a Keras model whose last layers are the head."""
    dense = [layer for layer in model.layers if layer.__class__.__name__ == "Dense"]
    dense[-2].set_weights([head.hidden_weights, head.hidden_bias])
    dense[-1].set_weights([head.output_weights, head.output_bias])


def calibrate(head: Head, features: Features, labels: Labels) -> tuple[Head, float]:
    """Calibrate a head's confidence on held-out features `(M, D)`, by temperature scaling.

    See https://arxiv.org/abs/1706.04599; the temperature is fitted by cross-entropy.

    Returns:
        The calibrated head and the temperature, in [0.25, 8]; above 1, the head was overconfident.
    """
    # The temperature goes into the last layer, so the head, its Keras model and every export agree.
    logits = head.logits(features)

    def loss(temperature: float) -> float:
        chosen = softmax(logits / np.float32(temperature))[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(chosen, 1e-12)).mean())

    temperature = _minimum(loss, 0.25, 8.0)
    scale = np.float32(temperature)
    return (
        Head(head.hidden_weights, head.hidden_bias, head.output_weights / scale, head.output_bias / scale),
        temperature,
    )


def _minimum(function: Callable[[float], float], low: float, high: float) -> float:
    """Return the minimum of a unimodal function on [low, high], by golden-section search."""
    ratio, tolerance = (5**0.5 - 1) / 2, 1e-6 * (high - low)
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > tolerance:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = function(right)
    return (low + high) / 2


def _head_layers(keras: Any, pooled: Any, classes: int) -> Any:
    x = keras.layers.Dropout(DROPOUT[0], name="dropout_features")(pooled)
    x = keras.layers.Dense(HIDDEN_UNITS, activation="relu", name="hidden")(x)
    x = keras.layers.Dropout(DROPOUT[1], name="dropout_hidden")(x)
    return keras.layers.Dense(classes, activation="softmax", name="probabilities")(x)


def _compiled(keras: Any, model: Any, learning_rate: float, steps_per_execution: int = 1) -> Any:
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=steps_per_execution,
    )
    return model


def _unshuffled(keras: Any, data: PictureBatches | tuple[Features, Labels], batch_size: int) -> Any:
    if isinstance(data, PictureBatches):
        return _batched(keras, len(data), lambda _, index: data[index])
    features, labels = data
    features = (features[:, 0] if features.ndim == 3 else features).astype(np.float32)
    return _batched(
        keras,
        -(-len(labels) // batch_size),
        lambda _, i: (features[i * batch_size :][:batch_size], labels[i * batch_size :][:batch_size]),
    )


def _shuffled(keras: Any, data: PictureBatches | tuple[Features, Labels], batch_size: int, seed: int) -> Any:
    if isinstance(data, PictureBatches):
        return _batched(keras, len(data), lambda epoch, index: data.shuffled(seed, epoch)[index])
    features, labels = data
    views = features.shape[1] if features.ndim == 3 else 1
    flat, repeated = features.reshape(len(labels) * views, -1), np.repeat(labels, views)

    def batch(epoch: int, index: int) -> tuple[Features, Labels]:
        order = np.random.default_rng([seed, epoch]).permutation(len(flat))[index * batch_size :][:batch_size]
        return flat[order].astype(np.float32), repeated[order]

    return _batched(keras, -(-len(flat) // batch_size), batch)


def _batched(keras: Any, length: int, batch: Callable[[int, int], tuple[Any, Any]]) -> Any:
    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        """Batches by number. Counts epochs itself, as Keras only reports the end of one."""

        epoch = 0

        def __len__(self) -> int:
            return length

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            return batch(self.epoch, index)

        def on_epoch_end(self) -> None:
            self.epoch += 1

    return Batches()
