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

from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from catdog.errors import DatabaseBusyError

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
OPENING: Final = (
    "The server is still opening the pictures for retraining and putting them in order, as it does once after its "
    "start, so that this was not kept; try again in a minute. What was kept before is safe, and sending it again adds "
    "nothing."
)
BRIEF_SECONDS: Final = 0.5
FIRST_SECONDS: Final = 3.0
"""How long all threads wait for an opening while nothing speaks against it: a slow machine may need that long."""

SILENT_SECONDS: Final = 5.0
"""How long a database is left alone after it was waited for in vain: as long as the next vain attempt would take."""

_SQLITE_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_POSTGRES_BUSY: Final = frozenset({"55P03", "57014", "40001", "40P01"})  # no lock, out of time, in each other's way
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
    def turn(self) -> Iterator[float]:
        """Give the seconds for which this thread may wait; the block is the waiting and the holding.

        Raises:
            DatabaseBusyError: enough threads have waited long enough.
        """
        if self.seconds == FOREVER:
            yield FOREVER
            return
        began = time.monotonic()
        with self._lock:
            is_late = len(self._since) >= self._places
            if is_late and began - min(self._since) > self._brief:
                raise DatabaseBusyError(self.sentence)
            self._since.append(began)
        try:
            yield self._brief if is_late else self.seconds
        finally:
            with self._lock:
                self._since.remove(began)


class Opening(Generic[T]):
    """Opens something once for all threads, which do not queue for it while it does not answer."""

    def __init__(self, opener: Callable[[], T]) -> None:
        """Take what opens it; nothing is opened before the first `get`."""
        self.opened: T | None = None
        self._opener = opener
        self._patience = Patience(SILENT_SECONDS, brief=FIRST_SECONDS, sentence=SILENT)
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
                raise DatabaseBusyError(SILENT)
            try:
                if self.opened is None:
                    self.opened = self._open()
                return self.opened
            finally:
                self._lock.release()

    def _open(self) -> T:
        began = time.monotonic()
        if began < self._not_before:
            raise DatabaseBusyError(SILENT)
        try:
            return self._opener()
        except Exception:
            failed = time.monotonic()
            if failed - began > BRIEF_SECONDS:  # who refuses at once may be asked at once
                self._not_before = failed + SILENT_SECONDS
                self._patience = Patience(SILENT_SECONDS, sentence=SILENT)  # whoever comes from now on waits briefly
            raise


def why_no_database(error: BaseException) -> str | None:
    """Say that the database was held by others for longer than is waited, or is away; None for any other error."""
    if isinstance(error, PoolTimeoutError):  # all connections of this process were in use for too long
        return BUSY
    if not isinstance(error, OperationalError):
        return None
    if isinstance(error.orig, sqlite3.Error):
        # The lowest byte of SQLite's extended codes is the code (https://www.sqlite.org/rescode.html).
        code = getattr(error.orig, "sqlite_errorcode", None)
        return BUSY if code is not None and code & 0xFF in _SQLITE_BUSY else None
    # A server holds what is asked for, or it was not reached, was stopped, is starting, or takes no more.
    return BUSY if getattr(error.orig, "sqlstate", None) in _POSTGRES_BUSY else AWAY
