"""Explains a prediction by a heat map and the most similar training images.

The heat map is a class activation map (https://arxiv.org/abs/1512.04150) for a head of several layers: the last feature
map, weighted by the gradient of the class's margin over the others (Grad-CAM, https://arxiv.org/abs/1610.02391). Here
it is exact: features are the mean over the map's positions and a ReLU head is locally linear, so the contributions of
all positions add up to the margin plus a constant. After average pooling, Grad-CAM equals HiResCAM
(https://arxiv.org/abs/2011.08891), whose proof applies.
"""

import hashlib
import io
import math
import os
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from catdog.data.images.encoded import Limits
from catdog.data.images.pixels import Pixels, decode_upright, read_picture
from catdog.errors import PictureNotFoundError
from catdog.features.embedding import read_if_possible
from catdog.prediction.predictor import Prediction, Predictor, Source
from catdog.registry.store import ModelVersion
from catdog.storage.contention import BRIEF_SECONDS
from catdog.storage.regular_files import read_regular

OVERLAY_SIDE: Final = 1024
"""Maximum longer side of an overlay in pixels."""

RETRY_SECONDS: Final = 30.0
"""Seconds before retrying an unavailable database; until then, only the version's replay memory is used."""

_CHUNK: Final = 4096
"""Images compared at once: 20 MB of features in single precision."""

_COLOURS: Final = np.array([(72, 12, 104), (150, 30, 110), (222, 65, 70), (250, 145, 30), (255, 236, 130)], np.float32)
"""From cold to hot, evenly spaced, increasing in brightness, so the order is visible in grey too."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class SimilarPicture:
    """A training image: its class, cosine distance in [0, 2], SHA-256, and file if it still exists."""

    class_name: str
    class_id: int
    distance: float
    sha256: str
    path: Path | None

    def as_dict(self) -> dict[str, Any]:
        """Return the image in its public form, ready for JSON."""
        path = None if self.path is None else readable(self.path)
        return {"class": self.class_name, "distance": self.distance, "sha256": self.sha256, "path": path}


@dataclass(frozen=True)
class Explanation:
    """An explanation of a prediction.

    Attributes:
        prediction: the prediction, from the same forward pass.
        class_name, class_id: the explained class.
        contributions: contribution of each position to the margin of that class, its logit minus the mean of the
            others, `(rows, columns) float32`; 7 by 7 for 224 pixels. Negative values count against the class.
        similar: training images, nearest first.
    """

    prediction: Prediction
    class_name: str
    class_id: int
    contributions: Floats
    similar: tuple[SimilarPicture, ...]

    @property
    def heat_map(self) -> Floats:
        """Positive contributions, scaled to a maximum of 1: `(rows, columns) float32 in [0, 1]`.

        It covers the whole upright image, stretched like the image.
        """
        positive = np.maximum(self.contributions, 0)
        result: Floats = positive / max(float(positive.max()), np.finfo(np.float32).tiny)
        return result

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation in its public form, ready for JSON."""
        return {
            "prediction": self.prediction.as_dict(),
            "explained": {"class": self.class_name, "class_id": self.class_id},
            "heat_map": [[round(float(value), 4) for value in row] for row in self.heat_map],
            "similar": [image.as_dict() for image in self.similar],
        }


def explain(
    predictor: Predictor,
    image: Source,
    *,
    similar: int = 5,
    class_id: int | None = None,
    training: "SimilarPictures | None" = None,
    pixels: Pixels | None = None,
) -> Explanation:
    """Explain the prediction for one image.

    Args:
        predictor: the loaded version.
        image: bytes or a path.
        similar: maximum number of similar training images; the image itself is left out.
        class_id: the class to explain, in [0, classes); by default the predicted class.
        training: result of `SimilarPictures.of`, which may wait for the database.
        pixels: result of `predictor.pixels`, if the image is already decoded.

    Raises:
        PictureError: the image can't be used; says why.
        ValueError: there is no such class.
    """
    classes = len(predictor.names)
    if class_id is not None and not 0 <= class_id < classes:
        raise ValueError(f"class_id must be in [0, {classes - 1}], got {class_id}")
    data = read_picture(image, predictor.settings.max_picture_bytes)
    if pixels is None:
        pixels = predictor.pixels(data)
    features, last_map = predictor.backbone.features_and_map(pixels)
    prediction = predictor.answer(features)
    class_id = prediction.class_id if class_id is None else class_id
    contributions = last_map @ predictor.head.gradient(features, class_id) / np.float32(last_map[..., 0].size)
    if training is None:
        training = SimilarPictures.of(predictor)
    nearest = training.nearest(features, similar, hashlib.sha256(data).hexdigest())
    return Explanation(prediction, predictor.names[class_id], class_id, contributions, tuple(nearest))


class SimilarPictures:
    """A version's training images by their features, from the cache and the version's replay memory.

    In half precision, like the cache: 2.6 kB per image. `of` loads them once per predictor.
    """

    _loaded: ClassVar[weakref.WeakKeyDictionary[Predictor, "SimilarPictures"]] = weakref.WeakKeyDictionary()
    _lock = threading.Lock()

    def __init__(self, predictor: Predictor, *, has_database: bool = True) -> None:
        """Read the features of a version's training images; without the database, only its replay memory.

        Raises:
            VersionCorruptError: the replay memory can't be read.
        """
        version = predictor.version
        rows = {row["sha256"]: row for row in version.manifest() if row["split"] == "train"}
        numbers = {name: number for number, name in enumerate(version.classes)}
        hashes, backbone = list(rows), predictor.backbone.info.id
        cached = read_if_possible(predictor.settings, backbone, hashes) if has_database else None
        self._good_until = time.monotonic() + RETRY_SECONDS if cached is None else math.inf
        vectors = cached or {}
        labels = {sha256: numbers[rows[sha256]["class"]] for sha256 in vectors}
        for sha256, label, vector in _replayed(version, predictor.backbone.info.features):
            if sha256 not in vectors:
                vectors[sha256], labels[sha256] = vector, label
        self._names = predictor.names
        self._hashes = list(vectors)
        self._labels = labels
        self._vectors = np.array(list(vectors.values()), np.float16).reshape(-1, predictor.backbone.info.features)
        root = version.data_root
        self._lengths = np.array([max(_length(vector), 1e-6) for vector in self._vectors], np.float32)
        self._paths = {sha256: root / row["path"] for sha256, row in rows.items()} if root else {}

    def __len__(self) -> int:
        return len(self._hashes)

    def path(self, sha256: str) -> Path | None:
        """Return the original path of a training image by hash, or None if unknown."""
        return self._paths.get(sha256)

    @classmethod
    def of(cls, predictor: Predictor) -> "SimilarPictures":
        """Return the training images of a predictor's version, loaded on the first call.

        If the database is unavailable, returns the replay memory only, and retries later. One thread waits for the
        database while others go on without it.
        """
        found = cls._loaded.get(predictor)
        if found is not None and time.monotonic() < found._good_until:
            return found
        if not cls._lock.acquire(timeout=BRIEF_SECONDS):
            return found if found is not None else cls(predictor, has_database=False)
        try:
            found = cls._loaded.get(predictor)
            if found is None or time.monotonic() >= found._good_until:  # not loaded by another thread meanwhile
                found = cls._loaded[predictor] = cls(predictor)
            return found
        finally:
            cls._lock.release()

    def nearest(self, features: Floats, count: int, without: str = "") -> list[SimilarPicture]:
        """List the `count` images nearest to features `(D,)`, nearest first, except the one with hash `without`."""
        if not self._hashes or count < 1:
            return []
        distances = 1 - self._similarities(features)
        order = [i for i in np.argsort(distances, kind="stable")[: count + 1] if self._hashes[i] != without]
        return [self._similar_image(self._hashes[i], float(distances[i])) for i in order[:count]]

    def _similarities(self, features: Floats) -> Floats:
        result = np.empty(len(self._vectors), np.float32)
        for start in range(0, len(result), _CHUNK):
            result[start : start + _CHUNK] = self._vectors[start : start + _CHUNK].astype(np.float32) @ features
        return np.minimum(result / (self._lengths * max(_length(features), 1e-6)), 1)

    def _similar_image(self, sha256: str, distance: float) -> SimilarPicture:
        path, label = self._paths.get(sha256), self._labels[sha256]
        is_there = path is not None and os.path.isfile(path)  # noqa: PTH113  # doesn't raise for invalid paths
        return SimilarPicture(self._names[label], label, distance, sha256, path if is_there else None)


def training_picture(predictor: Predictor, sha256: str) -> bytes:
    """Read the file of a training image by its SHA-256.

    Raises:
        PictureNotFoundError: there is none, or its file is missing or changed.
    """
    path = SimilarPictures.of(predictor).path(sha256)
    data = _read(path, predictor) if path else b""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise PictureNotFoundError(
            f"Version {predictor.version.number} has no training image {sha256[:64]!r}, or its file was moved or "
            "changed."
        )
    return data


def _read(path: Path, predictor: Predictor) -> bytes:
    """Read a training image inside the data folder or the home folder; return no bytes if that fails."""
    settings, root = predictor.settings, predictor.version.data_root
    try:
        found = path.resolve()
        is_inside = any(found.is_relative_to(at.resolve()) for at in (settings.home, root) if at)
        if is_inside:
            return read_regular(found, settings.max_picture_bytes) or b""
    except (OSError, RuntimeError, ValueError):
        pass
    return b""


def readable(path: Path) -> str:
    """Return a path as valid Unicode for JSON; file names may be any bytes."""
    return os.fsencode(path).decode(errors="replace")


def render_heat_map(heat_map: Floats, size: tuple[int, int]) -> bytes:
    """Draw a heat map as a layer for an image.

    Args:
        heat_map: `(rows, columns) float32 in [0, 1]`.
        size: width and height in pixels.

    Returns:
        A PNG, transparent at 0 and opaque at 1.
    """
    return _encode(_paint(heat_map, size), "PNG")


def overlay(image: Source, heat_map: Floats, opacity: float = 0.5, limits: Limits = Limits()) -> bytes:
    """Draw a heat map over an upright image of at most 1,024 pixels per side.

    Args:
        image: bytes or a path.
        heat_map: `(rows, columns) float32 in [0, 1]`.
        opacity: of the hottest position, in [0, 1].
        limits: of the image.

    Returns:
        A JPEG.

    Raises:
        PictureError: the image can't be used; says why.
        ValueError: the opacity is out of range.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be in [0, 1], got {opacity}")
    ground = Image.fromarray(decode_upright(read_picture(image), OVERLAY_SIDE, limits))
    # Desaturated, or orange fur would look like heat.
    ground = ImageEnhance.Color(ground).enhance(1 - opacity)
    heat = _paint(heat_map, ground.size)
    ground.paste(heat, mask=heat.getchannel("A").point(lambda alpha: alpha * opacity))
    return _encode(ground, "JPEG", quality=90)


def _paint(heat_map: Floats, size: tuple[int, int]) -> Image.Image:
    smooth = Image.fromarray(heat_map.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    heat = np.asarray(smooth).clip(0, 1)
    steps = np.linspace(0, 1, len(_COLOURS))
    colours = [np.interp(heat, steps, channel) for channel in _COLOURS.T]
    # Mostly transparent below about 0.5, so weak evidence stays faint.
    eased = (heat / 0.6).clip(0, 1)
    alpha = 255 * eased**2 * (3 - 2 * eased)
    return Image.fromarray(np.stack([*colours, alpha], axis=-1).round().astype(np.uint8), "RGBA")


def _encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _length(vector: NDArray[Any]) -> float:
    return float(np.linalg.norm(vector.astype(np.float32)))


def _replayed(version: ModelVersion, width: int) -> Iterator[tuple[str, int, NDArray[np.float16]]]:
    """Yield hash, class number and features of the training images in a version's replay memory."""
    if replay := version.replay(width):
        train = replay.select("train")
        yield from zip(train.sha256.tolist(), train.labels.tolist(), train.features, strict=True)
