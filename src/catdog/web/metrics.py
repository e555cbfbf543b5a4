"""Metrics of all processes of the server in Prometheus format.

Under gunicorn each process writes its values to files in a private folder, which is made before the fork and named by
PROMETHEUS_MULTIPROC_DIR; the process that gets the request adds them up. Without that folder the metrics are those of
one process. `prometheus_client` decides this when it is imported, so it is imported in functions.
"""

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from catdog.web import metrics_folder

if TYPE_CHECKING:
    from prometheus_client.core import Metric

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"

RESERVED_BYTES: Final = {"counter": 2**19, "histogram": 2**19, "gauge_livesum": 2**16}
"""Size of a process's file of each kind: several times what all routes, statuses and a hundred versions need."""

DURATIONS: Final = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
CONFIDENCES: Final = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99, 1.0)
NOVELTIES: Final = (0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 1.0)
METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
OTHER: Final = "other"
"""Label for unknown methods and URLs without a route, since labels must stay few."""

_log = logging.getLogger(__name__)


class Exposition:
    """The metrics of one process, and of all. Any number of threads may use it."""

    def __init__(self, facts: Callable[[], Iterable["Metric"]]) -> None:
        """Create the metrics; `facts` returns further ones for the whole server, at each request."""
        self._facts = facts
        self._failed = False
        _reserve()
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "catdog_request", "Requests by method, route and status.", ["method", "route", "status"], registry=registry
        )
        self._durations = Histogram(
            "catdog_request_duration_seconds",
            "Duration of requests in seconds.",
            ["route"],
            registry=registry,
            buckets=DURATIONS,
        )
        self._in_progress = Gauge(
            "catdog_request_in_progress", "Requests in progress.", registry=registry, multiprocess_mode="livesum"
        )
        self._predictions = Counter(
            "catdog_predictions",
            "Predictions by class, verdict and version.",
            ["class", "verdict", "version"],
            registry=registry,
        )
        self._confidence = Histogram(
            "catdog_prediction_confidence", "Confidence of predictions.", registry=registry, buckets=CONFIDENCES
        )
        self._novelty = Histogram("catdog_novelty", "Novelty of images.", registry=registry, buckets=NOVELTIES)
        # Looking up a metric by its labels costs more than counting, and there are few.
        self._children: dict[tuple[str, ...], Any] = {}

    def begin_request(self) -> None:
        """Count a request that begins."""
        self._safely(self._in_progress.inc)

    def end_request(self) -> None:
        """Count a request that has ended, successful or not."""
        self._safely(self._in_progress.dec)

    def count_request(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count a response; `route` is the rule of the URL, None if there is none."""
        self._safely(self._count_request, method if method in METHODS else OTHER, route or OTHER, status, seconds)

    def count_prediction(self, version: int, class_name: str, verdict: str, confidence: float, novelty: float) -> None:
        """Count a prediction."""
        self._safely(self._count_prediction, version, class_name, verdict, confidence, novelty)

    def render(self) -> tuple[bytes, str]:
        """Return the metrics of all processes as text, and its media type."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = self._registry
        if VARIABLE in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        facts = CollectorRegistry()
        for metric in self._facts():
            facts.register(_Given(metric))
        return generate_latest(registry) + generate_latest(facts), CONTENT_TYPE_LATEST

    def _count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        key = ("request", method, route, str(status))
        if (child := self._children.get(key)) is None:
            child = self._children[key] = self._requests.labels(*key[1:])
        child.inc()
        if (timed := self._children.get((route,))) is None:
            timed = self._children[(route,)] = self._durations.labels(route)
        timed.observe(seconds)

    def _count_prediction(self, version: int, class_name: str, verdict: str, confidence: float, novelty: float) -> None:
        key = (class_name, verdict, str(version))
        if (child := self._children.get(key)) is None:
            child = self._children[key] = self._predictions.labels(*key)
        child.inc()
        self._confidence.observe(confidence)
        self._novelty.observe(novelty)

    def _safely(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except Exception as error:  # monitoring must not break predictions
            if not self._failed:
                _log.warning("Metrics are incomplete from now on: %s", error)
            self._failed = True


class _Given:
    """A collector of one metric that exists already."""

    def __init__(self, metric: "Metric") -> None:
        self._metric = metric

    def collect(self) -> Iterable["Metric"]:
        return [self._metric]


def make_folder(parent: str | None) -> None:
    """Make the folder for this server's processes before they start, and remove those of killed servers."""
    where = Path(parent or tempfile.gettempdir())
    metrics_folder.remove_orphans(where)
    try:
        os.environ[VARIABLE] = str(metrics_folder.make_locked(where))
    except OSError as error:
        os.environ.pop(VARIABLE, None)
        _log.warning("Metrics are those of one process each, as their folder can't be made: %s", error)


def remove_folder() -> None:
    """Remove the folder after the last process has ended."""
    if folder := os.environ.pop(VARIABLE, None):
        metrics_folder.remove(Path(folder))


def close_process(pid: int) -> None:
    """Drop a dead process's requests in progress, keep its counts, and free the rest of its space."""
    if VARIABLE not in os.environ:
        return
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid)  # type: ignore[no-untyped-call]
    for kind in ("counter", "histogram"):
        path = Path(os.environ[VARIABLE], f"{kind}_{pid}.db")
        try:
            with path.open("rb") as file:
                used = int.from_bytes(file.read(4), sys.byteorder)
            os.truncate(path, max(used, 8))
        except OSError as error:
            _log.debug("The metrics of process %d keep their size: %s", pid, error)


def _reserve() -> None:
    """Reserve the space of this process's files, as mapped memory on a full disk would kill the process later."""
    if VARIABLE not in os.environ:
        return
    try:
        for kind, size in RESERVED_BYTES.items():
            with Path(os.environ[VARIABLE], f"{kind}_{os.getpid()}.db").open("ab") as file:
                file.write(bytes(max(0, size - file.tell())))
    except OSError as error:
        del os.environ[VARIABLE]
        _log.warning("Metrics are those of this process only, as there is no space for their files: %s", error)
