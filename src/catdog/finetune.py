"""Tuning the backbone itself, end to end: half an hour or two once, so that every head fitted afterwards is better.

Three things make that bearable on a processor:

- Batch norm stays in inference mode and is folded into the convolutions (`fold`). On two cores TensorFlow then
  does 50 pictures a second forwards and backwards, against 20 with the layers apart (oneDNN off 12, mixed bf16 on the
  layers apart 21; PyTorch with folding 43 in f32 and 47 in bf16).
- Pictures are decoded once, to a memory-mapped array; every epoch draws its views from that (`random_view`).
- Each epoch ends with a checkpoint of everything, and the same call goes on after the last one.
"""

import hashlib
import io
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from catdog.backbone import build_keras_backbone, scale_pixels
from catdog.errors import BackboneError, DatasetError
from catdog.files import file_sha256, write_atomically
from catdog.frameworks import import_keras
from catdog.model import create_head, make_repeatable, train_model
from catdog.parallel import bounded_map
from catdog.preprocessing import IMAGE_SIZE, Pixels, decode, read_picture

BLOCKS: Final = 17
"""Inverted-residual blocks of MobileNetV2."""

CACHE_MARGIN: Final = 8 / 7
"""Side of a cached picture over the side of a view: room to zoom in without blur; 256 for 224."""

HEAD_EPOCHS: Final = 15
"""Most epochs that the head is fitted for on untouched features, so that its noise does not reach the backbone."""

TEACHER_FOLDS: Final = 4
TEACHER_C: Final = 1e-3
"""Inverse regularisation of the teacher's regressions on 1,280 standardised features."""

EVERY_STEPS: Final = 10
"""Steps between two calls of `on_progress`."""

CACHE: Final = "pictures.npy"
CHECKPOINT: Final = "checkpoint.npz"
TUNED: Final = "tuned.weights.h5"
_FORMAT: Final = 1
"""Goes up when the same options come to mean something else."""


@dataclass(frozen=True)
class FineTuneOptions:
    """How to tune; the defaults are the bundled starter's recipe.

    Attributes:
        blocks: how many of the last of 17 inverted-residual blocks to tune, and all that follows; None for every layer.
        epochs: passes over the training pictures.
        batch_size: pictures a step.
        learning_rate: Adam's at its peak, relative to what is tuned (see `channel_scales`); it rises over the first
            `warmup` of all steps and then falls as a cosine.
        image_size: pixels a side, a multiple of 32.
        seed: of everything drawn by chance.
        label_smoothing: share of each label spread over all classes, in [0, 1) (https://arxiv.org/abs/1512.00567).
        mixup: alpha of the beta distribution that pairs are mixed by; 0 for none (https://arxiv.org/abs/1710.09412).
        ema: momentum of the running average of weights, which is what is kept; 0 keeps the last weights.
        warmup: share of all steps, in [0, 1).
        teacher_size: pixels a side, a multiple of 32, of the larger of two views that a teacher sees: regressions on
            the untouched backbone's features, each picture judged by one that was not fitted on it.
        teacher_share: share of each label that is the teacher's probabilities, in [0, 1) (distillation,
            https://arxiv.org/abs/1503.02531); wrong labels count less by it. 0 for no teacher.
    """

    blocks: int | None = None
    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 2e-4
    image_size: int = IMAGE_SIZE
    seed: int = 42
    label_smoothing: float = 0.0
    mixup: float = 0.0
    ema: float = 0.996
    warmup: float = 0.05
    teacher_size: int = 320
    teacher_share: float = 0.5

    def __post_init__(self) -> None:
        if self.blocks is not None and not 0 < self.blocks <= BLOCKS:
            raise ValueError(f"`blocks` must be in [1, {BLOCKS}], or None for every layer. Received: {self.blocks}")
        if min(self.epochs, self.batch_size) < 1 or self.learning_rate <= 0 or self.mixup < 0:
            raise ValueError(f"Epochs, batch size and learning rate must be over 0, mixup at least 0. Received: {self}")
        if any(size < 32 or size % 32 for size in (self.image_size, self.teacher_size)):
            raise ValueError(f"`image_size` and `teacher_size` must be multiples of 32. Received: {self}")
        shares = (self.label_smoothing, self.ema, self.warmup, self.teacher_share)
        if not all(0 <= share < 1 for share in shares):
            raise ValueError(f"Smoothing, ema, warm-up and the teacher's share must be in [0, 1). Received: {self}")


@dataclass(frozen=True)
class FineTuneProgress:
    """How far it is: epoch (from 1) and step (from 1), of how many.

    Attributes:
        loss: mean training loss of this epoch so far.
        val_accuracy: of the averaged weights, in [0, 1]; None but at the end of an epoch.
        eta_seconds: until everything is done, at the pace so far.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    val_accuracy: float | None
    eta_seconds: float


OnProgress = Callable[[FineTuneProgress], None]


@dataclass(frozen=True)
class _Pictures:
    """Pictures in the order of their SHA-256, so that the order they were given in changes nothing."""

    paths: list[Path]
    digests: list[str]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class _Job:
    """What `fine_tune` was called with; `identity` is a hash of all of it but `work_dir`."""

    weights: Path
    train: _Pictures
    held_out: _Pictures
    n_classes: int
    options: FineTuneOptions
    work_dir: Path
    identity: str


def fine_tune(
    weights: Path,
    pictures: Sequence[Path],
    labels: NDArray[np.int64],
    validation: tuple[Sequence[Path], NDArray[np.int64]],
    n_classes: int,
    options: FineTuneOptions,
    work_dir: Path,
    on_progress: OnProgress | None = None,
) -> Path:
    """Tune MobileNetV2 on pictures, every layer or the last blocks, with the head that `create_model` has.

    Called again with the same weights, pictures (by content, in any order), labels and options, it goes on after the
    last epoch that ended in `work_dir`, and returns at once where all did; with others it starts afresh. Needs
    `3 * (8 / 7 * image_size) ** 2` bytes of disk a picture until it is done: 1.6 GB for 8,000 at 224.

    Args:
        weights: of the backbone to begin with, `.weights.h5`.
        pictures: paths of N training pictures; all must be decodable.
        labels: `(N,) int64 in [0, n_classes)`.
        validation: paths and labels of M pictures that are measured after each epoch and never trained on.
        n_classes: 2 or more.
        options: the recipe.
        work_dir: a folder of its own for the cache, the checkpoint and the result; made where missing.
        on_progress: called every 10 steps and at the end of each epoch.

    Returns:
        The tuned backbone, `work_dir/tuned.weights.h5`, which fits `keras.applications.MobileNetV2(include_top=False)`.

    Raises:
        DatasetError: no training or no validation pictures, or not one label in range for each.
        BackboneError: there are no such weights, or they do not fit.
        PictureError: a picture cannot be used.
    """
    job = _job(weights, (pictures, labels), validation, n_classes, options, work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    checkpoint = _read_checkpoint(work_dir / CHECKPOINT, job.identity)
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
        raise BackboneError(f"A file of MobileNetV2 weights (.weights.h5) is needed. Received: {weights}.")
    contents = [[pictures.digests, pictures.labels.tolist()] for pictures in (one, other)]
    # All that the result follows from, except the versions of libraries.
    parts = [_FORMAT, file_sha256(weights), n_classes, asdict(options), *contents]
    identity = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return _Job(weights, one, other, n_classes, options, work_dir, identity)


def _by_content(paths: Sequence[Path], labels: NDArray[np.int64], n_classes: int, what: str) -> _Pictures:
    if not len(paths) or len(paths) != len(labels) or not 0 <= min(labels) <= max(labels) < n_classes:
        raise DatasetError(
            f"At least one {what} picture is needed, and a label in [0, {n_classes - 1}] for each. "
            f"Received: {len(paths)} pictures and labels {sorted(set(np.asarray(labels).tolist()))}"
        )
    digests = [hashlib.sha256(read_picture(path)).hexdigest() for path in paths]
    order = sorted(range(len(paths)), key=lambda i: (digests[i], int(labels[i])))
    ordered = np.asarray(labels, np.int64)[order]
    return _Pictures([Path(paths[i]) for i in order], [digests[i] for i in order], ordered)


def _read_checkpoint(path: Path, identity: str) -> dict[str, Any] | None:
    """Return the arrays of a checkpoint of this very run; None where there is none, or one of another run."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file) if str(file["identity"]) == identity else None
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None


class _Run:
    """One tuning run: the network, its optimizer, and where it stands."""

    def __init__(self, job: _Job, checkpoint: dict[str, Any] | None) -> None:
        """Begin with a head fitted alone, or take everything up from a checkpoint."""
        make_repeatable(job.options.seed)
        self.keras = import_keras()
        self.job, self.options = job, job.options
        pictures = [*job.train.paths, *job.held_out.paths]
        self.cache = open_cache(job.work_dir / CACHE, pictures, self.options.image_size)
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
        """Run the epochs that are left."""
        started, first, epochs = time.monotonic(), self.epoch, self.options.epochs

        def tell(step: int, loss: float, val_accuracy: float | None = None) -> None:
            if on_progress and (val_accuracy is not None or step % EVERY_STEPS == 0):
                done = (self.epoch - first) * self.steps + step
                eta = (time.monotonic() - started) / done * ((epochs - self.epoch) * self.steps - step)
                on_progress(FineTuneProgress(self.epoch + 1, epochs, step, self.steps, loss, val_accuracy, eta))

        while self.epoch < epochs:
            loss = 0.0
            for step, (images, targets) in enumerate(self._batches(), start=1):
                loss += (float(self.network.train_on_batch(images, targets)) - loss) / step
                tell(step, loss)
            with self._averaged():
                val_accuracy = self._accuracy()
                self._write_tuned()
            tell(self.steps, loss, val_accuracy)
            self.epoch += 1
            self._save()

    def _feature_model(self, size: int) -> tuple[Any, Any, Any]:
        """Give the untouched backbone; folded; and that with scaling and pooling, `(N, size, size, 3)` -> `(N, D)`."""
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
        """Fit the head on untouched features; returns the soft labels to tune with, `(N, n_classes)` in [0, 1]."""
        options, labels, classes = self.options, self.job.train.labels, self.job.n_classes
        n = len(labels)
        features = self.features.predict(self._plain_batches(0, len(self.cache), options.image_size), verbose=0)
        held_out = (features[n:], self.job.held_out.labels)
        train_model(self.head, (features[:n], labels), held_out, epochs=HEAD_EPOCHS, seed=options.seed)
        targets = np.eye(classes)[labels]
        if options.teacher_share > 0:
            *_, model = self._feature_model(options.teacher_size)
            large = model.predict(self._plain_batches(0, n, options.teacher_size), verbose=0)
            taught = [_out_of_fold(x, labels, classes, options.seed) for x in (features[:n], large)]
            targets = (1 - options.teacher_share) * targets + options.teacher_share * np.mean(taught, axis=0)
        smoothed = targets * (1 - options.label_smoothing) + options.label_smoothing / classes
        return smoothed.astype(np.float32)

    def _batches(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Yield one epoch: `(B, size, size, 3) float32 in [0, 255]` and soft labels; seed and epoch say which."""
        order = np.random.default_rng([self.options.seed, self.epoch]).permutation(len(self.job.train.labels))

        def batch(step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            chosen = order[step * self.batch_size :][: self.batch_size]
            rng = np.random.default_rng([self.options.seed, self.epoch, step])
            images = np.stack([random_view(self.cache[i], self.options.image_size, rng) for i in chosen])
            return mix(images.astype(np.float32), self.targets[chosen], self.options.mixup, rng)

        return bounded_map(batch, range(self.steps), max(1, (os.cpu_count() or 1) // 2))

    def _plain_batches(self, first: int, last: int, size: int) -> Any:
        """Give the plain views of `cache[first:last]` to Keras, batch by batch, `(B, size, size, 3) float32`."""
        pictures, batch_size = self.cache[first:last], self.batch_size

        class Plain(self.keras.utils.PyDataset):  # type: ignore[misc, name-defined]
            def __len__(self) -> int:
                return -(-len(pictures) // batch_size)

            def __getitem__(self, index: int) -> tuple[NDArray[np.float32]]:
                chosen = pictures[index * batch_size :][:batch_size]
                return (np.stack([plain_view(picture, size) for picture in chosen]).astype(np.float32),)

        return Plain(workers=2)

    def _accuracy(self) -> float:
        n = len(self.job.train.labels)
        held_out = self._plain_batches(n, len(self.cache), self.options.image_size)
        probabilities = self.network.predict(held_out, verbose=0)
        return float(np.mean(probabilities.argmax(axis=-1) == self.job.held_out.labels))

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Put the averaged weights in, for a while."""
        variables = self.network.trainable_variables
        last = [self.keras.ops.convert_to_numpy(variable) for variable in variables]
        self.optimizer.finalize_variable_values(variables)
        try:
            yield
        finally:
            for variable, value in zip(variables, last, strict=True):
                variable.assign(value)

    def _state(self) -> list[Any]:
        """List all that a step reads and writes: weights, dropout's random state, Adam's moments, averages, step."""
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


def _out_of_fold(
    features: NDArray[np.float32], labels: NDArray[np.int64], n_classes: int, seed: int
) -> NDArray[np.float64]:
    """Judge each row by a logistic regression fitted on the others: `(N, n_classes)`, rows sum to 1."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    judged = np.eye(n_classes)[labels]
    folds = min(TEACHER_FOLDS, int(np.bincount(labels)[np.unique(labels)].min()))
    if folds < 2:
        return judged
    for fitted, rest in StratifiedKFold(folds, shuffle=True, random_state=seed).split(features, labels):
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=TEACHER_C, max_iter=200))
        probe.fit(features[fitted], labels[fitted])
        judged[rest] = 0
        judged[np.ix_(rest, probe.classes_)] = probe.predict_proba(features[rest])
    return judged


def fold(network: Any, blocks: int | None = None) -> Any:
    """Give a copy of MobileNetV2 in which each convolution has its batch norm folded in, as kernel and bias.

    Args:
        network: what `build_keras_backbone` returns.
        blocks: how many of the last inverted-residual blocks stay trainable; None for every layer.
    """
    keras = import_keras()

    def copy(layer: Any) -> Any:
        if isinstance(layer, keras.layers.BatchNormalization):
            return keras.layers.Activation("linear", name=layer.name)
        config = layer.get_config()
        if _is_convolution(layer):
            config |= {"use_bias": True, "trainable": blocks is None or _block(layer.name) > BLOCKS - 1 - blocks}
        return type(layer).from_config(config)

    folded = keras.models.clone_model(
        network, clone_function=copy, call_function=lambda layer, inputs, **_: layer(inputs)
    )
    for convolution, norm in _convolutions_and_norms(network):
        gamma, beta, mean, variance = norm.get_weights()
        scale = gamma / np.sqrt(variance + norm.epsilon)
        # A depthwise kernel is (3, 3, C, 1), any other (k, k, in, C).
        shaped = scale.reshape(-1, 1) if _is_depthwise(convolution) else scale
        kernel = convolution.get_weights()[0] * shaped
        folded.get_layer(convolution.name).set_weights([kernel, beta - mean * scale])
    return folded


def unfold(folded: Any, network: Any) -> Any:
    """Write a folded network's weights into a plain one: batch norm keeps the bias as `beta` and does nothing else."""
    for convolution, norm in _convolutions_and_norms(network):
        kernel, bias = folded.get_layer(convolution.name).get_weights()
        convolution.set_weights([kernel])
        one = np.ones_like(bias)
        norm.set_weights([one, bias, 0 * one, one - np.float32(norm.epsilon)])
    return network


def channel_scales(network: Any, folded: Any) -> dict[str, NDArray[np.float32]]:
    """Say how large each channel's kernel (root mean square) and output (batch norm's spread) are, by variable path.

    Folded kernels differ a thousandfold between channels, so that one step size ruins the small before it moves the
    large: with a size a layer (LAMB) cross-entropy on held-out pictures rose from 0.05 to 0.16 in 50 steps.
    """
    scales: dict[str, NDArray[np.float32]] = {}
    for convolution, norm in _convolutions_and_norms(network):
        layer = folded.get_layer(convolution.name)
        axes = (0, 1, 3) if _is_depthwise(convolution) else (0, 1, 2)
        scales[layer.kernel.path] = np.sqrt(np.mean(layer.get_weights()[0] ** 2, axis=axes, keepdims=True))
        scales[layer.bias.path] = np.abs(norm.get_weights()[0])
    return scales


def scaled_adam(variables: list[Any], scales: dict[str, NDArray[np.float32]], rate: Any, ema: float) -> Any:
    """Make an Adam whose step on each of `variables` is multiplied by its scale, 1 where `scales` has none.

    Args:
        variables: what it will train, in order.
        scales: by variable path; broadcast to the variable's shape.
        rate: learning rate or schedule.
        ema: momentum of the running average of weights that it keeps; 0 for none.
    """
    keras = import_keras()
    by_index = [scales.get(variable.path, np.float32(1)) for variable in variables]

    class ScaledAdam(keras.optimizers.Adam):  # type: ignore[misc, name-defined]
        """Keras' Adam, but for the scales."""

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(gradient, variable, learning_rate * by_index[self._get_variable_index(variable)])

    optimizer = ScaledAdam(rate, use_ema=ema > 0, ema_momentum=ema or 0.99)
    optimizer.build(variables)
    return optimizer


def _is_convolution(layer: Any) -> bool:
    return type(layer).__name__ in ("Conv2D", "DepthwiseConv2D")


def _is_depthwise(layer: Any) -> bool:
    return type(layer).__name__ == "DepthwiseConv2D"


def _block(name: str) -> int:
    """Number a layer's inverted-residual block: -1 for the stem, 0 to 16, 17 for what follows."""
    if name.startswith("block_"):
        return int(name.split("_")[1])
    return {"Conv1": -1, "Conv_1": BLOCKS}.get(name, 0)


def _convolutions_and_norms(network: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each convolution with its batch norm, which is the layer after it."""
    return ((layer, norm) for layer, norm in pairwise(network.layers) if _is_convolution(layer))


def open_cache(path: Path, pictures: Sequence[Path], image_size: int) -> Pixels:
    """Decode every picture once: `(N, S, S, 3) uint8 in [0, 255]`, S a seventh over `image_size`, memory-mapped."""
    side = round(image_size * CACHE_MARGIN)
    if not path.exists():
        unfinished = path.with_name(f".{path.name}")
        array = np.lib.format.open_memmap(unfinished, "w+", np.uint8, (len(pictures), side, side, 3))
        decoded = bounded_map(lambda p: decode(read_picture(p), side), pictures, os.cpu_count() or 1)
        for index, picture in enumerate(decoded):
            array[index] = picture
        array.flush()
        unfinished.replace(path)
    cached: Pixels = np.load(path, mmap_mode="r")
    return cached


def plain_view(picture: Pixels, size: int) -> Pixels:
    """Resize a cached picture, `(S, S, 3)` -> `(size, size, 3)`, both uint8 in [0, 255]."""
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR))


def random_view(picture: Pixels, size: int, rng: np.random.Generator) -> Pixels:
    """Draw an augmented view of a cached picture, `(S, S, 3)` -> `(size, size, 3)`, both uint8 in [0, 255].

    Around the whole picture: 70 to 110 % of its sides, unequal by up to 10 %, turned up to 15 degrees, mirrored or
    not, reflected at its borders; brightness and contrast by up to 25 %, colour by 5 %; one in twenty grey.
    """
    side = picture.shape[0]
    margin = side // 4  # corners reach a fifth of a side outside: 1.1 * (cos 15 + sin 15) / 2 - 1 / 2
    padded = np.pad(picture, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    stretch = np.exp(rng.uniform(-0.1, 0.1) / 2)
    zoom = rng.uniform(0.7, 1.1)
    turn = np.deg2rad(rng.uniform(-15, 15))
    step = np.array([zoom * stretch, zoom / stretch]) * side / size
    mirror = rng.choice([-1, 1])
    slack = max(0.0, 1 - zoom) * side / 2
    # A view's pixel (u, v) comes from (a u + b v + x, d u + e v + y).
    a, b = step[0] * np.cos(turn) * mirror, step[1] * np.sin(turn)
    d, e = -step[0] * np.sin(turn) * mirror, step[1] * np.cos(turn)
    x, y = padded.shape[0] / 2 + rng.uniform(-slack, slack, 2) - size / 2 * np.array([a + b, d + e])
    image = Image.fromarray(padded)
    view = image.transform((size, size), Image.Transform.AFFINE, (a, b, x, d, e, y), Image.Resampling.BILINEAR)
    if rng.random() < 0.05:
        view = view.convert("L").convert("RGB")
    contrast = rng.uniform(0.75, 1.25) * rng.uniform(0.95, 1.05, 3)
    levels = (np.arange(256) - 128) * contrast[:, np.newaxis] + 128 * rng.uniform(0.75, 1.25)
    return np.asarray(view.point(np.clip(levels, 0, 255).astype(np.uint8).ravel().tolist()))


def mix(
    images: NDArray[np.float32], targets: NDArray[np.float32], alpha: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Blend a batch with itself backwards, pictures and labels alike, by a share from beta(alpha, alpha); 0 does not.

    Source: mixup, https://arxiv.org/abs/1710.09412.
    """
    if alpha == 0:
        return images, targets
    share = np.float32(rng.beta(alpha, alpha))
    return share * images + (1 - share) * images[::-1], share * targets + (1 - share) * targets[::-1]
