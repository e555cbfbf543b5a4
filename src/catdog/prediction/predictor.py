"""Predictor: load a version once, then bytes -> Prediction, one at a time or as a stream."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catdog.data.images.pixels import decode, limits_of, read_picture
from catdog.data.labels import display_name, probability_key
from catdog.errors import NoModelError, PictureError
from catdog.features.backbone import Backbone, load_backbone
from catdog.parallel import bounded_map
from catdog.registry.store import ModelStore, ModelVersion
from catdog.settings import Settings, load_settings

Source = bytes | str | Path

NEITHER: Final = "neither"
UNSURE: Final = "unsure"


@dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    `class_name` is shown to people ("Cat"), `class_id` numbers it, `confidence` in [0, 1] is its probability, and
    `probabilities` holds one for each class, by key ("cat"), summing to 1. `verdict` is a class key, or `neither` where
    the image is unlike anything seen, or `unsure` where the confidence is low; `novelty` in [0, 1] says how unlike,
    from 0.5 on `neither`.
    """

    class_name: str
    class_id: int
    confidence: float
    probabilities: Mapping[str, float]
    verdict: str
    novelty: float
    model_version: int

    @property
    def is_answered(self) -> bool:
        """Whether the verdict is a class."""
        return self.verdict not in (NEITHER, UNSURE)

    def as_dict(self) -> dict[str, Any]:
        """Return the prediction in its public form, ready for JSON."""
        return {
            "class": self.class_name,
            "class_id": self.class_id,
            "confidence": self.confidence,
            "probabilities": dict(self.probabilities),
            "verdict": self.verdict,
            "novelty": self.novelty,
            "model_version": self.model_version,
        }


class Predictor:
    """A loaded model version. One instance serves any number of threads."""

    def __init__(
        self,
        version: int | ModelVersion | None = None,
        *,
        settings: Settings | None = None,
        threads: int | None = None,
        backbone: Backbone | None = None,
    ) -> None:
        """Load a version.

        Args:
            version: its number, or the version itself; the champion if not given.
            settings: where models lie, arithmetic, limits; from the environment if not given.
            threads: images under way at once; the setting if not given.
            backbone: one that is loaded; used where it is the version's own, which makes loading quick.

        Raises:
            VersionNotFoundError: there is no such version.
            VersionCorruptError: its files aren't as they were saved.
        """
        self.settings = settings or load_settings()
        if not isinstance(version, ModelVersion):
            version = ModelStore(self.settings.models_dir).get(version)
        self.version = version
        self.threads = threads or self.settings.resolved_threads
        self.head = version.load_head()
        self.novelty = version.load_novelty()
        self.backbone = load_backbone(
            version.backbone_path, precision=self.settings.precision, threads=self.threads, loaded=backbone
        )
        self.names = [display_name(name) for name in version.classes]
        self.keys = [probability_key(name) for name in version.classes]
        self.limits = limits_of(self.settings)

    @property
    def precision(self) -> str:
        """Arithmetic in use: `bf16` or `f32`."""
        return self.backbone.precision

    def predict(self, picture: Source) -> Prediction:
        """Answer for one image, given as bytes or as a path.

        Raises:
            PictureError: it can't be used; says why.
        """
        return self.answer(self.features(picture))

    def predict_batch(self, pictures: Iterable[Source]) -> list[Prediction | PictureError]:
        """Answer for several images, in order; one that can't be used gets its error in its place."""
        return list(self.predict_stream(pictures))

    def predict_stream(self, pictures: Iterable[Source]) -> Iterator[Prediction | PictureError]:
        """Answer for any number of images, in order, decode and inference overlapped, in bounded memory."""

        def one(picture: Source) -> Prediction | PictureError:
            try:
                return self.predict(picture)
            except PictureError as error:
                return error

        # One thread more than streams: while one waits for the interpreter lock, the others keep the cores busy.
        return bounded_map(one, pictures, self.threads + 1)

    def features(self, picture: Source) -> NDArray[np.float32]:
        """Return the pooled features of one image, `(D,) float32`.

        Raises:
            PictureError: it can't be used; says why.
        """
        return self.embed(self.pixels(picture))

    def pixels(self, picture: Source) -> NDArray[np.uint8]:
        """Return an image as the backbone takes it, `(S, S, 3) uint8 in [0, 255]`; raises what `features` does."""
        return decode(
            read_picture(picture, self.settings.max_picture_bytes), self.backbone.info.image_size, self.limits
        )

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the pooled features of such pixels, `(D,) float32`."""
        return self.backbone.features(pixels)

    def answer(self, features: NDArray[np.float32]) -> Prediction:
        """Answer for an image whose pooled features `(D,)` are known.

        Raises:
            NoModelError: the version gives NaN for it.
        """
        probabilities = self.head.probabilities(features)
        if not np.isfinite(probabilities).all():
            raise NoModelError(f"Version {self.version.number} gives no probabilities for this image.")
        novelty = self.novelty.novelty(features)
        best = int(probabilities.argmax())
        confidence = float(probabilities[best])
        verdict = self.keys[best] if confidence >= self.settings.unsure_below else UNSURE
        return Prediction(
            self.names[best],
            best,
            confidence,
            dict(zip(self.keys, map(float, probabilities), strict=True)),
            NEITHER if novelty >= 0.5 else verdict,
            novelty,
            self.version.number,
        )


def find_pictures(paths: Iterable[Path], *, recursive: bool = False) -> Iterator[Path]:
    """Yield the files that are meant by files and folders, lazily, each folder's in order of their names.

    A file that is named is yielded whatever it is; of a folder, hidden files are passed over, and folders in it are
    entered with `recursive`.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(n for n in folders if not n.startswith(".")) if recursive else []
            yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))
