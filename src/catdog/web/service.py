"""What a web process keeps: the model that answers, swapped while it serves, and the counts.

A thread looks at `champion.json` four times a second. A new champion is loaded and tried on a picture beside the old
one, then takes its place by one reference: each answer comes from one version, whole. One that cannot be loaded leaves
the old one serving, and is told in the status.
"""

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catdog import decode_gate
from catdog.activity import activity, last_training, latency, track_record
from catdog.backbone import Backbone
from catdog.database import own_words
from catdog.drift import Drift, DriftWatch, position
from catdog.errors import CatdogError, NoModelError, PictureError, VersionNotFoundError
from catdog.explain import Explanation, SimilarPictures, explain
from catdog.monitoring import Counts, current_hour
from catdog.patience import why_no_database
from catdog.prediction import Prediction, Predictor
from catdog.sampling import Sample
from catdog.settings import Settings
from catdog.starter import TemporaryModels, ensure_champion
from catdog.store import ModelStore
from catdog.walking import count_files
from catdog.web import STARTED_VARIABLE
from catdog.web.condition import LOOK_SECONDS, Condition
from catdog.web.exposition import Exposition
from catdog.web.memory import release_memory
from catdog.web.turn import Turn
from catdog.web.uploads import numbered

POLL_SECONDS: Final = 0.25
"""How often a process looks for a new champion: one `stat` of a file, some microseconds."""

FLUSH_SECONDS: Final = 1.0
"""How often counts go to the database."""

RETRY_SECONDS: Final = 30.0
"""How long a champion that could not be loaded is left alone, where it is not replaced."""

LOCK_SECONDS: Final = 5.0
"""How long a request waits for a held database, since it holds a thread meanwhile: several times what a batch of rows
takes on a slow disk."""

DRIFT_SECONDS: Final = 10.0
"""How often a process looks whether it is to measure drift."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refusal:
    """A champion that does not answer because it could not be loaded, and why."""

    version: int | None
    error: str


@dataclass(frozen=True)
class _Answer:
    """An answer with what it was made of: by whom, features `(D,)`, and the milliseconds that it took."""

    predictor: Predictor
    features: NDArray[np.float32]
    prediction: Prediction
    milliseconds: float


class Service:
    """The model in use and the counts of one process. Any number of threads may use it."""

    def __init__(self, settings: Settings, predictor_class: type[Predictor] = Predictor) -> None:
        self.settings = settings
        self._predictor_class = predictor_class
        self.on_answer: Callable[[Prediction], None] | None = None
        self.store = ModelStore(settings.models_dir)
        self.counts = Counts(settings, lock_seconds=LOCK_SECONDS)
        self.condition = Condition(settings, self.counts)
        self._drift = DriftWatch(settings.drift_threshold)
        self.exposition: Exposition | None = None
        self.refusal: Refusal | None = None
        self.started_at = float(os.environ.get(STARTED_VARIABLE) or time.time())
        self._predictor: Predictor | None = None
        self._bundled: TemporaryModels | None = None
        self._seen: object = ()  # as no file is
        self._retry_at = 0.0
        self._loading = threading.Lock()
        # The network takes one picture at a time: more would not be faster. Decoding is outside this turn, so that one
        # that takes long keeps no other waiting; `decode_gate` bounds how many are decoded at once.
        self._turn = Turn()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Load the champion, the bundled model where there is no version yet, and start looking for new ones."""
        decode_gate.serve(release_memory)
        self._bundled = self._install_bundle()
        self.refresh()
        works: tuple[tuple[Callable[[], None], float], ...] = (
            (self.refresh, POLL_SECONDS),
            (self.counts.flush, FLUSH_SECONDS),
            (self.measure_drift, DRIFT_SECONDS),
            (self.condition.look, LOOK_SECONDS),
        )
        for work, every in works:
            name = f"catdog-{getattr(work, '__name__', 'work')}"
            thread = threading.Thread(target=self._repeat, args=(work, every), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)
        atexit.register(self.stop)

    def stop(self) -> None:
        """Stop the threads and write the last counts."""
        atexit.unregister(self.stop)
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=5)
        self.counts.close()

    @property
    def predictor(self) -> Predictor:
        """The version that answers.

        Raises:
            NoModelError: there is none.
        """
        if self._predictor is None:
            why = f" {self.refusal.error}" if self.refusal else ""
            raise NoModelError(f"There is no model to answer with.{why}")
        return self._predictor

    @property
    def backbone(self) -> Backbone | None:
        """The backbone of the version that answers, which others may share."""
        return self._predictor.backbone if self._predictor else None

    @property
    def is_ready(self) -> bool:
        """Whether a model is loaded and was tried."""
        return self._predictor is not None

    def predict(self, picture: bytes, *, listed: bool = False) -> tuple[Prediction, float]:
        """Answer for a picture; gives the milliseconds that it took, too.

        Args:
            picture: the bytes of its file.
            listed: it is one of several that came together; those that came alone have their turn first.

        Raises:
            NoModelError: there is no model.
            PictureError: the picture cannot be used; says why.
        """
        answer = self._answer(self.predictor, picture, listed=listed)
        self._count(answer)
        return answer.prediction, answer.milliseconds

    def answering(self, version: int | None = None) -> Predictor:
        """Give the version that answers, which is to be `version` where that is given.

        Raises:
            NoModelError: there is no model.
            VersionNotFoundError: another version answers.
        """
        predictor = self.predictor
        if version not in (None, predictor.version.number):
            raise VersionNotFoundError(
                f"Only the version that answers is served, {predictor.version.number}. Received: {version}"
            )
        return predictor

    def predict_many(self, pictures: Sequence[bytes], predictor: Predictor) -> list[Prediction]:
        """Answer for several pictures with one version, whichever is promoted meanwhile; counts them if all succeed.

        Raises:
            PictureError: a picture cannot be used; says which and why.
        """
        answers = []
        for number, picture in enumerate(pictures, start=1):
            try:
                answers.append(self._answer(predictor, picture, listed=len(pictures) > 1))
            except PictureError as error:
                raise numbered(error, number, len(pictures)) from None
        for answer in answers:
            self._count(answer)
        return [answer.prediction for answer in answers]

    def look(self, picture: bytes) -> Prediction:
        """Answer for a picture without counting it; raises what `predict` does."""
        return self._answer(self.predictor, picture).prediction

    def explain(self, picture: bytes, class_id: int | None = None) -> Explanation:
        """Explain the answer for a picture; raises what `predict` does."""
        predictor = self.predictor
        training = SimilarPictures.of(predictor)  # it may wait for the database, while others have their turn
        pixels = predictor.pixels(picture)
        with self._turn.taken():
            return explain(predictor, picture, class_id=class_id, training=training, pixels=pixels)

    def refresh(self) -> None:
        """Take the champion into use, where it is another than the one that answers."""
        with self._loading:
            stamp = self.store.champion_stamp()
            if stamp == self._seen and (self.refusal is None or time.monotonic() < self._retry_at):
                return
            self._seen = stamp
            number: int | None = None
            try:
                number = self.store.champion()
                if number is None or self._predictor is None or number != self._predictor.version.number:
                    is_first = self._predictor is None
                    self._predictor = self._load(number)
                    if not is_first:  # at the start nothing was replaced, and a first answer is waited for
                        release_memory()
                    _log.info("Version %d answers now.", number)
                self.refusal = None
            except Exception as error:  # whatever is wrong with it, the old one goes on
                self._retry_at = time.monotonic() + RETRY_SECONDS
                reason = str(error) if isinstance(error, CatdogError) else f"{type(error).__name__} while loading it."
                if self.refusal != (refusal := Refusal(number, reason)):
                    _log.error("Version %s could not be taken into use: %s", number, error)
                self.refusal = refusal

    def _install_bundle(self) -> TemporaryModels | None:
        """Install the bundled model where there is no version; elsewhere where the models' folder takes none."""
        try:
            ensure_champion(self.settings.models_dir)
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
        predictor = self._predictor_class(version, settings=self.settings, threads=1, backbone=self.backbone)
        predictor.version.try_out(predictor.backbone, (predictor.head, predictor.novelty))
        return predictor

    def status(self) -> dict[str, Any]:
        """Say what answers, since when, how fast, and what could not be loaded; ready for JSON."""
        predictor, uptime = self._predictor, self.uptime_seconds
        metadata = dict(predictor.version.metadata) if predictor else {}
        # Where the data lay is nobody's business.
        metadata["data"] = {key: value for key, value in metadata.get("data", {}).items() if key != "root"}
        return {
            "status": "ready" if predictor else "no_model",
            "version": predictor.version.number if predictor else None,
            "precision": predictor.precision if predictor else None,
            "process": os.getpid(),
            "uptime_seconds": round(uptime, 1),
            "uptime_hours": round(uptime / 3600, 3),
            "total_predictions": self.counts.totals().total,
            "last_training": last_training(self.store),
            "metadata": {key: value for key, value in metadata.items() if key != "checksums"},
            "history": [vars(promotion) for promotion in self._history()],
            "latency_ms": latency(self.counts),
            "drift": vars(drift) if (drift := self.drift()) else None,
            "refused": vars(self.refusal) if self.refusal else None,
        }

    def stats(self) -> dict[str, Any]:
        """Count the pictures on disk and the predictions, and give the metrics of the model; ready for JSON."""
        version = self._predictor.version if self._predictor else None
        classes = version.classes if version else ("cats", "dogs")
        folders = {split: self.settings.data_dir / split for split in ("train", "test")}
        folders["retrain"] = self.settings.retrain_dir
        dataset = {f"{split}_{name}": count_files(at / name) for split, at in folders.items() for name in classes}
        return {
            "dataset": dataset,
            "model_metrics": version.metadata.get("metrics") if version else None,
            **activity(self.counts),
            "drift": vars(drift) if (drift := self.drift()) else None,
            "versions": track_record(self.store),
        }

    def drift(self) -> Drift | None:
        """Give how far recent answers are from what the version was measured on; None where that is not known."""
        if not self.is_ready or not self.counts.has_database:
            return None
        try:
            return self._drift.read(self.counts.engine(), self.predictor.version.number)
        except Exception as error:  # watching never breaks answering
            _log.warning("The drift is not known. Received: %s", own_words(error))
            return None

    def measure_drift(self) -> None:
        """Measure the drift of the version that answers, if it is time to."""
        if self.is_ready and self.counts.has_database:
            self._drift.measure(self.counts.engine(), self.predictor.version)

    @property
    def uptime_seconds(self) -> float:
        """Seconds since the server started."""
        return max(0.0, time.time() - self.started_at)

    def _answer(self, predictor: Predictor, picture: bytes, *, listed: bool = False) -> "_Answer":
        started = time.perf_counter()
        pixels = predictor.pixels(picture)
        with self._turn.taken(listed=listed):
            features = predictor.embed(pixels)
            prediction = predictor.answer(features)
        return _Answer(predictor, features, prediction, (time.perf_counter() - started) * 1000)

    def _history(self) -> list[Any]:
        try:
            return list(self.store.history())
        except CatdogError:  # the refusal says so
            return []

    def _count(self, answer: "_Answer") -> None:
        """Count an answer; watching never breaks answering."""
        prediction = answer.prediction
        kind = prediction.model_version, prediction.class_name, prediction.verdict
        try:
            self.counts.add(*kind, prediction.confidence, prediction.novelty, answer.milliseconds)
            hour = current_hour()
            if (drawn := self.counts.samples.draw(hour)) is not None:
                said = prediction.class_id, prediction.confidence, prediction.novelty
                place = position(answer.predictor.novelty, answer.features).astype("<f4").tobytes()
                self.counts.samples.add(Sample(hour, drawn, prediction.model_version, *said, place))
        except Exception:
            _log.exception("An answer was not counted.")
        if self.exposition is not None:
            self.exposition.count_prediction(*kind, prediction.confidence, prediction.novelty)
        if self.on_answer is not None:
            self.on_answer(prediction)

    def _repeat(self, work: Callable[[], None], every: float) -> None:
        while not self._stopping.wait(every):
            try:
                work()
            except Exception as error:  # a thread that ended would end the swapping, or the counting, for good
                is_told = isinstance(error, CatdogError) or why_no_database(error)  # the sentence says it all
                sentence = "A task of the server failed; it is tried again. Received: %s"
                _log.error(sentence, own_words(error), exc_info=None if is_told else error)
