"""The way to the database: SQLite by default, another one by URL; Alembic keeps its tables up to date."""

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
from catdog.sqlite_file import follow_file

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS: Final = Path(__file__).parent / "migrations"
LOCK_SECONDS: Final = 30.0
"""How long a statement waits for what another process holds."""

UPGRADE_SECONDS: Final = 30.0
"""How long an opening waits for another process that makes or upgrades the tables."""

UPGRADE_LOCK: Final = 0x636174646F67
"""Key of Postgres' lock for whoever changes the tables: "catdog" in ASCII; it ends with the transaction."""

POOL: Final = {"pool_pre_ping": True, "pool_size": 2, "max_overflow": 5, "pool_timeout": 5}
"""Connections of a process to a database on a server: 2 that stay, 7 at most, more than a web process has threads that
need one; who finds all in use waits for 5 seconds. Each is tried before it is used, since the server may have been
started anew."""

_PATIENCE: Final = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "fallback_application_name": "catdog",
}
"""After how long a server that does not answer is given up: seconds, but for the one of TCP, which are milliseconds.
Without them that takes minutes to hours (https://www.postgresql.org/docs/current/libpq-connect.html)."""

_SESSION: Final = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}
"""After how many seconds the server gives up a client that is gone without a word, and lets go what it held, as the
worker's lock; by default that takes two hours. They mean nothing on a Unix socket."""

_CONFIGURE: Final = """
SELECT set_config(known.name, wanted.value, false)
FROM pg_settings AS known JOIN unnest(%s::text[], %s::text[]) AS wanted (name, value) ON wanted.name = known.name
WHERE known.source <> 'client'
"""
"""Settings of a session, but for those that the URL has, as `?options=-c lock_timeout=500`."""

_LIBPQ_DRIVERS: Final = ("psycopg", "psycopg2")


def database_exists(settings: Settings) -> bool:
    """Tell whether opening the database would find one; never creates it."""
    path = sqlite_path(settings.resolved_database_url)
    try:
        return path is None or path.exists()
    except OSError:  # in a folder that may not be looked into: opening it says so
        return True


def open_database(settings: Settings, *, lock_seconds: float = LOCK_SECONDS) -> Engine:
    """Open the database, making or upgrading its tables first.

    Args:
        settings: where it is.
        lock_seconds: how long a statement waits for what another process holds; then it is an `OperationalError`.

    Raises:
        DatabaseTooNewError: a newer catdog has upgraded it.

    Whatever else stands against it is the driver's error or the system's; `patience.why_no_database` puts it in words.
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

    with lock:  # two processes may start on a new folder at once
        _upgraded(engine)
    follow_file(engine, path, upgrade_another)
    return engine


def is_current(settings: Settings) -> bool:
    """Tell whether a database that exists has the tables of this catdog; False: opening it would make or upgrade them.

    Nothing is changed. Raises `DatabaseTooNewError` as `open_database` does.
    """
    engine = connect(settings.resolved_database_url)
    try:
        with engine.connect() as connection:
            return not _is_behind(connection)
    finally:
        engine.dispose()


def connect(url: str, *, lock_seconds: float = LOCK_SECONDS, **options: Any) -> Engine:
    """Make the engine of a database on a server, whose tables are left as they are; it connects when it is used.

    Args:
        url: of the database; what it says about patience with the server holds.
        lock_seconds: how long a statement waits for what another process holds.
        options: of SQLAlchemy's engine, in place of `POOL`.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":  # in memory, or a file that is only looked at
        return create_engine(url, hide_parameters=True)
    is_libpq = parsed.get_driver_name() in _LIBPQ_DRIVERS
    arguments = {name: value for name, value in _PATIENCE.items() if is_libpq and name not in parsed.query}
    engine = create_engine(url, connect_args=arguments, hide_parameters=True, **(options or POOL))
    if is_libpq:
        event.listen(engine, "connect", partial(_configure_postgres, lock_seconds))
    return engine


def is_storable(text: str) -> bool:
    """Tell whether a database takes a text: PostgreSQL knows no NUL, and none takes a lone surrogate."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def own_words(error: BaseException) -> str:
    """Give what a database's driver says of an error, without the statement that SQLAlchemy adds."""
    return str(getattr(error, "orig", None) or error)


def insert_into(engine: Engine, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Begin an INSERT that can say what happens to rows that are there: `on_conflict_do_nothing`, `…_do_update`.

    SQLite and Postgres have the same words for it, each in its own module.
    """
    return postgresql.insert(table) if engine.dialect.name == "postgresql" else sqlite.insert(table)


@contextmanager
def durable(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that is on the disk when the block ends: for what cannot be made again."""
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
    """Give the file of an SQLite URL; None for a database in memory or on a server."""
    parsed = make_url(url)
    is_file = parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:")
    return Path(str(parsed.database)) if is_file else None


def _sqlite_engine(url: str, lock_seconds: float) -> Engine:
    engine = create_engine(url, hide_parameters=True)  # parameters are names and addresses, and errors are logged
    event.listen(engine, "connect", partial(_configure_sqlite, lock_seconds))
    return engine


def _configure_sqlite(lock_seconds: float, connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={round(1000 * lock_seconds)}")  # first, since the switch to WAL may wait, too
    # WAL lets readers go on while one process writes; NORMAL is durable enough for what can be made again.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _configure_postgres(lock_seconds: float, connection: Any, _record: Any) -> None:
    """Set up a session by a statement: libpq's `options` would take the place of the URL's, and poolers refuse them."""
    wanted = {"lock_timeout": round(1000 * lock_seconds), **_SESSION}
    cursor = connection.cursor()
    cursor.execute(_CONFIGURE, (list(wanted), [str(value) for value in wanted.values()]))
    cursor.close()
    connection.commit()  # a rollback would undo it


def _upgraded(engine: Engine) -> Engine:
    """Bring the tables up to date; where that fails, no connection is left open."""
    try:
        _upgrade(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _upgrade(engine: Engine) -> None:
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # several machines may start on a new database at once
            patience = f"SET LOCAL lock_timeout = {round(1000 * UPGRADE_SECONDS)}"  # the first takes its time
            connection.execute(text(patience))
            connection.execute(select(func.pg_advisory_xact_lock(UPGRADE_LOCK)))
        if _is_behind(connection):
            from alembic import command  # not needed where the tables are as they should be

            config = _alembic()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _alembic() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _is_behind(connection: Connection) -> bool:
    """Tell whether tables are missing or older than here; raises `DatabaseTooNewError` where they are newer."""
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    current = MigrationContext.configure(connection).get_current_revision()
    known = [script.revision for script in ScriptDirectory.from_config(_alembic()).walk_revisions()]  # the newest first
    if current is not None and current not in known:
        raise DatabaseTooNewError(
            f"A newer catdog has upgraded the database's tables, to revision {current}; this one knows them up to "
            f"{known[0]}. Install the newer one again, or restore the database's backup from before that upgrade. "
            "Nothing was changed."
        )
    return current != known[0]
