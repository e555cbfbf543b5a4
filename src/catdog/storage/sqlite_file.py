"""Detection of a SQLite file that was deleted or replaced while open.

An open connection keeps using the old file, so acknowledged rows would be lost.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError

from catdog.errors import DatabaseUnusableError

_Identity = tuple[int, int]


def follow_file(engine: Engine, path: Path, upgrade: Callable[[], None]) -> None:
    """Make an engine check, at each use of a connection, whether its file was replaced.

    A replacement is upgraded and used. A deleted file raises `DatabaseUnusableError`; it isn't recreated, as a backup
    may be about to take its place.

    Args:
        engine: its file exists and has its tables.
        path: the file.
        upgrade: upgrades the tables of the file now at the path.
    """
    known: _Identity | None = _identify(path)

    def before_connecting(*_: Any) -> None:
        nonlocal known
        found = _identify(path)
        if found is None:
            raise DatabaseUnusableError(
                f"The database file {path.name} is missing. Put it back, or restart the server to create an empty one. "
                "Predictions still work."
            )
        if found != known:
            upgrade()
            known = _identify(path)

    def note_file(_connection: sqlite3.Connection, record: Any) -> None:
        record.info["file"] = _identify(path)

    def require_same_file(_connection: sqlite3.Connection, record: Any, _proxy: Any) -> None:
        # Connections without a note were made before `follow_file` was called, on the known file.
        if record.info.get("file", known) != _identify(path):
            raise DisconnectionError("the database file was replaced")

    event.listen(engine, "do_connect", before_connecting)
    event.listen(engine, "connect", note_file)
    event.listen(engine, "checkout", require_same_file)


def _identify(path: Path) -> _Identity | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
