"""Counts predictions: in the database, as samples for drift, in the metrics, and for traces."""

import logging
from collections.abc import Callable

from catdog.monitoring.counts import Counts, current_hour
from catdog.monitoring.drift import position
from catdog.monitoring.samples import Sample
from catdog.prediction.predictor import Prediction
from catdog.web.live_model import TimedPrediction
from catdog.web.metrics import Exposition

_log = logging.getLogger(__name__)


class PredictionCounter:
    """Counts the predictions of one process. Any number of threads may use it."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self.exposition: Exposition | None = None
        self.on_prediction: Callable[[Prediction], None] | None = None

    def add(self, timed: TimedPrediction) -> None:
        """Count a prediction. A failure is logged: monitoring must not break predictions."""
        prediction = timed.prediction
        kind = prediction.model_version, prediction.class_name, prediction.verdict
        try:
            self._counts.add(*kind, prediction.confidence, prediction.novelty, timed.milliseconds)
            self._sample(timed)
        except Exception:
            _log.exception("A prediction was not counted.")
        if self.exposition is not None:
            self.exposition.count_prediction(*kind, prediction.confidence, prediction.novelty)
        if self.on_prediction is not None:
            self.on_prediction(prediction)

    def _sample(self, timed: TimedPrediction) -> None:
        hour, prediction = current_hour(), timed.prediction
        if (drawn := self._counts.samples.draw(hour)) is not None:
            result = prediction.class_id, prediction.confidence, prediction.novelty
            place = position(timed.predictor.novelty, timed.features).astype("<f4").tobytes()
            self._counts.samples.add(Sample(hour, drawn, prediction.model_version, *result, place))
