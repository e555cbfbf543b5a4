"""How long threads of one process wait for a lock that others hold, so that those who need no lock find a thread.

Whoever comes when few wait may wait long. Whoever comes later waits briefly, which is enough where the lock goes from
hand to hand; where it has not done so for that long, it is no use to wait at all.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

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
_SQLITE_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_POSTGRES_BUSY: Final = frozenset({"55P03", "57014", "40001", "40P01"})  # no lock, out of time, in each other's way


class Patience:
    """Says how long a thread may wait; by default for as long as it takes. Any number of threads may ask."""

    def __init__(self, seconds: float = FOREVER, *, places: int = 2, brief: float = 0.5) -> None:
        """Take the rules.

        Args:
            seconds: for the first `places` threads; `FOREVER` is no limit, for any.
            places: threads that may wait so long, or hold what is waited for.
            brief: seconds for the others, and how long the first may wait before others are refused at once.
        """
        self.seconds = seconds
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
                raise DatabaseBusyError(BUSY)
            self._since.append(began)
        try:
            yield self._brief if is_late else self.seconds
        finally:
            with self._lock:
                self._since.remove(began)


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
