"""Connection to the database: SQLite by default, PostgreSQL by URL. Alembic upgrades the tables."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock
from sqlalchemy import Connection, Engine, Table, create_engine, event, func, make_url, select, text
from sqlalchemy.dialects import postgresql, sqlite

from catdog.errors import DatabaseTooNewError
from catdog.settings import Settings
from catdog.storage.sqlite_file import follow_file

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS: Final = Path(__file__).parent / "migrations"
LOCK_SECONDS: Final = 30.0
"""How long a statement waits for a lock of another process."""

UPGRADE_SECONDS: Final = 30.0
"""How long opening waits for another process that creates or upgrades the tables."""

UPGRADE_LOCK: Final = 0x636174646F67
"""Key of the PostgreSQL advisory lock for upgrades: "catdog" in ASCII; released with the transaction."""

_UPGRADING: Final = threading.Lock()  # alembic keeps the upgrade in progress in module-level state

POOL: Final = {"pool_pre_ping": True, "pool_size": 2, "max_overflow": 5, "pool_timeout": 5}
"""Connections per process to a database server: 2 permanent, 7 at most, which is more than a web process has threads
that need one. Connections are tested before use, as the server may have been restarted."""

_TIMEOUTS: Final = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "fallback_application_name": "catdog",
}
"""Timeouts for an unresponsive server, in seconds (`tcp_user_timeout` in milliseconds). The defaults are minutes to
hours (https://www.postgresql.org/docs/current/libpq-connect.html)."""

_SESSION: Final = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}
"""Seconds until the server drops a client that vanished, and releases its locks, such as the worker's; two hours by
default. No effect on a Unix socket."""

_CONFIGURE: Final = """
SELECT set_config(known.name, wanted.value, false)
FROM pg_settings AS known JOIN unnest(%s::text[], %s::text[]) AS wanted (name, value) ON wanted.name = known.name
WHERE known.source <> 'client'
"""
"""Sets session parameters, except those given in the URL, such as `?options=-c lock_timeout=500`."""

_LIBPQ_DRIVERS: Final = ("psycopg", "psycopg2")


def database_exists(settings: Settings) -> bool:
    """Return whether the database exists; never creates it."""
    path = sqlite_path(settings.resolved_database_url)
    try:
        return path is None or path.exists()
    except OSError:  # the folder isn't accessible: opening it will raise
        return True


def open_database(settings: Settings, *, lock_seconds: float = LOCK_SECONDS) -> Engine:
    """Open the database, creating or upgrading its tables.

    Args:
        settings: where it is.
        lock_seconds: how long a statement waits for another process's lock before an `OperationalError`.

    Raises:
        DatabaseTooNewError: a newer catdog has upgraded it.

    Other failures raise the driver's or the system's error; `contention.why_no_database` explains it.
    """
    url = settings.resolved_database_url
    path = sqlite_path(url)
    if path is None:
        return _upgraded(connect(url, lock_seconds=lock_seconds))
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = _sqlite_engine(url, lock_seconds)
    lock = FileLock(path.with_name(path.name + ".lock"), timeout=max(lock_seconds, UPGRADE_SECONDS))

    def upgrade_another() -> None:
        with lock:
            _upgraded(_sqlite_engine(url, lock_seconds)).dispose()

    with lock:  # two processes may start in a new folder at once
        _upgraded(engine)
    follow_file(engine, path, upgrade_another)
    return engine


def is_current(settings: Settings) -> bool:
    """Return whether an existing database has this version's tables; if not, opening it upgrades them.

    Changes nothing. Raises `DatabaseTooNewError` like `open_database`.
    """
    engine = connect(settings.resolved_database_url)
    try:
        with engine.connect() as connection:
            return not _is_behind(connection)
    finally:
        engine.dispose()


def connect(url: str, *, lock_seconds: float = LOCK_SECONDS, **options: Any) -> Engine:
    """Return the engine of a database, without touching its tables; it connects on first use.

    Args:
        url: of the database; timeouts in it take precedence.
        lock_seconds: how long a statement waits for another process's lock.
        options: of SQLAlchemy's engine, instead of `POOL`.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":  # in memory, or a file that is only read
        return create_engine(url, hide_parameters=True)
    is_libpq = parsed.get_driver_name() in _LIBPQ_DRIVERS
    arguments = {name: value for name, value in _TIMEOUTS.items() if is_libpq and name not in parsed.query}
    engine = create_engine(url, connect_args=arguments, hide_parameters=True, **(options or POOL))
    if is_libpq:
        event.listen(engine, "connect", partial(_configure_postgres, lock_seconds))
    return engine


def is_storable(text: str) -> bool:
    """Return whether databases can store a text: PostgreSQL rejects NUL, all reject lone surrogates."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def driver_message(error: BaseException) -> str:
    """Return the database driver's own message, without the statement SQLAlchemy adds."""
    return str(getattr(error, "orig", None) or error)


def insert_into(engine: Engine, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT that supports `on_conflict_do_nothing` and `on_conflict_do_update`.

    SQLAlchemy has one class for SQLite and one for PostgreSQL.
    """
    return postgresql.insert(table) if engine.dialect.name == "postgresql" else sqlite.insert(table)


@contextmanager
def durable(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that is flushed to disk at the end, for data that can't be recreated."""
    with engine.connect() as connection:
        is_sqlite = engine.dialect.name == "sqlite"
        if is_sqlite:
            connection.exec_driver_sql("PRAGMA synchronous=FULL")
            connection.commit()
        try:
            with connection.begin():
                yield connection
        finally:
            if is_sqlite:
                connection.exec_driver_sql("PRAGMA synchronous=NORMAL")


def sqlite_path(url: str) -> Path | None:
    """Return the file of a SQLite URL; None for a database in memory or on a server."""
    parsed = make_url(url)
    is_file = parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:")
    return Path(str(parsed.database)) if is_file else None


def _sqlite_engine(url: str, lock_seconds: float) -> Engine:
    engine = create_engine(url, hide_parameters=True)  # errors are logged, and parameters contain names and addresses
    event.listen(engine, "connect", partial(_configure_sqlite, lock_seconds))
    return engine


def _configure_sqlite(lock_seconds: float, connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={round(1000 * lock_seconds)}")  # first, as switching to WAL may wait too
    # WAL allows reads during a write; NORMAL is durable enough for data that can be recreated.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _configure_postgres(lock_seconds: float, connection: Any, _record: Any) -> None:
    """Configure a session by a statement: libpq's `options` would replace the URL's, and poolers reject them."""
    wanted = {"lock_timeout": round(1000 * lock_seconds), **_SESSION}
    cursor = connection.cursor()
    cursor.execute(_CONFIGURE, (list(wanted), [str(value) for value in wanted.values()]))
    cursor.close()
    connection.commit()  # otherwise a rollback undoes it


def _upgraded(engine: Engine) -> Engine:
    """Upgrade the tables; on failure, close all connections."""
    try:
        _upgrade(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _upgrade(engine: Engine) -> None:
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # several machines may start with a new database at once
            timeout = f"SET LOCAL lock_timeout = {round(1000 * UPGRADE_SECONDS)}"  # the first upgrade takes time
            connection.execute(text(timeout))
            connection.execute(select(func.pg_advisory_xact_lock(UPGRADE_LOCK)))
        if _is_behind(connection):
            from alembic import command  # not needed if the tables are current

            config = _alembic()
            config.attributes["connection"] = connection
            with _UPGRADING:
                command.upgrade(config, "head")


def _alembic() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _is_behind(connection: Connection) -> bool:
    """Return whether tables are missing or outdated; raises `DatabaseTooNewError` if they are newer."""
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    current = MigrationContext.configure(connection).get_current_revision()
    known = [script.revision for script in ScriptDirectory.from_config(_alembic()).walk_revisions()]  # newest first
    if current is not None and current not in known:
        raise DatabaseTooNewError(
            f"The database was upgraded by a newer catdog, to revision {current}; this one supports up to {known[0]}. "
            "Install the newer version, or restore a backup from before the upgrade. Nothing was changed."
        )
    return current != known[0]
