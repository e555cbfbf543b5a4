"""Metrics in Prometheus' form, over all processes of the server.

Under gunicorn each process writes its values into files of its own in a private folder, which is made before the fork
and named by PROMETHEUS_MULTIPROC_DIR; whichever process is asked adds them up. Without that folder the metrics are
those of one process. `prometheus_client` decides between the two when it is imported, so it is imported in functions.
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
"""Size of a process' file of each kind: several times what all routes, statuses and a hundred versions need."""

DURATIONS: Final = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
CONFIDENCES: Final = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99, 1.0)
NOVELTIES: Final = (0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 1.0)
METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
OTHER: Final = "other"
"""Label of what is not in a list: an unknown method, an address that is no route. Labels must stay few."""

_log = logging.getLogger(__name__)


class Exposition:
    """The metrics of a process, and the way to those of all. Any number of threads may use it."""

    def __init__(self, facts: Callable[[], Iterable["Metric"]]) -> None:
        """Make the metrics; `facts` gives more of them whenever somebody asks, true for the whole server."""
        self._facts = facts
        self._failed = False
        _reserve()
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "catdog_request", "Requests that were answered.", ["method", "route", "status"], registry=registry
        )
        self._durations = Histogram(
            "catdog_request_duration_seconds", "Time for a request.", ["route"], registry=registry, buckets=DURATIONS
        )
        self._in_progress = Gauge(
            "catdog_request_in_progress", "Requests under way.", registry=registry, multiprocess_mode="livesum"
        )
        self._predictions = Counter(
            "catdog_predictions", "Pictures answered for.", ["class", "verdict", "version"], registry=registry
        )
        self._confidence = Histogram(
            "catdog_prediction_confidence", "Confidence of answers.", registry=registry, buckets=CONFIDENCES
        )
        self._novelty = Histogram("catdog_novelty", "Novelty of pictures.", registry=registry, buckets=NOVELTIES)
        # Finding a metric by its labels costs more than counting; there are few.
        self._children: dict[tuple[str, ...], Any] = {}

    def begin_request(self) -> None:
        """Count a request that begins."""
        self._safely(self._in_progress.inc)

    def end_request(self) -> None:
        """Count a request that is over, however it ended."""
        self._safely(self._in_progress.dec)

    def count_request(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count a request that was answered; `route` is the rule of the URL, None where there is none."""
        self._safely(self._count_request, method if method in METHODS else OTHER, route or OTHER, status, seconds)

    def count_prediction(self, version: int, class_name: str, verdict: str, confidence: float, novelty: float) -> None:
        """Count one answer."""
        self._safely(self._count_prediction, version, class_name, verdict, confidence, novelty)

    def render(self) -> tuple[bytes, str]:
        """Give the metrics of all processes as text, and its media type."""
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
        except Exception as error:  # watching never breaks answering
            if not self._failed:
                _log.warning("Metrics are not complete from now on. Received: %s", error)
            self._failed = True


class _Given:
    """A collector of one metric that is known already."""

    def __init__(self, metric: "Metric") -> None:
        self._metric = metric

    def collect(self) -> Iterable["Metric"]:
        return [self._metric]


def make_folder(parent: str | None) -> None:
    """Make the folder for this server's processes and name it to them, before they start; remove killed servers'."""
    where = Path(parent or tempfile.gettempdir())
    metrics_folder.remove_orphans(where)
    try:
        os.environ[VARIABLE] = str(metrics_folder.make_locked(where))
    except OSError as error:
        os.environ.pop(VARIABLE, None)
        _log.warning("Metrics are those of one process each: there is no folder for them. Received: %s", error)


def remove_folder() -> None:
    """Remove what `make_folder` made; when no process is left."""
    if folder := os.environ.pop(VARIABLE, None):
        metrics_folder.remove(Path(folder))


def bury(pid: int) -> None:
    """Take a process that ended out of what is under way, keep what it counted, and give back the rest of its space."""
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
            _log.debug("The metrics of process %d keep their size. Received: %s", pid, error)


def _reserve() -> None:
    """Take the space of this process' files now: memory that is mapped to a full disk would kill the process later."""
    if VARIABLE not in os.environ:
        return
    try:
        for kind, size in RESERVED_BYTES.items():
            with Path(os.environ[VARIABLE], f"{kind}_{os.getpid()}.db").open("ab") as file:
                file.write(bytes(max(0, size - file.tell())))
    except OSError as error:
        del os.environ[VARIABLE]
        _log.warning("Metrics are those of this process alone: there is no space for them. Received: %s", error)
