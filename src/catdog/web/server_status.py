"""Reports of a server: the model in use, drift, and statistics of all processes, across restarts."""

import logging
import os
import time
from typing import Any

from catdog.data.walking import count_files
from catdog.errors import CatdogError
from catdog.monitoring.counts import Counts
from catdog.monitoring.drift import Drift, DriftWatch
from catdog.monitoring.summary import activity, last_training, latency, track_record
from catdog.settings import Settings
from catdog.storage.database import driver_message
from catdog.web import STARTED_VARIABLE
from catdog.web.live_model import LiveModel

_log = logging.getLogger(__name__)


class ServerStatus:
    """Reports of one process, ready for JSON. Any number of threads may use it."""

    def __init__(self, settings: Settings, model: LiveModel, counts: Counts) -> None:
        self._settings, self._model, self._counts = settings, model, counts
        self._drift = DriftWatch(settings.drift_threshold)
        self._started_at = float(os.environ.get(STARTED_VARIABLE) or time.time())

    @property
    def uptime_seconds(self) -> float:
        """Seconds since the server started."""
        return max(0.0, time.time() - self._started_at)

    def model(self) -> dict[str, Any]:
        """Return the version in use, its metrics and latency, and a champion that couldn't be loaded."""
        predictor = self._model.predictor if self._model.is_ready else None
        uptime, refusal = self.uptime_seconds, self._model.refusal
        metadata = dict(predictor.version.metadata) if predictor else {}
        # Don't expose the server's data path.
        metadata["data"] = {key: value for key, value in metadata.get("data", {}).items() if key != "root"}
        return {
            "status": "ready" if predictor else "no_model",
            "version": predictor.version.number if predictor else None,
            "precision": predictor.precision if predictor else None,
            "process": os.getpid(),
            "uptime_seconds": round(uptime, 1),
            "uptime_hours": round(uptime / 3600, 3),
            "total_predictions": self._counts.totals().total,
            "last_training": last_training(self._model.store),
            "metadata": {key: value for key, value in metadata.items() if key != "checksums"},
            "history": [vars(promotion) for promotion in self._history()],
            "latency_ms": latency(self._counts),
            "drift": vars(drift) if (drift := self.drift()) else None,
            "refused": vars(refusal) if refusal else None,
        }

    def statistics(self) -> dict[str, Any]:
        """Return counts of images on disk and of predictions, with the metrics of the model in use."""
        version = self._model.predictor.version if self._model.is_ready else None
        classes = version.classes if version else ("cats", "dogs")
        folders = {split: self._settings.data_dir / split for split in ("train", "test")}
        folders["retrain"] = self._settings.retrain_dir
        dataset = {f"{split}_{name}": count_files(at / name) for split, at in folders.items() for name in classes}
        return {
            "dataset": dataset,
            "model_metrics": version.metadata.get("metrics") if version else None,
            **activity(self._counts),
            "drift": vars(drift) if (drift := self.drift()) else None,
            "versions": track_record(self._model.store),
        }

    def drift(self) -> Drift | None:
        """Return how recent predictions differ from those on the version's test images; None if it isn't known."""
        if not self._model.is_ready or not self._counts.has_database:
            return None
        try:
            return self._drift.read(self._counts.engine(), self._model.predictor.version.number)
        except Exception as error:  # monitoring must not break predictions
            _log.warning("Drift can't be measured: %s", driver_message(error))
            return None

    def measure_drift(self) -> None:
        """Measure the drift of the version in use, if it is due."""
        if self._model.is_ready and self._counts.has_database:
            self._drift.measure(self._counts.engine(), self._model.predictor.version)

    def _history(self) -> list[Any]:
        try:
            return list(self._model.store.history())
        except CatdogError:  # `refused` says why
            return []
