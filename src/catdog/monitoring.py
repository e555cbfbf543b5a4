"""What was predicted: counted in memory, added to the database about once a second, right over all processes.

A process that is killed loses at most what it counted since its last flush. A database that cannot be reached loses
nothing: the counts wait in memory, and answering goes on.
"""

import logging
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Engine, insert, select, update
from sqlalchemy.exc import IntegrityError

from catdog import database
from catdog.settings import Settings

_log = logging.getLogger(__name__)


class Kind(NamedTuple):
    """What predictions are counted by: version, class as shown, verdict."""

    version: int
    class_name: str
    verdict: str


@dataclass(frozen=True)
class Totals:
    """How many predictions there were of each kind, over all processes and restarts."""

    counts: Mapping[Kind, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    def as_dict(self) -> dict[str, Any]:
        """Give the totals in their public form, ready for JSON."""
        named = {"by_class": 1, "by_verdict": 2, "by_version": 0}
        return {"total": self.total, **{name: self._by(field) for name, field in named.items()}}

    def _by(self, field: int) -> dict[str, int]:
        sums: Counter[str] = Counter()
        for kind, count in self.counts.items():
            sums[str(kind[field])] += count
        return dict(sorted(sums.items()))


class PredictionCounts:
    """The counts of one process, and the way to the database. Any number of threads may use it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine: Engine | None = None
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._pending: Counter[Kind] = Counter()
        self._known: dict[Kind, int] = {}
        self._failing = False

    def add(self, version: int, class_name: str, verdict: str) -> None:
        """Count one prediction."""
        with self._lock:
            self._pending[Kind(version, class_name, verdict)] += 1

    def flush(self) -> None:
        """Add what was counted to the database; where that fails, keep it for the next time and say so once."""
        with self._flushing:
            with self._lock:
                pending, self._pending = self._pending, Counter()
            if not pending:
                return
            try:
                self._add(pending)
                self._failing = False
            except Exception as error:  # counting never breaks answering
                with self._lock:
                    self._pending.update(pending)
                self._warn(error)

    def totals(self) -> Totals:
        """Count over all processes: what the database holds, and what waits here.

        Where the database cannot be read, it is what was known last.
        """
        with self._flushing:  # what is being flushed would be counted twice or not at all
            try:
                self._known = self._read()
            except Exception as error:  # as above
                self._warn(error)
            with self._lock:
                return Totals(Counter(self._known) + self._pending)

    def close(self) -> None:
        """Flush for the last time and let the database go."""
        self.flush()
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _open(self) -> Engine:
        if self._engine is None:
            self._engine = database.open_database(self._settings)
        return self._engine

    def _read(self) -> dict[Kind, int]:
        if self._engine is None and not database.database_exists(self._settings):
            return {}
        with self._open().connect() as connection:
            return {Kind(*row[:3]): row[3] for row in connection.execute(select(*database.predictions.c))}

    def _add(self, pending: Counter[Kind]) -> None:
        for kind, count in sorted(pending.items()):  # one order for all processes, so that none waits for another
            try:
                self._add_one(kind, count)
            except IntegrityError:  # another process was the first to count this kind; now there is a row
                self._add_one(kind, count)
            del pending[kind]  # what is in the database must not be added again

    def _add_one(self, kind: Kind, count: int) -> None:
        table = database.predictions
        here = [table.c[name] == value for name, value in kind._asdict().items()]
        with self._open().begin() as connection:
            if not connection.execute(update(table).where(*here).values(count=table.c["count"] + count)).rowcount:
                connection.execute(insert(table).values(**kind._asdict(), count=count))

    def _warn(self, error: Exception) -> None:
        if not self._failing:
            _log.warning("Counts of predictions wait in memory: the database cannot be used. Received: %s", error)
        self._failing = True
