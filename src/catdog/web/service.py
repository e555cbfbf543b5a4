"""The parts of a server process, the threads that update them, and functions that return them to routes."""

import atexit
import logging
import threading
from collections.abc import Callable
from typing import Final, cast

from flask import Flask, current_app
from sqlalchemy import Engine

from catdog.data.images import gate
from catdog.errors import CatdogError
from catdog.monitoring.counts import Counts
from catdog.prediction.predictor import Predictor
from catdog.settings import Settings
from catdog.storage.contention import why_no_database
from catdog.storage.database import driver_message
from catdog.web.condition import CHECK_SECONDS, Condition
from catdog.web.live_model import LiveModel
from catdog.web.memory import release_memory
from catdog.web.prediction_counter import PredictionCounter
from catdog.web.server_status import ServerStatus

POLL_SECONDS: Final = 0.25
"""How often a process checks for a new champion: one `stat` of a file, some microseconds."""

FLUSH_SECONDS: Final = 1.0
"""How often counts are written to the database."""

LOCK_SECONDS: Final = 5.0
"""How long a request waits for a locked database: several times what a batch of rows takes on a slow disk."""

DRIFT_SECONDS: Final = 10.0
"""How often a process checks whether it is time to measure drift."""

_EXTENSION: Final = "catdog"
_log = logging.getLogger(__name__)


class Service:
    """The parts of one process: its model, counts and status."""

    def __init__(self, settings: Settings, predictor_class: type[Predictor] = Predictor) -> None:
        self.settings = settings
        self.counts = Counts(settings, lock_seconds=LOCK_SECONDS)
        self.counter = PredictionCounter(self.counts)
        self.model = LiveModel(settings, predictor_class, self.counter.add)
        self.status = ServerStatus(settings, self.model, self.counts)
        self.condition = Condition(settings, self.counts)
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def install(self, app: Flask) -> None:
        """Make the parts available to an app's routes."""
        app.extensions[_EXTENSION] = self

    def start(self) -> None:
        """Load the model and start the threads."""
        gate.serve(release_memory)
        self.model.start()
        tasks: tuple[tuple[Callable[[], None], float], ...] = (
            (self.model.refresh, POLL_SECONDS),
            (self.counts.flush, FLUSH_SECONDS),
            (self.status.measure_drift, DRIFT_SECONDS),
            (self.condition.check, CHECK_SECONDS),
        )
        for task, every in tasks:
            name = f"catdog-{getattr(task, '__name__', 'task')}"
            thread = threading.Thread(target=self._repeat, args=(task, every), name=name, daemon=True)
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

    def _repeat(self, task: Callable[[], None], every: float) -> None:
        while not self._stopping.wait(every):
            try:
                task()
            except Exception as error:  # the task must run again
                is_known = isinstance(error, CatdogError) or why_no_database(error)  # the message says it all
                sentence = "A background task failed and will be retried: %s"
                _log.error(sentence, driver_message(error), exc_info=None if is_known else error)


def current_settings() -> Settings:
    """Return the settings of the app that handles this request."""
    return _current().settings


def live_model() -> LiveModel:
    """Return the model in use."""
    return _current().model


def counts() -> Counts:
    """Return the counts of this process."""
    return _current().counts


def database() -> Engine:
    """Return the database, opening it if necessary; raises what `Counts.engine` does."""
    return _current().counts.engine()


def server_status() -> ServerStatus:
    """Return the reports of this process."""
    return _current().status


def condition() -> Condition:
    """Return the faults that keep the server from saving anything."""
    return _current().condition


def _current() -> Service:
    return cast(Service, current_app.extensions[_EXTENSION])
