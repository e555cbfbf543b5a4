"""Counts of the server: kept in memory and added to the database about once a second, for all processes.

Counted are predictions (by version, class and verdict), bins of confidence, novelty and latency, errors and trainings,
by hour (UTC) and over all time. A killed process loses the counts since its last flush. If the database is unavailable,
counts wait in memory and predictions continue.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Engine, delete, select

from catdog.evaluation.histograms import latency_bin, share_bin
from catdog.monitoring import samples as sampling
from catdog.monitoring.samples import Sample, Samples
from catdog.settings import Settings
from catdog.storage import database, tables
from catdog.storage.contention import Opening

PREDICTION: Final = "prediction"
CONFIDENCE: Final = "confidence"
NOVELTY: Final = "novelty"
LATENCY: Final = "latency"
ERROR: Final = "error"
RETRAINING: Final = "retraining"

ALL_TIME: Final = 0
"""Used as the hour of the total over all time, which is kept when old hours are removed."""

HOURS_A_DAY: Final = 24
MAX_PENDING: Final = 20_000
"""Maximum distinct counts in memory, about 5 MB; beyond that, older hours only count towards all time."""

MAX_UNSORTED: Final = 5_000
"""Maximum distinct predictions waiting to be split into counts."""

READ_WAIT_SECONDS: Final = 0.5
"""Maximum wait of a reader for a flush in progress."""

_log = logging.getLogger(__name__)


class Key(NamedTuple):
    """Key of a count; see the columns of the table."""

    hour: int
    measure: str
    version: int
    name: str
    detail: str


class Counted(NamedTuple):
    """A prediction as first counted, in a single step for speed: its hour, verdict and bins."""

    hour: int
    version: int
    class_name: str
    verdict: str
    confidence: int
    novelty: int
    latency: int


@dataclass(frozen=True)
class Totals:
    """Numbers of predictions by kind."""

    counts: Mapping[Key, int]

    @property
    def total(self) -> int:
        """Number of all predictions."""
        return sum(self.counts.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the totals in their public form, ready for JSON."""
        named = {"by_class": "name", "by_verdict": "detail", "by_version": "version"}
        return {"total": self.total, **{name: self._by(field) for name, field in named.items()}}

    def _by(self, field: str) -> dict[str, int]:
        sums: Counter[str] = Counter()
        for key, count in self.counts.items():
            sums[str(getattr(key, field))] += count
        return dict(sorted(sums.items()))


class Counts:
    """The counts of one process and their storage; thread-safe."""

    def __init__(self, settings: Settings, *, lock_seconds: float = database.LOCK_SECONDS) -> None:
        self._settings = settings
        self._opening = Opening(lambda: database.open_database(settings, lock_seconds=lock_seconds))
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self.samples = Samples()
        self._unsorted: Counter[Counted] = Counter()
        self._pending: Counter[Key] = Counter()
        self._flushed: Counter[Key] = Counter()
        self._known: Counter[Key] = Counter()
        self._pruned_in = ALL_TIME
        self._failing = False

    def add(
        self, version: int, class_name: str, verdict: str, confidence: float, novelty: float, milliseconds: float
    ) -> None:
        """Count one prediction; confidence and novelty are in [0, 1]."""
        bins = share_bin(confidence), share_bin(novelty), latency_bin(milliseconds)
        prediction = Counted(current_hour(), version, class_name, verdict, *bins)
        with self._lock:
            self._unsorted[prediction] += 1
            if len(self._unsorted) > MAX_UNSORTED:
                self._sort()

    def add_error(self, status: int, kind: str) -> None:
        """Count a request, or one image of several, that failed."""
        self._add_one(Key(current_hour(), ERROR, 0, kind[:255], str(status)))

    def add_retraining(self, result: str) -> None:
        """Count a retraining job by its result."""
        self._add_one(Key(current_hour(), RETRAINING, 0, result[:255], ""))

    def flush(self) -> None:
        """Add pending counts to the database; on failure, keep them for the next flush and warn once."""
        with self._flushing:
            with self._lock:
                self._sort()
                pending, self._pending = self._pending, Counter()
                self._flushed = pending
            samples = self.samples.take()
            try:
                if pending or samples:
                    self._write(pending, samples)
                    self._prune()
                    self._failing = False
            except Exception as error:  # a failure must not stop predictions
                with self._lock:
                    self._pending.update(pending)
                    self._pending, self._flushed = _bounded(self._pending), Counter()
                self.samples.put_back(samples)
                self._warn(error)
            else:
                with self._lock:
                    self._known += _of_all_time(pending)
                    self._flushed = Counter()

    def totals(self) -> Totals:
        """Return the predictions over all processes and restarts; see `over_all_time`."""
        found = self.over_all_time(PREDICTION).items()
        return Totals({key: count for key, count in found if key.measure == PREDICTION})

    def over_all_time(self, measure: str | None = None) -> Counter[Key]:
        """Return the counts over all time, stored and pending, by default of all measures.

        If the database can't be read, returns the last known counts; so it does for measures other than `measure`.
        """
        if not self._flushing.acquire(timeout=READ_WAIT_SECONDS):
            with self._lock:
                self._sort()
                return self._known + _of_all_time(self._flushed) + _of_all_time(self._pending)
        try:  # without the lock, counts being flushed could be missing or counted twice
            known = self._try_to_read(ALL_TIME, ALL_TIME, measure)
            with self._lock:
                if known is not None:
                    others = {k: n for k, n in self._known.items() if measure not in (None, k.measure)}
                    self._known = known + Counter(others)
                self._sort()
                return self._known + _of_all_time(self._pending)
        finally:
            self._flushing.release()

    def since(self, hour: int) -> Counter[Key]:
        """Return the counts by hour from `hour`; only of this process if the database can't be read."""
        if not self._flushing.acquire(timeout=READ_WAIT_SECONDS):
            with self._lock:
                self._sort()
                return _from(hour, self._flushed) + _from(hour, self._pending)
        try:
            known = self._try_to_read(max(hour, ALL_TIME + 1), None) or Counter()
            with self._lock:
                self._sort()
                return known + _from(hour, self._pending)
        finally:
            self._flushing.release()

    def close(self) -> None:
        """Flush a last time and close the database."""
        self.flush()
        if self._opening.opened is not None:
            self._opening.opened.dispose()
            self._opening.opened = None

    @property
    def has_database(self) -> bool:
        """Whether the database exists; doesn't create it."""
        return self._opening.opened is not None or database.database_exists(self._settings)

    def engine(self) -> Engine:
        """Return the database, opening it if necessary; raises the errors of `Opening.get`."""
        return self._opening.get()

    def _add_one(self, key: Key) -> None:
        with self._lock:
            self._pending[key] += 1

    def _sort(self) -> None:
        """Split predictions into counts; the caller holds the lock."""
        for prediction, count in self._unsorted.items():
            hour, version, class_name, verdict, *bins = prediction
            self._pending[Key(hour, PREDICTION, version, class_name, verdict)] += count
            for measure, number in zip((CONFIDENCE, NOVELTY, LATENCY), bins, strict=True):
                self._pending[Key(hour, measure, version, str(number), "")] += count
        self._unsorted.clear()

    def _try_to_read(self, first: int, last: int | None, measure: str | None = None) -> Counter[Key] | None:
        try:
            if not self.has_database:
                return Counter()
            table = tables.counts
            wanted = select(*table.c).where(table.c.hour >= first)
            if last is not None:
                wanted = wanted.where(table.c.hour <= last)
            if measure is not None:
                wanted = wanted.where(table.c.measure == measure)
            with self.engine().connect() as connection:
                return Counter({Key(*row[:5]): row[5] for row in connection.execute(wanted)})
        except Exception as error:  # a failure must not stop predictions
            self._warn(error)
            return None

    def _write(self, pending: Counter[Key], samples: Sequence[Sample]) -> None:
        engine, table = self.engine(), tables.counts
        # In the same order in all processes, to avoid deadlocks.
        rows = [
            {**key._asdict(), "count": count}
            for part in (_from(ALL_TIME + 1, pending), _of_all_time(pending))
            for key, count in sorted(part.items())
        ]
        insert = database.insert_into(engine, table)
        upsert = insert.on_conflict_do_update(
            index_elements=list(table.primary_key), set_={"count": table.c["count"] + insert.excluded["count"]}
        )
        with engine.begin() as connection:
            if rows:
                connection.execute(upsert, rows)
            if samples:
                sampling.write(connection, samples)

    def _prune(self) -> None:
        """Remove expired hours, once an hour."""
        hour = current_hour()
        if hour == self._pruned_in:
            return
        self._pruned_in = hour
        table, oldest = tables.counts, hour - self._settings.history_days * HOURS_A_DAY
        try:
            with self.engine().begin() as connection:
                connection.execute(delete(table).where(table.c.hour > ALL_TIME, table.c.hour < oldest))
        except Exception as error:  # the counts are stored already and must not be added again
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        if not self._failing:
            _log.warning("Counts wait in memory, as the database is unavailable: %s", database.driver_message(error))
        self._failing = True


def current_hour() -> int:
    """Return the number of the current hour since 1970, in UTC."""
    return int(time.time() // 3600)


def _of_all_time(counts: Mapping[Key, int]) -> Counter[Key]:
    sums: Counter[Key] = Counter()
    for key, count in counts.items():
        sums[key._replace(hour=ALL_TIME)] += count
    return sums


def _from(hour: int, counts: Mapping[Key, int]) -> Counter[Key]:
    return Counter({key: count for key, count in counts.items() if key.hour >= max(hour, ALL_TIME + 1)})


def _bounded(pending: Counter[Key]) -> Counter[Key]:
    """Limit pending counts by merging older hours into all time."""
    if len(pending) <= MAX_PENDING:
        return pending
    latest = max(key.hour for key in pending)
    older = {key: count for key, count in pending.items() if key.hour < latest}
    return _from(latest, pending) + _of_all_time(older)
