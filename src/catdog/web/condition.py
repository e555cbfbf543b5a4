"""Periodic checks for faults that keep the server from saving anything, while predictions work."""

import os
import threading
from collections.abc import Callable
from typing import Final

from sqlalchemy import select

from catdog.monitoring.counts import Counts
from catdog.settings import Settings
from catdog.storage import tables
from catdog.web.problems import is_disk_full, why_not_kept, without_paths

CHECK_SECONDS: Final = 5.0
"""How often a process checks: some system calls, and one row of the database."""

LEAST_FREE_BYTES: Final = 1 << 20
"""With less space, not even the database's log can grow."""

_FULL: Final = (
    "The server's disk is full, so neither counts nor images are saved. Free some space; the server recovers by itself."
)
_CLOSED: Final = (
    "The server can't write to its folder (CATDOG_HOME), so neither counts nor images are saved. Give its user write "
    "permission; the server recovers by itself."
)


class Condition:
    """Faults of the home folder and the database, as messages. Any number of threads may use it."""

    def __init__(self, settings: Settings, counts: Counts) -> None:
        self._settings, self._counts = settings, counts
        self._lock = threading.Lock()
        self.faults: tuple[str, ...] = ()

    def check(self) -> None:
        """Check for faults, and forget those that are gone."""
        with self._lock:
            found = [self._run(check) for check in (self._check_home, self._check_database)]
            self.faults = tuple(without_paths(fault, self._settings) for fault in found if fault is not None)

    def _run(self, check: Callable[[], str | None]) -> str | None:
        try:
            return check()
        except Exception as error:  # monitoring must not break predictions
            if is_disk_full(error):
                return _FULL
            return why_not_kept(error) or "The server can't check its storage. See the server's log."

    def _check_home(self) -> str | None:
        home = self._settings.home
        found = os.statvfs(home)
        if not home.is_dir():
            return "The server's folder (CATDOG_HOME) is a file. Set it to a folder and restart the server."
        if found.f_flag & os.ST_RDONLY or not os.access(home, os.W_OK | os.X_OK):
            return _CLOSED
        return _FULL if found.f_bavail * found.f_frsize < LEAST_FREE_BYTES else None

    def _check_database(self) -> str | None:
        if self._counts.has_database:
            with self._counts.engine().connect() as connection:
                connection.execute(select(tables.counts.c.hour).limit(1)).first()
        return None
