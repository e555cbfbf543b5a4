"""Traces: a span for each request, and for each step of its predictions.

If tracing is off, no hook is registered and the plain `Predictor` is used. A span names the route and the result, never
what was sent: no image, file name, IP address, key or body.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from flask import Flask, Response, current_app, g, has_request_context, request
from numpy.typing import NDArray

from catdog.monitoring.tracing import Attributes, Tracing
from catdog.prediction.predictor import Prediction, Predictor, Source
from catdog.web.live_model import LiveModel
from catdog.web.metrics import METHODS
from catdog.web.problems import problem_kinds, request_id
from catdog.web.service import Service

if TYPE_CHECKING:
    from opentelemetry.trace import Span

EXTENSION: Final = "catdog_tracing"

MOST_STEPS: Final = 60
"""Maximum spans for steps of a request, those of 20 images; larger batches would fill the queue."""

_log = logging.getLogger(__name__)


class TimedPredictor(Predictor):
    """A predictor that records the start and end of each step for the current request."""

    def pixels(self, picture: Source) -> NDArray[np.uint8]:
        """Return the pixels of an image."""
        with _timed("decode"):
            return super().pixels(picture)

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features of an image."""
        with _timed("network"):
            return super().embed(pixels)

    def answer(self, features: NDArray[np.float32]) -> Prediction:
        """Return the prediction for features."""
        with _timed("head"):
            return super().answer(features)


def install(app: Flask, service: Service, tracing: Tracing | None) -> None:
    """Start a span for each request of an app; without tracing, do nothing."""
    if tracing is None:
        return
    app.extensions[EXTENSION] = tracing

    finish_span = _safely(_finish)

    def begin() -> None:
        span = tracing.start(_name(), tracing.received(request.headers), _attributes(), is_request=True)
        g.span = span
        if span.is_recording():  # sampled
            g.steps, g.predictions = [], []

    def finish(response: Response) -> Response:
        if "steps" in g:
            finish_span(tracing, service.model, g.span, response.status_code)
        return response

    def end(_error: BaseException | None) -> None:
        if (span := g.pop("span", None)) is not None:
            span.end()

    app.before_request(_safely(begin))
    app.after_request(finish)
    app.teardown_request(_safely(end))
    service.counter.on_prediction = _record_prediction


def trace_id() -> str | None:
    """Return the trace id of the current request; None if it has none."""
    return current_app.extensions[EXTENSION].trace_id(g.span) if "span" in g else None


def carried() -> dict[str, str]:
    """Return job arguments that make a job's trace a child of the current request."""
    return current_app.extensions[EXTENSION].carried(g.span) if "span" in g else {}


def _name() -> str:
    method = request.method if request.method in METHODS else "HTTP"
    return f"{method} {request.url_rule.rule}" if request.url_rule else method


def _attributes() -> Attributes:
    """Return OpenTelemetry's HTTP attributes of a request, without its URL, which may contain anything."""
    attributes = {
        "http.request.method": request.method if request.method in METHODS else "_OTHER",
        "url.scheme": request.scheme,
        "network.protocol.version": request.environ.get("SERVER_PROTOCOL", "").removeprefix("HTTP/"),
        "catdog.request_id": request_id(),
    }
    if request.url_rule:
        attributes["http.route"] = request.url_rule.rule
    return attributes


def _finish(tracing: Tracing, model: LiveModel, span: "Span", status: int) -> None:
    """Add the result of a request to its span."""
    span.set_attribute("http.response.status_code", status)
    kinds = [kind for _, kind in problem_kinds()]
    if status >= 500:
        tracing.fail(span, kinds[0] if kinds else str(status))
    elif kinds:
        span.set_attribute("catdog.problem", kinds[0])
    predictions: list[Prediction] = g.predictions
    if len(predictions) == 1:
        span.set_attribute("catdog.verdict", predictions[0].verdict)
    elif predictions:
        span.set_attribute("catdog.verdicts", [prediction.verdict for prediction in predictions])
    if predictions or model.is_ready:
        version = predictions[0].model_version if predictions else model.predictor.version.number
        span.set_attribute("catdog.model.version", version)
    for name, begun, ended in g.steps:
        tracing.start(name, span, started_ns=begun).end(ended)


def _record_prediction(prediction: Prediction) -> None:
    if has_request_context() and "predictions" in g:
        g.predictions.append(prediction)


@contextmanager
def _timed(step: str) -> Iterator[None]:
    begun = time.time_ns()
    try:
        yield
    finally:
        if has_request_context() and "steps" in g and len(g.steps) < MOST_STEPS:
            g.steps.append((step, begun, time.time_ns()))


def _safely(work: Callable[..., Any]) -> Callable[..., Any]:
    """Return `work` with its errors logged, as tracing must not break requests."""

    def call(*arguments: Any) -> Any:
        try:
            return work(*arguments)
        except Exception:
            _log.warning("A request wasn't traced.", exc_info=True)
            return None

    return call
