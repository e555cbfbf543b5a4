"""What the server did: counted in memory, added to the database about once a second, right over all processes.

Counted are predictions (by version, class and verdict), bins of confidence, novelty and latency, errors and trainings,
each by hour (UTC) and over all time. A process that is killed loses at most what it counted since its last flush. A
database that cannot be reached loses nothing: the counts wait in memory, and answering goes on.
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
"""In place of an hour: the sum over all of them, which stays when old hours are removed."""

HOURS_A_DAY: Final = 24
MOST_PENDING: Final = 20_000
"""Most kinds of counts that wait in memory, about 5 MB; past that, older hours are kept as part of all time only."""

MOST_ANSWERS: Final = 5_000
"""Most kinds of answers that wait to be taken apart, while a flush waits for the database."""

PATIENCE_SECONDS: Final = 0.5
"""How long a reader waits for a flush that waits for the database."""

_log = logging.getLogger(__name__)


class Key(NamedTuple):
    """What is counted, and when; the columns of the table say what each is."""

    hour: int
    measure: str
    version: int
    name: str
    detail: str


class Answer(NamedTuple):
    """A prediction as it is counted at first, in one step, which is quick: in which hour, what, and in which bins."""

    hour: int
    version: int
    class_name: str
    verdict: str
    confidence: int
    novelty: int
    latency: int


@dataclass(frozen=True)
class Totals:
    """How many predictions there were of each kind."""

    counts: Mapping[Key, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    def as_dict(self) -> dict[str, Any]:
        """Give the totals in their public form, ready for JSON."""
        named = {"by_class": "name", "by_verdict": "detail", "by_version": "version"}
        return {"total": self.total, **{name: self._by(field) for name, field in named.items()}}

    def _by(self, field: str) -> dict[str, int]:
        sums: Counter[str] = Counter()
        for key, count in self.counts.items():
            sums[str(getattr(key, field))] += count
        return dict(sorted(sums.items()))


class Counts:
    """The counts of one process, and the way to the database. Any number of threads may use it."""

    def __init__(self, settings: Settings, *, lock_seconds: float = database.LOCK_SECONDS) -> None:
        self._settings = settings
        self._opening = Opening(lambda: database.open_database(settings, lock_seconds=lock_seconds))
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self.samples = Samples()
        self._answers: Counter[Answer] = Counter()
        self._pending: Counter[Key] = Counter()
        self._under_way: Counter[Key] = Counter()
        self._known: Counter[Key] = Counter()
        self._pruned_in = ALL_TIME
        self._failing = False

    def add(
        self, version: int, class_name: str, verdict: str, confidence: float, novelty: float, milliseconds: float
    ) -> None:
        """Count one prediction; confidence and novelty are in [0, 1]."""
        seen = share_bin(confidence), share_bin(novelty), latency_bin(milliseconds)
        answer = Answer(current_hour(), version, class_name, verdict, *seen)
        with self._lock:
            self._answers[answer] += 1
            if len(self._answers) > MOST_ANSWERS:
                self._sort()

    def add_error(self, status: int, kind: str) -> None:
        """Count one request, or one picture of several, that ended in a problem."""
        self._add_one(Key(current_hour(), ERROR, 0, kind[:255], str(status)))

    def add_retraining(self, result: str) -> None:
        """Count one training of the server's own, by how it ended."""
        self._add_one(Key(current_hour(), RETRAINING, 0, result[:255], ""))

    def flush(self) -> None:
        """Add what was counted to the database; where that fails, keep it for the next time and say so once."""
        with self._flushing:
            with self._lock:
                self._sort()
                pending, self._pending = self._pending, Counter()
                self._under_way = pending
            samples = self.samples.take()
            try:
                if pending or samples:
                    self._write(pending, samples)
                    self._prune()
                    self._failing = False
            except Exception as error:  # counting never breaks answering
                with self._lock:
                    self._pending.update(pending)
                    self._pending, self._under_way = _bounded(self._pending), Counter()
                self.samples.put_back(samples)
                self._warn(error)
            else:
                with self._lock:
                    self._known += _of_all_time(pending)
                    self._under_way = Counter()

    def totals(self) -> Totals:
        """Count predictions over all processes and restarts; see `over_all_time`."""
        found = self.over_all_time(PREDICTION).items()
        return Totals({key: count for key, count in found if key.measure == PREDICTION})

    def over_all_time(self, measure: str | None = None) -> Counter[Key]:
        """Give all counts since the beginning: what the database holds, and what waits here.

        Where the database cannot be read, it is what was known last; so it is for others than `measure`, if given.
        """
        if not self._flushing.acquire(timeout=PATIENCE_SECONDS):
            with self._lock:
                self._sort()
                return self._known + _of_all_time(self._under_way) + _of_all_time(self._pending)
        try:  # what is being flushed would be counted twice or not at all
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
        """Give the counts of each hour from that one on; of this process alone where the database cannot be read."""
        if not self._flushing.acquire(timeout=PATIENCE_SECONDS):
            with self._lock:
                self._sort()
                return _from(hour, self._under_way) + _from(hour, self._pending)
        try:
            known = self._try_to_read(max(hour, ALL_TIME + 1), None) or Counter()
            with self._lock:
                self._sort()
                return known + _from(hour, self._pending)
        finally:
            self._flushing.release()

    def close(self) -> None:
        """Flush for the last time and let the database go."""
        self.flush()
        if self._opening.opened is not None:
            self._opening.opened.dispose()
            self._opening.opened = None

    @property
    def has_database(self) -> bool:
        """Whether there is a database to read; looking makes none."""
        return self._opening.opened is not None or database.database_exists(self._settings)

    def engine(self) -> Engine:
        """Give the database, opened where it was not; see `Opening.get` for what is raised where it does not answer."""
        return self._opening.get()

    def _add_one(self, key: Key) -> None:
        with self._lock:
            self._pending[key] += 1

    def _sort(self) -> None:
        """Take each answer apart into what is counted of it; the lock is the caller's."""
        for answer, count in self._answers.items():
            hour, version, class_name, verdict, *bins = answer
            self._pending[Key(hour, PREDICTION, version, class_name, verdict)] += count
            for measure, number in zip((CONFIDENCE, NOVELTY, LATENCY), bins, strict=True):
                self._pending[Key(hour, measure, version, str(number), "")] += count
        self._answers.clear()

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
        except Exception as error:  # counting never breaks answering
            self._warn(error)
            return None

    def _write(self, pending: Counter[Key], samples: Sequence[Sample]) -> None:
        engine, table = self.engine(), tables.counts
        # Sorted: one order for all processes, so that none waits for another in a circle.
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
        """Remove hours that are too old, once an hour; what fails is tried again in the next."""
        hour = current_hour()
        if hour == self._pruned_in:
            return
        self._pruned_in = hour
        table, oldest = tables.counts, hour - self._settings.history_days * HOURS_A_DAY
        try:
            with self.engine().begin() as connection:
                connection.execute(delete(table).where(table.c.hour > ALL_TIME, table.c.hour < oldest))
        except Exception as error:  # what was counted is in the database and must not be added again
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        if not self._failing:
            _log.warning(
                "Counts wait in memory: the database cannot be used. Received: %s", database.driver_message(error)
            )
        self._failing = True


def current_hour() -> int:
    """Number the hour that it is, in UTC, from 1970."""
    return int(time.time() // 3600)


def _of_all_time(counts: Mapping[Key, int]) -> Counter[Key]:
    sums: Counter[Key] = Counter()
    for key, count in counts.items():
        sums[key._replace(hour=ALL_TIME)] += count
    return sums


def _from(hour: int, counts: Mapping[Key, int]) -> Counter[Key]:
    return Counter({key: count for key, count in counts.items() if key.hour >= max(hour, ALL_TIME + 1)})


def _bounded(pending: Counter[Key]) -> Counter[Key]:
    """Keep no more than is allowed to wait: older hours become part of all time."""
    if len(pending) <= MOST_PENDING:
        return pending
    latest = max(key.hour for key in pending)
    older = {key: count for key, count in pending.items() if key.hour < latest}
    return _from(latest, pending) + _of_all_time(older)
