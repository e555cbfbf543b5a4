"""Limits how long threads wait for a lock, which keeps threads free for requests that don't need it.

The first few waiters may wait long, later ones only briefly. Brief waits suffice while the lock changes hands; if it
hasn't for that long, later waiters are turned away at once.
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
    "Another program has locked the database or the images for retraining, so nothing was saved. Try again in a "
    "minute; sending an image again doesn't store it twice."
)
AWAY: Final = (
    "The database can't be reached, so nothing was saved. Try again in a minute; sending an image again doesn't store "
    "it twice."
)
SILENT: Final = (
    "The database isn't responding, so nothing was saved. Try again in a few seconds; sending an image again doesn't "
    "store it twice."
)
DAMAGED: Final = (
    "The database is damaged, or its file isn't a database. Stop the server, restore a backup or move the file away, "
    "and start it again. Predictions still work."
)
CLOSED: Final = (
    "The database can't be opened or written. Check that the server's user can write to its file and folder, and that "
    "the disk works. Predictions still work."
)
TABLES_MISSING: Final = (
    "Tables are missing in the database. Restore a backup, or restart the server to create them. Predictions still "
    "work."
)
OPENING: Final = (
    "The server is still opening the images for retraining after its start, so nothing was saved. Try again in a "
    "minute; sending an image again doesn't store it twice."
)
BRIEF_SECONDS: Final = 0.5
MOVING_SECONDS: Final = 30.0
"""How long a thread waits for a lock that keeps changing hands, in this process or another."""

FIRST_SECONDS: Final = 15.0
"""How long threads wait for the first opening: a slow machine, or several servers starting at once, may need it. The
opener itself gives up sooner on a database that doesn't respond."""

SILENT_SECONDS: Final = 5.0
"""Pause after a failed wait for a database: as long as the next failed attempt would take."""

PASSING: Final = frozenset({BUSY, AWAY, SILENT, OPENING})
"""Messages of conditions that pass by themselves."""

_SQLITE: Final = {
    sqlite3.SQLITE_BUSY: BUSY,
    sqlite3.SQLITE_LOCKED: BUSY,
    sqlite3.SQLITE_PROTOCOL: BUSY,  # two processes opening or closing it at once
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
    **dict.fromkeys(
        ("55P03", "57014", "40001", "40P01"), BUSY
    ),  # lock not available, timeout, serialization failure, deadlock
    **dict.fromkeys(("42P01", "42703", "42P07", "3F000"), TABLES_MISSING),
    **dict.fromkeys(("42501", "25006"), CLOSED),  # no permission, or a read-only replica
    **dict.fromkeys(("XX001", "XX002"), DAMAGED),
}
T = TypeVar("T")


class WaitLimit:
    """Decides how long each thread may wait; by default, without limit. Thread-safe."""

    def __init__(
        self, seconds: float = FOREVER, *, places: int = 2, brief: float = BRIEF_SECONDS, sentence: str = BUSY
    ) -> None:
        """Set the limits.

        Args:
            seconds: wait of the first `places` threads; `FOREVER` means no limit for any thread.
            places: threads that may wait that long, or hold the lock.
            brief: wait of later threads, and how long the first may wait before later ones are turned away at once.
            sentence: message for those turned away.
        """
        self.seconds = seconds
        self.sentence = sentence
        self._places = places
        self._brief = brief
        self._since: list[float] = []
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, is_moving: Callable[[], bool] = lambda: False) -> Iterator[float]:
        """Yield how many seconds this thread may wait; the block waits for and holds the lock.

        Args:
            is_moving: whether the lock changed hands a moment ago; then no thread is turned away.

        Raises:
            DatabaseBusyError: other threads have been waiting too long.
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
    """Opens something once for all threads, without a queue of threads while it doesn't respond."""

    def __init__(self, opener: Callable[[], T], sentence: str = SILENT) -> None:
        """Store the opener and the message for a failed wait; nothing is opened before the first `get`."""
        self.opened: T | None = None
        self._opener = opener
        self._sentence = sentence
        self._wait_limit = WaitLimit(FIRST_SECONDS, brief=FIRST_SECONDS, sentence=sentence)
        self._lock = threading.Lock()
        self._not_before = 0.0

    def get(self) -> T:
        """Return the opened object, opening it if necessary; raises the opener's errors.

        At first, all threads wait up to `FIRST_SECONDS`; after a failed wait, only two do.

        Raises:
            DatabaseBusyError: other threads are waiting for it, or one failed a moment ago.
        """
        if (opened := self.opened) is not None:
            return opened
        with self._wait_limit.turn() as seconds:
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
            if failed - began > BRIEF_SECONDS:  # an immediate failure may be retried immediately
                self._not_before = failed + SILENT_SECONDS
                # From now on, threads wait briefly.
                self._wait_limit = WaitLimit(SILENT_SECONDS, sentence=self._sentence)
            raise


def why_no_database(error: BaseException) -> str | None:
    """Return why the database can't be used and what to do; None for other errors."""
    if isinstance(error, DatabaseBusyError | DatabaseTooNewError | DatabaseUnusableError):
        return str(error)
    if isinstance(error, PoolTimeoutError | Timeout):  # all connections, or the opening lock, in use for too long
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
    # A server that is unreachable, stopping, starting or full.
    return AWAY if isinstance(error, OperationalError) else None
