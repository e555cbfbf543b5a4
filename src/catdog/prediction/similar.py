"""Finds the training images most like an image, by their features."""

import hashlib
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

from catdog.errors import PictureNotFoundError
from catdog.features.embedding import read_if_possible
from catdog.prediction.predictor import Predictor
from catdog.registry.store import ModelVersion
from catdog.storage.contention import BRIEF_SECONDS
from catdog.storage.regular_files import read_regular

RETRY_SECONDS: Final = 30.0
"""Seconds before retrying an unavailable database; until then, only the version's replay memory is used."""


_CHUNK: Final = 4096
"""Images compared at once: 20 MB of features in single precision."""


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


def _length(vector: NDArray[Any]) -> float:
    return float(np.linalg.norm(vector.astype(np.float32)))


def _replayed(version: ModelVersion, width: int) -> Iterator[tuple[str, int, NDArray[np.float16]]]:
    """Yield hash, class number and features of the training images in a version's replay memory."""
    if replay := version.replay(width):
        train = replay.select("train")
        yield from zip(train.sha256.tolist(), train.labels.tolist(), train.features, strict=True)
