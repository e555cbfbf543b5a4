"""The model in use: loaded, tested, and swapped for a new champion while it serves.

A new champion is loaded and tested on an image while the old one serves, then replaces it by one assignment, so each
prediction comes from one version. If it can't be loaded, the old one stays in use and `refusal` says why.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catdog.errors import CatdogError, NoModelError, PictureError, VersionNotFoundError
from catdog.features.backbone import Backbone
from catdog.prediction.explanation import Explanation, explain
from catdog.prediction.predictor import Prediction, Predictor
from catdog.prediction.similar import SimilarPictures
from catdog.registry.starter import TemporaryModels, ensure_champion
from catdog.registry.store import ModelStore
from catdog.settings import Settings
from catdog.web.memory import release_memory
from catdog.web.requests.images import numbered
from catdog.web.turn import Turn

RETRY_SECONDS: Final = 30.0
"""How long to wait before loading a champion again that couldn't be loaded."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refusal:
    """A champion that isn't in use because it couldn't be loaded, and why."""

    version: int | None
    error: str


@dataclass(frozen=True)
class TimedPrediction:
    """A prediction with its predictor, the features `(D,)`, and the milliseconds it took."""

    predictor: Predictor
    features: NDArray[np.float32]
    prediction: Prediction
    milliseconds: float


class LiveModel:
    """The model in use of one process. Any number of threads may use it."""

    def __init__(
        self,
        settings: Settings,
        predictor_class: type[Predictor] = Predictor,
        on_prediction: Callable[[TimedPrediction], None] = lambda _prediction: None,
    ) -> None:
        """Load nothing yet; `start` or `refresh` does.

        Args:
            settings: where the versions are.
            predictor_class: makes the predictions.
            on_prediction: called after each prediction, except those of `predict_uncounted`; must not raise.
        """
        self.store = ModelStore(settings.models_dir)
        self.refusal: Refusal | None = None
        self._settings = settings
        self._predictor_class = predictor_class
        self._on_prediction = on_prediction
        self._predictor: Predictor | None = None
        self._bundled: TemporaryModels | None = None
        self._seen: object = ()  # unlike the stamp of any file
        self._retry_at = 0.0
        self._loading = threading.Lock()
        # The network takes one image at a time, as more wouldn't be faster. Decoding happens outside the turn, so slow
        # images delay no others; `gate` limits how many are decoded at once.
        self._turn = Turn()

    def start(self) -> None:
        """Load the champion, or the bundled model if there is no version."""
        self._bundled = self._install_bundle()
        self.refresh()

    @property
    def predictor(self) -> Predictor:
        """The version in use.

        Raises:
            NoModelError: there is none.
        """
        if self._predictor is None:
            why = f" {self.refusal.error}" if self.refusal else ""
            raise NoModelError(f"No model in use. Train or promote one first.{why}")
        return self._predictor

    @property
    def backbone(self) -> Backbone | None:
        """The backbone of the version in use, if there is one."""
        return self._predictor.backbone if self._predictor else None

    @property
    def is_ready(self) -> bool:
        """Whether a model is loaded and tested."""
        return self._predictor is not None

    def in_use(self, version: int | None = None) -> Predictor:
        """Return the version in use, and check that it is `version`, if given.

        Raises:
            NoModelError: there is no model.
            VersionNotFoundError: another version is in use.
        """
        predictor = self.predictor
        if version not in (None, predictor.version.number):
            raise VersionNotFoundError(
                f"Version {version} isn't in use. Only version {predictor.version.number} is served."
            )
        return predictor

    def predict(self, image: bytes, *, listed: bool = False) -> tuple[Prediction, float]:
        """Return the prediction for an image, and the milliseconds it took.

        Args:
            image: the bytes of its file.
            listed: whether it is one of several in a request; single images go first.

        Raises:
            NoModelError: there is no model.
            PictureError: the image can't be used; says why.
        """
        timed = self._predict(self.predictor, image, listed=listed)
        self._on_prediction(timed)
        return timed.prediction, timed.milliseconds

    def predict_many(self, images: Sequence[bytes], predictor: Predictor) -> list[Prediction]:
        """Return the predictions for several images, all by one version, even if another is promoted meanwhile.

        Raises:
            PictureError: an image can't be used; says which and why.
        """
        timed = []
        for number, image in enumerate(images, start=1):
            try:
                timed.append(self._predict(predictor, image, listed=len(images) > 1))
            except PictureError as error:
                raise numbered(error, number, len(images)) from None
        for one in timed:  # only after all have succeeded
            self._on_prediction(one)
        return [one.prediction for one in timed]

    def predict_uncounted(self, image: bytes) -> Prediction:
        """Return the prediction for an image without counting it; raises what `predict` does."""
        return self._predict(self.predictor, image).prediction

    def explain(self, image: bytes, class_id: int | None = None) -> Explanation:
        """Return an explanation of the prediction for an image; raises what `predict` does."""
        predictor = self.predictor
        training = SimilarPictures.of(predictor)  # may wait for the database, so outside the turn
        pixels = predictor.pixels(image)
        with self._turn.taken():
            return explain(predictor, image, class_id=class_id, training=training, pixels=pixels)

    def refresh(self) -> None:
        """Load the champion if it isn't the version in use."""
        with self._loading:
            stamp = self.store.champion_stamp()
            if stamp == self._seen and (self.refusal is None or time.monotonic() < self._retry_at):
                return
            self._seen = stamp
            number: int | None = None
            try:
                number = self.store.champion()
                if number is None or self._predictor is None or number != self._predictor.version.number:
                    self._swap(number)
                self.refusal = None
            except Exception as error:  # whatever is wrong, the old version stays in use
                self._retry_at = time.monotonic() + RETRY_SECONDS
                self._refuse(number, error)

    def _swap(self, number: int | None) -> None:
        is_first = self._predictor is None
        self._predictor = self._load(number)
        if not is_first:  # at the start nothing was replaced, and a first request is waiting
            release_memory()
        _log.info("Version %d is now in use.", number)

    def _refuse(self, number: int | None, error: Exception) -> None:
        reason = str(error) if isinstance(error, CatdogError) else f"{type(error).__name__} while loading it."
        if self.refusal != (refusal := Refusal(number, reason)):
            _log.error("Version %s couldn't be loaded: %s", number, error)
        self.refusal = refusal

    def _install_bundle(self) -> TemporaryModels | None:
        """Install the bundled model if there is no version, in a temporary folder if necessary."""
        try:
            ensure_champion(self._settings.models_dir)
        except CatdogError as error:
            _log.error("The bundled model couldn't be installed: %s", error)
        except OSError as error:
            _log.error("The bundled model couldn't be installed and is used from a temporary folder: %s", error)
            with suppress(OSError):
                return TemporaryModels()
        return None

    def _load(self, number: int | None) -> Predictor:
        # Versions share backbones. Keeping the loaded one makes a swap four times as fast.
        version = self._bundled.version if self._bundled and number is None else number
        predictor = self._predictor_class(version, settings=self._settings, threads=1, backbone=self.backbone)
        predictor.version.try_out(predictor.backbone, (predictor.head, predictor.novelty))
        return predictor

    def _predict(self, predictor: Predictor, image: bytes, *, listed: bool = False) -> TimedPrediction:
        started = time.perf_counter()
        pixels = predictor.pixels(image)
        with self._turn.taken(listed=listed):
            features = predictor.embed(pixels)
            prediction = predictor.answer(features)
        return TimedPrediction(predictor, features, prediction, (time.perf_counter() - started) * 1000)
