"""The model in use: loaded, tried, and swapped for a new champion while it serves.

A new champion is loaded and tried on an image beside the old one, then takes its place by one reference, so each
prediction comes from one version. If it can't be loaded, the old one goes on serving, and `refusal` says why.
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
from catdog.prediction.explanation import Explanation, SimilarPictures, explain
from catdog.prediction.predictor import Prediction, Predictor
from catdog.registry.starter import TemporaryModels, ensure_champion
from catdog.registry.store import ModelStore
from catdog.settings import Settings
from catdog.web.memory import release_memory
from catdog.web.requests.images import numbered
from catdog.web.turn import Turn

RETRY_SECONDS: Final = 30.0
"""How long to wait before a champion that couldn't be loaded is tried again, unless it is replaced."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refusal:
    """A champion that isn't in use because it couldn't be loaded, and why."""

    version: int | None
    error: str


@dataclass(frozen=True)
class Answer:
    """A prediction with what it was made of: the predictor, the features `(D,)`, and the milliseconds it took."""

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
        on_answer: Callable[[Answer], None] = lambda _answer: None,
    ) -> None:
        """Load nothing yet; `start` or `refresh` does.

        Args:
            settings: where the versions are.
            predictor_class: makes the predictions.
            on_answer: called after each prediction, except those of `look`; must not raise.
        """
        self.store = ModelStore(settings.models_dir)
        self.refusal: Refusal | None = None
        self._settings = settings
        self._predictor_class = predictor_class
        self._on_answer = on_answer
        self._predictor: Predictor | None = None
        self._bundled: TemporaryModels | None = None
        self._seen: object = ()  # as no file is
        self._retry_at = 0.0
        self._loading = threading.Lock()
        # The network takes one image at a time: more would not be faster. Decoding is outside this turn, so that one
        # that takes long keeps no other waiting; `decode_gate` bounds how many are decoded at once.
        self._turn = Turn()

    def start(self) -> None:
        """Load the champion, or the bundled model if there is no version yet."""
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
            raise NoModelError(f"There is no model to answer with.{why}")
        return self._predictor

    @property
    def backbone(self) -> Backbone | None:
        """The backbone of the version in use, which others may share."""
        return self._predictor.backbone if self._predictor else None

    @property
    def is_ready(self) -> bool:
        """Whether a model is loaded and was tried."""
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
                f"Only the version that answers is served, {predictor.version.number}. Received: {version}"
            )
        return predictor

    def predict(self, picture: bytes, *, listed: bool = False) -> tuple[Prediction, float]:
        """Predict the class of an image; return the milliseconds it took, too.

        Args:
            picture: the bytes of its file.
            listed: it is one of several that came together; those that came alone have their turn first.

        Raises:
            NoModelError: there is no model.
            PictureError: the image can't be used; says why.
        """
        answer = self._answer(self.predictor, picture, listed=listed)
        self._on_answer(answer)
        return answer.prediction, answer.milliseconds

    def predict_many(self, pictures: Sequence[bytes], predictor: Predictor) -> list[Prediction]:
        """Predict the classes of several images with one version, whichever is promoted meanwhile.

        Raises:
            PictureError: an image can't be used; says which and why.
        """
        answers = []
        for number, picture in enumerate(pictures, start=1):
            try:
                answers.append(self._answer(predictor, picture, listed=len(pictures) > 1))
            except PictureError as error:
                raise numbered(error, number, len(pictures)) from None
        for answer in answers:  # only once all have succeeded
            self._on_answer(answer)
        return [answer.prediction for answer in answers]

    def look(self, picture: bytes) -> Prediction:
        """Predict the class of an image without counting it; raises what `predict` does."""
        return self._answer(self.predictor, picture).prediction

    def explain(self, picture: bytes, class_id: int | None = None) -> Explanation:
        """Explain the prediction for an image; raises what `predict` does."""
        predictor = self.predictor
        training = SimilarPictures.of(predictor)  # it may wait for the database, while others have their turn
        pixels = predictor.pixels(picture)
        with self._turn.taken():
            return explain(predictor, picture, class_id=class_id, training=training, pixels=pixels)

    def refresh(self) -> None:
        """Take the champion into use if it is another version than the one in use."""
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
            except Exception as error:  # whatever is wrong with it, the old one goes on
                self._retry_at = time.monotonic() + RETRY_SECONDS
                self._refuse(number, error)

    def _swap(self, number: int | None) -> None:
        is_first = self._predictor is None
        self._predictor = self._load(number)
        if not is_first:  # at the start nothing was replaced, and a first request is waiting
            release_memory()
        _log.info("Version %d answers now.", number)

    def _refuse(self, number: int | None, error: Exception) -> None:
        reason = str(error) if isinstance(error, CatdogError) else f"{type(error).__name__} while loading it."
        if self.refusal != (refusal := Refusal(number, reason)):
            _log.error("Version %s could not be taken into use: %s", number, error)
        self.refusal = refusal

    def _install_bundle(self) -> TemporaryModels | None:
        """Install the bundled model if there is no version; in a temporary folder if there is no other way."""
        try:
            ensure_champion(self._settings.models_dir)
        except CatdogError as error:
            _log.error("The bundled model could not be installed. Received: %s", error)
        except OSError as error:
            _log.error("The bundled model answers from a temporary folder: none can be installed. Received: %s", error)
            with suppress(OSError):
                return TemporaryModels()
        return None

    def _load(self, number: int | None) -> Predictor:
        # Versions share backbones: what is loaded is used on, which makes a swap four times as quick.
        version = self._bundled.version if self._bundled and number is None else number
        predictor = self._predictor_class(version, settings=self._settings, threads=1, backbone=self.backbone)
        predictor.version.try_out(predictor.backbone, (predictor.head, predictor.novelty))
        return predictor

    def _answer(self, predictor: Predictor, picture: bytes, *, listed: bool = False) -> Answer:
        started = time.perf_counter()
        pixels = predictor.pixels(picture)
        with self._turn.taken(listed=listed):
            features = predictor.embed(pixels)
            prediction = predictor.answer(features)
        return Answer(predictor, features, prediction, (time.perf_counter() - started) * 1000)
