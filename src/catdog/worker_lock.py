"""One worker at a time: by a lock on a file of the home, and on Postgres by a lock of the database as well.

The first ends with the process that holds it, but over a network it may hold on one machine only. The second holds over
all machines and homes that share a database, but ends with its connection
(https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS): where the server was started anew, or
the network failed, the worker takes it again, and leaves its job to another one that was quicker.
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

from catdog import database
from catdog.errors import JobError
from catdog.settings import Settings

KEY: Final = 0x636174646F67776B
"""Key of the database's lock: "catdogwk" in ASCII."""

LOOK_SECONDS: Final = 1.0
"""How often a worker makes sure of its lock, and how often one that waits tries."""

HANDOVER_SECONDS: Final = 3.0
"""How long a worker that had to wait leaves the one before to notice."""

_log = logging.getLogger(__name__)


class WorkerLock:
    """The lock of the database, which may be lost; on SQLite there is none, and it never is. Threads may share it."""

    def __init__(self, settings: Settings) -> None:
        url = settings.resolved_database_url
        is_shared = make_url(url).get_backend_name() == "postgresql"
        self._engine = database.connect(url, poolclass=NullPool) if is_shared else None
        self._connection: Connection | None = None
        self._turn = threading.Lock()
        self._look_at = 0.0

    def take(self) -> bool:
        """Take the lock, or make sure of it; False where another worker has it.

        Raises:
            OperationalError: the server cannot be reached.
        """
        if self._engine is None:
            return True
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            # Who has it gets it again: only by another connection, after the loss of this one, it may be refused.
            taken = bool(self._connection.scalar(select(func.pg_try_advisory_lock(KEY))))
            self._connection.commit()
        except DBAPIError:
            self.let_go()
            raise
        if not taken:
            self.let_go()
        return taken

    def is_mine(self) -> bool:
        """Tell whether it is still held, as far as can be known: nobody takes it while the server is away."""
        if time.monotonic() < self._look_at or not self._turn.acquire(blocking=False):
            return True
        try:
            self._look_at = time.monotonic() + LOOK_SECONDS
            with suppress(DBAPIError):
                return self.take()
            return self.take()  # by another connection: that one was lost
        except DBAPIError as error:
            _log.warning("The database's lock for workers cannot be looked at now: %s", error.orig)
            return True
        finally:
            self._turn.release()

    def let_go(self) -> None:
        """Give it to whoever waits."""
        if self._connection is not None:
            with suppress(DBAPIError):
                self._connection.close()
        self._connection = None


@contextmanager
def only_worker(settings: Settings, timeout: float = -1) -> Iterator[WorkerLock]:
    """Be the only worker of a home and a database; waits for another one's end.

    Raises:
        JobError: another one is there after `timeout` seconds; under 0 means for ever.
        OperationalError: the server of the database cannot be reached for as long.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    lock = WorkerLock(settings)
    try:
        with FileLock(settings.home / ".worker.lock", timeout=timeout):
            _take(lock, timeout)
            yield lock
    except Timeout as error:
        raise JobError(f"One worker a home. Received: another, beside one that runs in {settings.home}.") from error
    finally:
        lock.let_go()


def _take(lock: WorkerLock, timeout: float) -> None:
    until = math.inf if timeout < 0 else time.monotonic() + timeout
    has_waited = False
    while (refusal := _try_to_take(lock)) is not None:
        if time.monotonic() >= until:
            raise refusal
        if not has_waited:
            _log.warning("The worker waits. %s", getattr(refusal, "orig", refusal))
        has_waited = True
        time.sleep(LOOK_SECONDS)
    if has_waited:
        time.sleep(HANDOVER_SECONDS)


def _try_to_take(lock: WorkerLock) -> JobError | OperationalError | None:
    """Take the lock; gives why not, where it could not be taken."""
    try:
        if lock.take():
            return None
    except OperationalError as error:
        return error
    return JobError("One worker a database. Received: another, beside one that has it from elsewhere.")
