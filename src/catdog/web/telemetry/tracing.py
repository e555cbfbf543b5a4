"""A span for each request and for each step of its predictions, where `telemetry` says that traces are wanted.

Where they are not, no hook is registered and the plain `Predictor` answers. A span says which route was asked and what
came of it, and never what was sent: no picture, file name, address, key or body.
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
"""Steps of a request that get a span each, those of 20 pictures: batches would fill the queue and push out others."""

_log = logging.getLogger(__name__)


class TimedPredictor(Predictor):
    """A predictor that notes for the request under way when each step of an answer began and ended."""

    def pixels(self, picture: Source) -> NDArray[np.uint8]:
        """Decode a picture."""
        with _noted("decode"):
            return super().pixels(picture)

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the network."""
        with _noted("network"):
            return super().embed(pixels)

    def answer(self, features: NDArray[np.float32]) -> Prediction:
        """Run the head, and judge novelty."""
        with _noted("head"):
            return super().answer(features)


def install(app: Flask, service: Service, tracing: Tracing | None) -> None:
    """Make a span for each request of an app; without tracing, do nothing."""
    if tracing is None:
        return
    app.extensions[EXTENSION] = tracing

    note = _safely(_finish)

    def begin() -> None:
        span = tracing.start(_name(), tracing.received(request.headers), _asked(), is_request=True)
        g.span = span
        if span.is_recording():  # otherwise the sampler left it out
            g.steps, g.answers = [], []

    def finish(response: Response) -> Response:
        if "steps" in g:
            note(tracing, service.model, g.span, response.status_code)
        return response

    def end(_error: BaseException | None) -> None:
        if (span := g.pop("span", None)) is not None:
            span.end()

    app.before_request(_safely(begin))
    app.after_request(finish)
    app.teardown_request(_safely(end))
    service.counter.on_prediction = _note_answer


def trace_id() -> str | None:
    """Give the id of the trace that the request under way belongs to; None where it has none."""
    return current_app.extensions[EXTENSION].trace_id(g.span) if "span" in g else None


def carried() -> dict[str, str]:
    """Give what makes a job the child of the request under way, for the arguments of the job."""
    return current_app.extensions[EXTENSION].carried(g.span) if "span" in g else {}


def _name() -> str:
    method = request.method if request.method in METHODS else "HTTP"
    return f"{method} {request.url_rule.rule}" if request.url_rule else method


def _asked() -> Attributes:
    """Describe a request by OpenTelemetry's conventions for HTTP, but for its address, which may say anything."""
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
    """Say what came of a request."""
    span.set_attribute("http.response.status_code", status)
    kinds = [kind for _, kind in problem_kinds()]
    if status >= 500:
        tracing.fail(span, kinds[0] if kinds else str(status))
    elif kinds:
        span.set_attribute("catdog.problem", kinds[0])
    answers: list[Prediction] = g.answers
    if len(answers) == 1:
        span.set_attribute("catdog.verdict", answers[0].verdict)
    elif answers:
        span.set_attribute("catdog.verdicts", [answer.verdict for answer in answers])
    if answers or model.is_ready:
        version = answers[0].model_version if answers else model.predictor.version.number
        span.set_attribute("catdog.model.version", version)
    for name, begun, ended in g.steps:
        tracing.start(name, span, started_ns=begun).end(ended)


def _note_answer(answer: Prediction) -> None:
    if has_request_context() and "answers" in g:
        g.answers.append(answer)


@contextmanager
def _noted(step: str) -> Iterator[None]:
    begun = time.time_ns()
    try:
        yield
    finally:
        if has_request_context() and "steps" in g and len(g.steps) < MOST_STEPS:
            g.steps.append((step, begun, time.time_ns()))


def _safely(work: Callable[..., Any]) -> Callable[..., Any]:
    """Let watching fail without breaking the answer."""

    def call(*arguments: Any) -> Any:
        try:
            return work(*arguments)
        except Exception:
            _log.warning("A request was not traced.", exc_info=True)
            return None

    return call
