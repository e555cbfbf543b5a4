"""Metrics, error counts and log lines of requests, and the route of the metrics."""

import logging
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from apiflask import APIBlueprint
from flask import Flask, Response, current_app, g, request

from catdog.monitoring.summary import retrainings
from catdog.web.metrics import Exposition
from catdog.web.problems import problem_kinds, request_id
from catdog.web.routes import unlimited
from catdog.web.security.permissions import open_to_all
from catdog.web.service import Service
from catdog.web.telemetry.tracing import trace_id

if TYPE_CHECKING:
    from prometheus_client.core import Metric

metrics = APIBlueprint("metrics", __name__, tag="Probes")
requests_log = logging.getLogger("catdog.requests")
_log = logging.getLogger(__name__)

_RESPONSES: Final[dict[int, Any]] = {
    200: {
        "description": "Metrics of all processes in Prometheus format",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
}


@metrics.get("/metrics")
@metrics.doc(responses=_RESPONSES)
@open_to_all
@unlimited
def show() -> Response:
    """Return the server's metrics for Prometheus."""
    exposition: Exposition = current_app.extensions["catdog_exposition"]
    body, media_type = exposition.render()
    return Response(body, content_type=media_type)


def install(app: Flask, service: Service) -> None:
    """Measure an app's requests; must be installed before parts that may refuse one."""
    exposition = Exposition(lambda: _server_metrics(service))
    app.extensions["catdog_exposition"] = service.counter.exposition = exposition
    if in_json := service.settings.log == "json":
        requests_log.setLevel(logging.INFO)

    def begin() -> None:
        g.started_at = time.perf_counter()
        exposition.begin_request()

    def finish(response: Response) -> Response:
        seconds = time.perf_counter() - g.get("started_at", time.perf_counter())
        route = request.url_rule.rule if request.url_rule else None
        exposition.count_request(request.method, route, response.status_code, seconds)
        if response.status_code >= 400 or problem_kinds():
            _count_errors(service, response.status_code)
        if in_json:
            _log_request(service, route, response.status_code, seconds)
        return response

    def end(_error: BaseException | None) -> None:
        if "started_at" in g:
            exposition.end_request()

    app.before_request(begin)
    app.after_request(finish)
    app.teardown_request(end)


def _count_errors(service: Service, status: int) -> None:
    for found, kind in problem_kinds() or [(status, HTTPStatus(status).phrase)]:
        service.counts.add_error(found, kind)


def _log_request(service: Service, route: str | None, status: int, seconds: float) -> None:
    fields: dict[str, Any] = {
        "request_id": request_id(),
        "method": request.method,
        "route": route,
        "status": status,
        "ms": round(seconds * 1000, 2),
        "version": service.model.predictor.version.number if service.model.is_ready else None,
    }
    if (trace := trace_id()) is not None:
        fields["trace_id"] = trace
    requests_log.info("request", extra={"fields": fields})


def _server_metrics(service: Service) -> Iterable["Metric"]:
    """Yield the metrics of the whole server, from its state and database."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    yield GaugeMetricFamily("catdog_uptime_seconds", "Seconds since the server started.", service.status.uptime_seconds)
    if service.model.is_ready:
        predictor = service.model.predictor
        info = GaugeMetricFamily("catdog_model_info", "Version in use.", labels=["version", "backbone", "precision"])
        values = [str(predictor.version.number), str(predictor.version.metadata["backbone"]), predictor.precision]
        info.add_metric(values, 1)
        yield info
    if (drift := service.status.drift()) is not None:
        yield GaugeMetricFamily(
            "catdog_drift_score", "Distance of recent predictions from those on the test images.", drift.score
        )
        yield GaugeMetricFamily(
            "catdog_drift_warning", "1 if the drift is significant and above the threshold.", drift.warning
        )
    trained = CounterMetricFamily("catdog_retrain", "Retraining jobs by result.", labels=["result"])
    for result, count in retrainings(service.counts).items():
        trained.add_metric([result], count)
    yield trained
