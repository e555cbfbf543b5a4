"""What keeps a server from keeping anything while it goes on answering: looked for now and then, and told."""

import os
import threading
from collections.abc import Callable
from typing import Final

from sqlalchemy import select

from catdog.monitoring.counts import Counts
from catdog.settings import Settings
from catdog.storage import tables
from catdog.web.problems import is_disk_full, why_not_kept, without_paths

LOOK_SECONDS: Final = 5.0
"""How often a process looks: some system calls, and one row of the database."""

LEAST_FREE_BYTES: Final = 1 << 20
"""With less room, not even the database's log grows."""

_FULL: Final = "The server's disk is full, so it keeps neither counts nor pictures. Make room; it goes on by itself."
_CLOSED: Final = (
    "The server may not write in its folder (CATDOG_HOME), so it keeps neither counts nor pictures. Give its user the "
    "right to; it goes on by itself."
)


class Condition:
    """The faults of the home and the database of one process, as sentences. Any number of threads may use it."""

    def __init__(self, settings: Settings, counts: Counts) -> None:
        self._settings, self._counts = settings, counts
        self._lock = threading.Lock()
        self.faults: tuple[str, ...] = ()

    def look(self) -> None:
        """Look for faults; a fault that is gone is forgotten."""
        with self._lock:
            found = [self._try(look) for look in (self._look_at_home, self._look_at_database)]
            self.faults = tuple(without_paths(fault, self._settings) for fault in found if fault is not None)

    def _try(self, look: Callable[[], str | None]) -> str | None:
        try:
            return look()
        except Exception as error:  # watching never breaks answering
            if is_disk_full(error):
                return _FULL
            return why_not_kept(error) or "The server cannot look after what it keeps; its log says more."

    def _look_at_home(self) -> str | None:
        home = self._settings.home
        found = os.statvfs(home)
        if not home.is_dir():
            return "The server's folder (CATDOG_HOME) is a file. Name a folder, and start the server again."
        if found.f_flag & os.ST_RDONLY or not os.access(home, os.W_OK | os.X_OK):
            return _CLOSED
        return _FULL if found.f_bavail * found.f_frsize < LEAST_FREE_BYTES else None

    def _look_at_database(self) -> str | None:
        if self._counts.has_database:
            with self._counts.engine().connect() as connection:
                connection.execute(select(tables.counts.c.hour).limit(1)).first()
        return None
