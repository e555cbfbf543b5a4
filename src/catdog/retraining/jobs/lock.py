"""Allows one worker at a time, by a file lock in the home folder and, on PostgreSQL, an advisory lock.

The file lock ends with its process, but may not work across machines on a network share. The advisory lock works for
all machines and homes that share a database, but ends with its connection
(https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS). After a restart of the server or a
network failure, the worker takes it again. If another worker was faster, that one continues the job.
"""

import logging
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from filelock import FileLock, Timeout
from sqlalchemy import Connection, NullPool, func, make_url, select
from sqlalchemy.exc import DBAPIError, OperationalError

from catdog.errors import JobError
from catdog.settings import Settings
from catdog.storage import database

KEY: Final = 0x636174646F67776B
"""Key of the advisory lock: "catdogwk" in ASCII."""

LOOK_SECONDS: Final = 1.0
"""Interval at which a worker checks its lock, and a waiting worker tries to take it."""

HANDOVER_SECONDS: Final = 3.0
"""Time for the previous worker to notice that it lost the lock."""

_log = logging.getLogger(__name__)


class WorkerLock:
    """The advisory lock on PostgreSQL, which may be lost; does nothing on SQLite. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        url = settings.resolved_database_url
        is_shared = make_url(url).get_backend_name() == "postgresql"
        self._engine = database.connect(url, poolclass=NullPool) if is_shared else None
        self._connection: Connection | None = None
        self._checking = threading.Lock()
        self._check_at = 0.0

    def take(self) -> bool:
        """Take the lock, or check that it is still held; return False if another worker has it.

        Raises:
            OperationalError: the server can't be reached.
        """
        if self._engine is None:
            return True
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            # Succeeds again on the connection that holds the lock; a new connection may fail.
            taken = bool(self._connection.scalar(select(func.pg_try_advisory_lock(KEY))))
            self._connection.commit()
        except DBAPIError:
            self.release()
            raise
        if not taken:
            self.release()
        return taken

    def is_mine(self) -> bool:
        """Return whether the lock is still held; True while the server is unavailable, as nobody else can take it."""
        if time.monotonic() < self._check_at or not self._checking.acquire(blocking=False):
            return True
        try:
            self._check_at = time.monotonic() + LOOK_SECONDS
            with suppress(DBAPIError):
                return self.take()
            return self.take()  # with a new connection
        except DBAPIError as error:
            _log.warning("Can't check the worker's lock: %s", error.orig)
            return True
        finally:
            self._checking.release()

    def release(self) -> None:
        """Release the lock for the next worker."""
        if self._connection is not None:
            with suppress(DBAPIError):
                self._connection.close()
        self._connection = None


@contextmanager
def only_worker(settings: Settings, timeout: float = -1) -> Iterator[WorkerLock]:
    """Hold the locks of the only worker of a home and a database; wait while another worker runs.

    Args:
        settings: home and database.
        timeout: seconds to wait; negative for no limit.

    Raises:
        JobError: another worker still runs after `timeout` seconds.
        OperationalError: the server of the database can't be reached within `timeout` seconds.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    lock = WorkerLock(settings)
    try:
        with FileLock(settings.home / ".worker.lock", timeout=timeout):
            _take(lock, timeout)
            yield lock
    except Timeout as error:
        raise JobError(f"A worker is already running for {settings.home}.") from error
    finally:
        lock.release()


def _take(lock: WorkerLock, timeout: float) -> None:
    until = math.inf if timeout < 0 else time.monotonic() + timeout
    has_waited = False
    while (refusal := _try_to_take(lock)) is not None:
        if time.monotonic() >= until:
            raise refusal
        if not has_waited:
            _log.warning("The worker is waiting. %s", getattr(refusal, "orig", refusal))
        has_waited = True
        time.sleep(LOOK_SECONDS)
    if has_waited:
        time.sleep(HANDOVER_SECONDS)


def _try_to_take(lock: WorkerLock) -> JobError | OperationalError | None:
    """Take the lock, or return why it couldn't be taken."""
    try:
        if lock.take():
            return None
    except OperationalError as error:
        return error
    return JobError("A worker is already running for this database, on another machine or with another home folder.")
