"""The predictor: loads a version once, then predicts images, one at a time or as a stream."""

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
    """The prediction for one image.

    Attributes:
        class_name, class_id: name ("Cat") and number of the most probable class.
        confidence: its probability, in [0, 1].
        probabilities: by class key ("cat"), summing to 1.
        verdict: a class key, `neither` if the image is unlike the training images, or `unsure` at low confidence.
        novelty: distance from the training images, in [0, 1]; from 0.5 the verdict is `neither`.
        model_version: number of the version.
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
    """A loaded model version; thread-safe."""

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
            version: its number, or the version itself; by default the champion.
            settings: by default from the environment.
            threads: images processed at once; by default the setting.
            backbone: a loaded backbone, reused if it is the version's own.

        Raises:
            VersionNotFoundError: there is no such version.
            VersionCorruptError: its files are missing or changed.
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

    def predict(self, image: Source) -> Prediction:
        """Predict one image, given as bytes or as a path.

        Raises:
            PictureError: the image can't be used; says why.
        """
        return self.answer(self.features(image))

    def predict_batch(self, images: Iterable[Source]) -> list[Prediction | PictureError]:
        """Predict several images, in order; an unusable one gets its error instead."""
        return list(self.predict_stream(images))

    def predict_stream(self, images: Iterable[Source]) -> Iterator[Prediction | PictureError]:
        """Predict any number of images, in order, in bounded memory; decoding and inference overlap."""

        def one(image: Source) -> Prediction | PictureError:
            try:
                return self.predict(image)
            except PictureError as error:
                return error

        # One extra thread keeps the cores busy while another waits for the interpreter lock.
        return bounded_map(one, images, self.threads + 1)

    def features(self, image: Source) -> NDArray[np.float32]:
        """Return the pooled features of one image, `(D,) float32`.

        Raises:
            PictureError: the image can't be used; says why.
        """
        return self.embed(self.pixels(image))

    def pixels(self, image: Source) -> NDArray[np.uint8]:
        """Return an image as input of the backbone, `(S, S, 3) uint8 in [0, 255]`; raises the errors of `features`."""
        return decode(read_picture(image, self.settings.max_picture_bytes), self.backbone.info.image_size, self.limits)

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the pooled features of decoded pixels, `(D,) float32`."""
        return self.backbone.features(pixels)

    def answer(self, features: NDArray[np.float32]) -> Prediction:
        """Predict an image from its pooled features `(D,)`.

        Raises:
            NoModelError: the probabilities are NaN.
        """
        probabilities = self.head.probabilities(features)
        if not np.isfinite(probabilities).all():
            raise NoModelError(f"Version {self.version.number} can't predict this image: its probabilities are NaN.")
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
