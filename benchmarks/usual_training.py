"""The usual way to train this classifier with Keras, for `benchmarks/train.py`.

Frozen MobileNetV2, augmentation layers and the same head; `image_dataset_from_directory` decodes images in every epoch.
Prints the seconds of the whole training, extrapolated from some steps of training and validation after a warm-up.
"""

import json
import os
import sys
import time
from itertools import islice
from pathlib import Path

STARTED = time.perf_counter()
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras  # noqa: E402


def copy_without_junk(data: Path, target: Path) -> None:
    """Link the images into a folder without other files, at which Keras would fail."""
    for path in data.glob("*/*/*.jpg"):
        link = target / path.relative_to(data)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())


def main() -> None:
    """Train for some steps and extrapolate."""
    import tempfile

    data, weights = Path(sys.argv[1]), sys.argv[2]
    epochs, batch, steps = (int(argument) for argument in sys.argv[3:6])
    with tempfile.TemporaryDirectory() as folder:
        copy_without_junk(data, Path(folder))
        options = {"image_size": (224, 224), "batch_size": batch, "verbose": False}
        train = keras.utils.image_dataset_from_directory(Path(folder) / "train", **options).prefetch(2)
        test = keras.utils.image_dataset_from_directory(Path(folder) / "test", **options).prefetch(2)
        base = keras.applications.MobileNetV2(input_shape=(224, 224, 3), include_top=False, weights=weights)
        base.trainable = False
        layers = keras.layers
        model = keras.Sequential(
            [
                layers.RandomRotation(0.05),
                layers.RandomFlip("horizontal"),
                layers.RandomBrightness(0.2, value_range=(0, 255)),
                layers.Rescaling(1 / 127.5, offset=-1),
                base,
                layers.GlobalAveragePooling2D(),
                layers.Dropout(0.5),
                layers.Dense(128, activation="relu"),
                layers.Dropout(0.3),
                layers.Dense(2, activation="softmax"),
            ]
        )
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        begun = time.perf_counter() - STARTED
        step = time_steps(model.train_on_batch, train, steps)
        check = time_steps(model.test_on_batch, test, max(steps // 3, 3))
        epoch = step * len(train) + check * len(test)
    print(json.dumps({"seconds": begun + epochs * epoch, "epoch": epoch, "start": begun}))


def time_steps(run, batches, steps: int) -> float:  # type: ignore[no-untyped-def]
    """Return the mean seconds per step, after three steps of warm-up."""
    iterator = iter(batches)
    for images, labels in islice(iterator, 3):
        run(images, labels)
    start = time.perf_counter()
    for images, labels in islice(iterator, steps):
        run(images, labels)
    return (time.perf_counter() - start) / steps


if __name__ == "__main__":
    main()
