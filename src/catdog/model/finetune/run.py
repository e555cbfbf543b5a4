"""Fine-tuning of the backbone, end to end: up to two hours once, which improve every head fitted afterwards.

It is fast enough on a processor because:

- Batch norm stays in inference mode and is folded into the convolutions (`folding.py`). On two cores TensorFlow then
  trains 50 images per second, against 20 with separate layers (12 without oneDNN, 21 in mixed bf16; PyTorch with
  folding 43 in f32 and 47 in bf16).
- Images are decoded once, to a memory-mapped array; every epoch draws its views from it (`views.py`).
- Each epoch ends with a full checkpoint, from which the same call resumes.
"""

import hashlib
import io
import json
import os
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catdog.data.images.pixels import read_picture
from catdog.errors import BackboneError, DatasetError
from catdog.features.frameworks import import_keras
from catdog.features.weights import build_keras_backbone, scale_pixels
from catdog.model.finetune.folding import channel_scales, fold, scaled_adam, unfold
from catdog.model.finetune.options import FineTuneOptions, FineTuneProgress, OnProgress
from catdog.model.finetune.teacher import predict_out_of_fold
from catdog.model.finetune.views import mix, open_cache, plain_view, random_view
from catdog.model.network import create_head, make_repeatable, train_model
from catdog.parallel import bounded_map
from catdog.storage.files import file_sha256, write_atomically
from catdog.text import counted

HEAD_EPOCHS: Final = 15
"""Maximum epochs of fitting the head on the original features first; a random head would disturb the backbone."""

EVERY_STEPS: Final = 10
"""Steps between two calls of `on_progress`."""

CACHE: Final = "pictures.npy"
CHECKPOINT: Final = "checkpoint.npz"
TUNED: Final = "tuned.weights.h5"
_FORMAT: Final = 1
"""Increment when the meaning of an option changes."""


@dataclass(frozen=True)
class _Images:
    """Images in the order of their SHA-256, so results don't depend on the order of the arguments."""

    paths: list[Path]
    digests: list[str]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class _Job:
    """The arguments of `fine_tune`; `identity` is a hash of all but `work_dir`."""

    weights: Path
    train: _Images
    held_out: _Images
    n_classes: int
    options: FineTuneOptions
    work_dir: Path
    identity: str


def fine_tune(
    weights: Path,
    images: Sequence[Path],
    labels: NDArray[np.int64],
    validation: tuple[Sequence[Path], NDArray[np.int64]],
    n_classes: int,
    options: FineTuneOptions,
    work_dir: Path,
    on_progress: OnProgress | None = None,
) -> Path:
    """Fine-tune MobileNetV2 on images, all layers or the last blocks, with a head as in `create_model`.

    A call with the same weights, images (by content, in any order), labels and options resumes after the last epoch
    that finished in `work_dir`; any other call starts over. Needs `3 * (8 / 7 * image_size) ** 2` bytes of disk per
    image while it runs: 1.6 GB for 8,000 at 224.

    Args:
        weights: initial weights of the backbone, `.weights.h5`.
        images: paths of N training images; all must be decodable.
        labels: `(N,) int64 in [0, n_classes)`.
        validation: paths and labels of M images, measured after each epoch and never trained on.
        n_classes: 2 or more.
        options: the recipe.
        work_dir: a separate folder for the cache, the checkpoint and the result; created if missing.
        on_progress: called every 10 steps and at the end of each epoch.

    Returns:
        The weights, `work_dir/tuned.weights.h5`, for `keras.applications.MobileNetV2(include_top=False)`.

    Raises:
        DatasetError: no training or validation images, or not one label in range for each.
        BackboneError: the weights are missing, or don't fit.
        PictureError: an image can't be used.
    """
    job = _job(weights, (images, labels), validation, n_classes, options, work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    checkpoint = read_checkpoint(work_dir / CHECKPOINT, job.identity)
    tuned = work_dir / TUNED
    if checkpoint is None:
        for name in (CHECKPOINT, CACHE, TUNED):
            (work_dir / name).unlink(missing_ok=True)
    elif int(checkpoint["epoch"]) >= options.epochs and tuned.is_file():
        return tuned
    run = _Run(job, checkpoint)
    run.finish(on_progress)
    (work_dir / CACHE).unlink(missing_ok=True)
    return tuned


def _job(
    weights: Path,
    train: tuple[Sequence[Path], NDArray[np.int64]],
    held_out: tuple[Sequence[Path], NDArray[np.int64]],
    n_classes: int,
    options: FineTuneOptions,
    work_dir: Path,
) -> _Job:
    one, other = _by_content(*train, n_classes, "training"), _by_content(*held_out, n_classes, "validation")
    if not weights.is_file():
        raise BackboneError(f"No file {weights}. Fine-tuning needs MobileNetV2 weights (.weights.h5).")
    contents = [[images.digests, images.labels.tolist()] for images in (one, other)]
    # Everything that determines the result, except the versions of libraries.
    parts = [_FORMAT, file_sha256(weights), n_classes, asdict(options), *contents]
    identity = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return _Job(weights, one, other, n_classes, options, work_dir, identity)


def _by_content(paths: Sequence[Path], labels: NDArray[np.int64], n_classes: int, role: str) -> _Images:
    if not len(paths) or len(paths) != len(labels) or not 0 <= min(labels) <= max(labels) < n_classes:
        raise DatasetError(
            f"Fine-tuning needs at least one {role} image, and a label in [0, {n_classes - 1}] for each; got "
            f"{counted(len(paths), 'image')} and labels {sorted(set(np.asarray(labels).tolist()))}."
        )
    digests = [hashlib.sha256(read_picture(path, None)).hexdigest() for path in paths]
    order = sorted(range(len(paths)), key=lambda i: (digests[i], int(labels[i])))
    ordered = np.asarray(labels, np.int64)[order]
    return _Images([Path(paths[i]) for i in order], [digests[i] for i in order], ordered)


def read_checkpoint(path: Path, identity: str) -> dict[str, Any] | None:
    """Return the arrays of this run's checkpoint; None if there is none, or it belongs to another run."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file) if str(file["identity"]) == identity else None
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None


class _Run:
    """One run of fine-tuning: the network, its optimizer and its position."""

    def __init__(self, job: _Job, checkpoint: dict[str, Any] | None) -> None:
        """Start by fitting the head alone, or resume from a checkpoint."""
        make_repeatable(job.options.seed)
        self.keras = import_keras()
        self.job, self.options = job, job.options
        paths = [*job.train.paths, *job.held_out.paths]
        self.cache = open_cache(job.work_dir / CACHE, paths, self.options.image_size)
        self.batch_size = min(self.options.batch_size, len(job.train.paths))
        self.steps = len(job.train.paths) // self.batch_size
        self.epoch = 0
        self.plain, self.folded, self.features = self._feature_model(self.options.image_size)
        self.head = create_head(int(self.features.output.shape[-1]), job.n_classes)
        self.network = self.keras.Model(self.features.input, self.head(self.features.output))
        scales = channel_scales(self.plain, self.folded)
        self.targets = self._prepare() if checkpoint is None else checkpoint["targets"]
        variables = self.network.trainable_variables
        self.optimizer = scaled_adam(variables, scales, self._schedule(), self.options.ema)
        self.network.compile(self.optimizer, loss="categorical_crossentropy")
        if checkpoint is None:
            self._save()
        else:
            self.epoch = int(checkpoint["epoch"])
            for index, variable in enumerate(self._state()):
                variable.assign(checkpoint[f"v{index}"])

    def finish(self, on_progress: OnProgress | None) -> None:
        """Run the remaining epochs."""
        started, first, epochs = time.monotonic(), self.epoch, self.options.epochs

        def report(step: int, loss: float, val_accuracy: float | None = None) -> None:
            if on_progress and (val_accuracy is not None or step % EVERY_STEPS == 0):
                done = (self.epoch - first) * self.steps + step
                eta = (time.monotonic() - started) / done * ((epochs - self.epoch) * self.steps - step)
                on_progress(FineTuneProgress(self.epoch + 1, epochs, step, self.steps, loss, val_accuracy, eta))

        while self.epoch < epochs:
            loss = 0.0
            for step, (images, targets) in enumerate(self._batches(), start=1):
                loss += (float(self.network.train_on_batch(images, targets)) - loss) / step
                report(step, loss)
            with self._averaged():
                val_accuracy = self._accuracy()
                self._write_tuned()
            report(self.steps, loss, val_accuracy)
            self.epoch += 1
            self._save()

    def _feature_model(self, size: int) -> tuple[Any, Any, Any]:
        """Return the backbone, its folded copy, and a feature model on that, `(N, size, size, 3)` -> `(N, D)`."""
        plain = build_keras_backbone(self.job.weights, size)
        folded = fold(plain, self.options.blocks)
        pixels = self.keras.Input((size, size, 3), name="pixels")
        pooled = self.keras.layers.GlobalAveragePooling2D()(folded(scale_pixels(self.keras)(pixels)))
        return plain, folded, self.keras.Model(pixels, pooled)

    def _schedule(self) -> Any:
        total = self.steps * self.options.epochs
        warmup = min(total - 1, int(self.options.warmup * total))
        peak = self.options.learning_rate
        return self.keras.optimizers.schedules.CosineDecay(
            peak / 100, max(1, total - warmup), warmup_target=peak, warmup_steps=warmup
        )

    def _prepare(self) -> NDArray[np.float32]:
        """Fit the head on the original features; return the soft labels to train with, `(N, n_classes)` in [0, 1]."""
        options, labels, classes = self.options, self.job.train.labels, self.job.n_classes
        n = len(labels)
        features = self.features.predict(self._plain_batches(0, len(self.cache), options.image_size), verbose=0)
        held_out = (features[n:], self.job.held_out.labels)
        train_model(self.head, (features[:n], labels), held_out, epochs=HEAD_EPOCHS, seed=options.seed)
        targets = np.eye(classes)[labels]
        if options.teacher_share > 0:
            *_, model = self._feature_model(options.teacher_size)
            large = model.predict(self._plain_batches(0, n, options.teacher_size), verbose=0)
            taught = [predict_out_of_fold(x, labels, classes, options.seed) for x in (features[:n], large)]
            targets = (1 - options.teacher_share) * targets + options.teacher_share * np.mean(taught, axis=0)
        smoothed = targets * (1 - options.label_smoothing) + options.label_smoothing / classes
        return smoothed.astype(np.float32)

    def _batches(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Yield one epoch: `(B, size, size, 3) float32 in [0, 255]` and soft labels; repeatable by seed and epoch."""
        order = np.random.default_rng([self.options.seed, self.epoch]).permutation(len(self.job.train.labels))

        def batch(step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            chosen = order[step * self.batch_size :][: self.batch_size]
            rng = np.random.default_rng([self.options.seed, self.epoch, step])
            images = np.stack([random_view(self.cache[i], self.options.image_size, rng) for i in chosen])
            return mix(images.astype(np.float32), self.targets[chosen], self.options.mixup, rng)

        return bounded_map(batch, range(self.steps), max(1, (os.cpu_count() or 1) // 2))

    def _plain_batches(self, first: int, last: int, size: int) -> Any:
        """Return a Keras data set of plain views of `cache[first:last]`, batches of `(B, size, size, 3) float32`."""
        images, batch_size = self.cache[first:last], self.batch_size

        class Plain(self.keras.utils.PyDataset):  # type: ignore[misc, name-defined]
            def __len__(self) -> int:
                return -(-len(images) // batch_size)

            def __getitem__(self, index: int) -> tuple[NDArray[np.float32]]:
                chosen = images[index * batch_size :][:batch_size]
                return (np.stack([plain_view(image, size) for image in chosen]).astype(np.float32),)

        return Plain(workers=2)

    def _accuracy(self) -> float:
        n = len(self.job.train.labels)
        held_out = self._plain_batches(n, len(self.cache), self.options.image_size)
        probabilities = self.network.predict(held_out, verbose=0)
        return float(np.mean(probabilities.argmax(axis=-1) == self.job.held_out.labels))

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Use the averaged weights inside the block."""
        variables = self.network.trainable_variables
        last = [self.keras.ops.convert_to_numpy(variable) for variable in variables]
        self.optimizer.finalize_variable_values(variables)
        try:
            yield
        finally:
            for variable, value in zip(variables, last, strict=True):
                variable.assign(value)

    def _state(self) -> list[Any]:
        """List all variables of a step: weights, dropout's random state, Adam's moments, averages, step."""
        return [*self.network.variables, *self.optimizer.variables]

    def _save(self) -> None:
        arrays = {f"v{i}": self.keras.ops.convert_to_numpy(v) for i, v in enumerate(self._state())}
        buffer = io.BytesIO()
        np.savez(buffer, epoch=self.epoch, identity=self.job.identity, targets=self.targets, **arrays)
        write_atomically(self.job.work_dir / CHECKPOINT, buffer.getvalue())

    def _write_tuned(self) -> None:
        unfinished = self.job.work_dir / f".{TUNED}"
        unfold(self.folded, self.plain).save_weights(unfinished)
        unfinished.replace(self.job.work_dir / TUNED)
