"""An SQLite database whose file may be deleted or replaced while it is open: no connection stays with the old one.

A connection keeps the file that it opened, whatever its name leads to since. Rows would go into a file that nobody
finds again, although they were acknowledged.
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
    """Let an engine notice, at each use of a connection, that its file is another.

    A replaced file is upgraded and used from then on. A deleted one is not made anew, since whoever deleted it may be
    about to put a backup in its place: using it is a `DatabaseUnusableError`.

    Args:
        engine: whose file exists and has its tables.
        path: the file.
        upgrade: brings the tables of whatever file is there up to date.
    """
    known: _Identity | None = _identify(path)

    def before_connecting(*_: Any) -> None:
        nonlocal known
        found = _identify(path)
        if found is None:
            raise DatabaseUnusableError(
                f"The database's file, {path.name}, is gone. Put it back, or start the server again, which makes an "
                "empty one. Predictions go on meanwhile."
            )
        if found != known:
            upgrade()
            known = _identify(path)

    def note_file(_connection: sqlite3.Connection, record: Any) -> None:
        record.info["file"] = _identify(path)

    def require_same_file(_connection: sqlite3.Connection, record: Any, _proxy: Any) -> None:
        # Connections from before this began were made by the opening, on the file that is known.
        if record.info.get("file", known) != _identify(path):
            raise DisconnectionError("the file of the database is another")

    event.listen(engine, "do_connect", before_connecting)
    event.listen(engine, "connect", note_file)
    event.listen(engine, "checkout", require_same_file)


def _identify(path: Path) -> _Identity | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
