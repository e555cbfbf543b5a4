"""The database as requests use it: they wait for it for seconds only, since each holds a thread meanwhile."""

from typing import Any, Final

from sqlalchemy import Engine, event

from catdog.database import open_database
from catdog.settings import Settings

LOCK_SECONDS: Final = 5.0
"""How long a request waits for what others hold: several times what a batch of rows takes on a slow disk."""


def open_for_requests(settings: Settings) -> Engine:
    """Open the database; a statement that waits for a lock for over `LOCK_SECONDS` is an `OperationalError`."""
    engine = open_database(settings)
    is_sqlite = engine.dialect.name == "sqlite"

    def be_brief(connection: Any, _record: Any) -> None:
        milliseconds = round(1000 * LOCK_SECONDS)
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={milliseconds}" if is_sqlite else f"SET lock_timeout={milliseconds}")
        cursor.close()
        if not is_sqlite:
            connection.commit()  # what is set in a transaction that is rolled back is forgotten

    event.listen(engine, "connect", be_brief)
    with engine.connect() as connection:  # the one that made the tables is used on
        be_brief(connection.connection.dbapi_connection, None)
    return engine
