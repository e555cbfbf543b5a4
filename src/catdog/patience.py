"""How long threads of one process wait for a lock that others hold, so that those who need no lock find a thread.

Whoever comes when few wait may wait long. Whoever comes later waits briefly, which is enough where the lock goes from
hand to hand; where it has not done so for that long, it is no use to wait at all.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

from filelock import Timeout
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from catdog.errors import DatabaseBusyError, DatabaseTooNewError, DatabaseUnusableError

FOREVER: Final = -1.0
BUSY: Final = (
    "Another program holds the database, or the pictures for retraining, so that this was not kept; try again in a "
    "minute. What was kept before is safe, and sending it again adds nothing."
)
AWAY: Final = (
    "The database cannot be reached, so that this was not kept; try again in a minute. What was kept before is safe, "
    "and sending it again adds nothing."
)
SILENT: Final = (
    "The database has not answered yet, or did not a moment ago, so that this was not kept; try again in a few "
    "seconds. What was kept before is safe, and sending it again adds nothing."
)
DAMAGED: Final = (
    "The database is damaged, or its file is no database. Stop the server, put back a backup or move the file away, "
    "and start it again. Predictions go on meanwhile."
)
CLOSED: Final = (
    "The database cannot be opened or written. Make sure that the server's user may write its file and the folder "
    "around it, and that the disk works. Predictions go on meanwhile."
)
TABLES_MISSING: Final = (
    "The database lacks tables that it should have. Put back a backup, or start the server again, which makes them "
    "anew. Predictions go on meanwhile."
)
OPENING: Final = (
    "The server is still opening the pictures for retraining and putting them in order, as it does once after its "
    "start, so that this was not kept; try again in a minute. What was kept before is safe, and sending it again adds "
    "nothing."
)
BRIEF_SECONDS: Final = 0.5
MOVING_SECONDS: Final = 30.0
"""How long a thread waits for a lock that goes from hand to hand, in this process or another."""

FIRST_SECONDS: Final = 15.0
"""How long all threads wait for a first opening, which other processes may have begun: a slow machine, or one on which
several servers start at once, may need that long. What does not answer at all is given up sooner, by its opener."""

SILENT_SECONDS: Final = 5.0
"""How long a database is left alone after it was waited for in vain: as long as the next vain attempt would take."""

PASSING: Final = frozenset({BUSY, AWAY, SILENT, OPENING})
"""Sentences after which it helps to try again."""

_SQLITE: Final = {
    sqlite3.SQLITE_BUSY: BUSY,
    sqlite3.SQLITE_LOCKED: BUSY,
    sqlite3.SQLITE_PROTOCOL: BUSY,  # two that open or close it at once, in each other's way
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: DAMAGED,
    sqlite3.SQLITE_CANTOPEN: CLOSED,
    sqlite3.SQLITE_READONLY: CLOSED,
    sqlite3.SQLITE_PERM: CLOSED,
    sqlite3.SQLITE_AUTH: CLOSED,
    sqlite3.SQLITE_IOERR: CLOSED,
}
_SCHEMA_WORDS: Final = ("no such table", "no such column", "has no column named", "already exists")
_POSTGRES: Final = {
    **dict.fromkeys(("55P03", "57014", "40001", "40P01"), BUSY),  # no lock, out of time, in each other's way
    **dict.fromkeys(("42P01", "42703", "42P07", "3F000"), TABLES_MISSING),
    **dict.fromkeys(("42501", "25006"), CLOSED),  # no right to, or a copy that is only read
    **dict.fromkeys(("XX001", "XX002"), DAMAGED),
}
T = TypeVar("T")


class Patience:
    """Says how long a thread may wait; by default for as long as it takes. Any number of threads may ask."""

    def __init__(
        self, seconds: float = FOREVER, *, places: int = 2, brief: float = BRIEF_SECONDS, sentence: str = BUSY
    ) -> None:
        """Take the rules.

        Args:
            seconds: for the first `places` threads; `FOREVER` is no limit, for any.
            places: threads that may wait so long, or hold what is waited for.
            brief: seconds for the others, and how long the first may wait before others are refused at once.
            sentence: what those are told.
        """
        self.seconds = seconds
        self.sentence = sentence
        self._places = places
        self._brief = brief
        self._since: list[float] = []
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, is_moving: Callable[[], bool] = lambda: False) -> Iterator[float]:
        """Give the seconds for which this thread may wait; the block is the waiting and the holding.

        Args:
            is_moving: whether what is waited for went to another process a moment ago; then nobody is refused.

        Raises:
            DatabaseBusyError: enough threads have waited long enough.
        """
        if self.seconds == FOREVER:
            yield FOREVER
            return
        began = time.monotonic()
        with self._lock:
            is_late = len(self._since) >= self._places
            if is_late and began - min(self._since) > self._brief and not is_moving():
                raise DatabaseBusyError(self.sentence)
            self._since.append(began)
        try:
            yield self._brief if is_late else self.seconds
        finally:
            with self._lock:
                self._since.remove(began)


class Opening(Generic[T]):
    """Opens something once for all threads, which do not queue for it while it does not answer."""

    def __init__(self, opener: Callable[[], T], sentence: str = SILENT) -> None:
        """Take what opens it, and what those are told who wait in vain; nothing is opened before the first `get`."""
        self.opened: T | None = None
        self._opener = opener
        self._sentence = sentence
        self._patience = Patience(FIRST_SECONDS, brief=FIRST_SECONDS, sentence=sentence)
        self._lock = threading.Lock()
        self._not_before = 0.0

    def get(self) -> T:
        """Give what is open, opened where it was not; raises what the opener does.

        The first time all threads wait for it, `FIRST_SECONDS` at most; once it was waited for in vain, two do.

        Raises:
            DatabaseBusyError: others are waiting for it, or one waited in vain a moment ago.
        """
        if (opened := self.opened) is not None:
            return opened
        with self._patience.turn() as seconds:
            if not self._lock.acquire(timeout=seconds):
                raise DatabaseBusyError(self._sentence)
            try:
                if self.opened is None:
                    self.opened = self._open()
                return self.opened
            finally:
                self._lock.release()

    def _open(self) -> T:
        began = time.monotonic()
        if began < self._not_before:
            raise DatabaseBusyError(self._sentence)
        try:
            return self._opener()
        except Exception:
            failed = time.monotonic()
            if failed - began > BRIEF_SECONDS:  # who refuses at once may be asked at once
                self._not_before = failed + SILENT_SECONDS
                # Whoever comes from now on waits briefly.
                self._patience = Patience(SILENT_SECONDS, sentence=self._sentence)
            raise


def why_no_database(error: BaseException) -> str | None:
    """Say that the database is held by others, away, damaged or closed, and what to do; None for any other error."""
    if isinstance(error, DatabaseBusyError | DatabaseTooNewError | DatabaseUnusableError):
        return str(error)
    if isinstance(error, PoolTimeoutError | Timeout):  # all connections, or the lock of an opening, in use for too long
        return BUSY
    original = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(original, sqlite3.Error):
        # The lowest byte of SQLite's extended codes is the code (https://www.sqlite.org/rescode.html).
        code = getattr(original, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_ERROR and any(words in str(original) for words in _SCHEMA_WORDS):
            return TABLES_MISSING
        return _SQLITE.get(code)
    if not isinstance(error, DBAPIError):
        return None
    if (state := getattr(original, "sqlstate", None)) in _POSTGRES:
        return _POSTGRES[state]
    # A server that was not reached, was stopped, is starting, or takes no more.
    return AWAY if isinstance(error, OperationalError) else None
