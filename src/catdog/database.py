"""Tables and engine: SQLite by default, another database by URL; Alembic keeps the tables up to date.

What stands here is derived (scan results, features), can be deleted and is made again; only the counts of what the
server did would begin anew, and of pictures for retraining who sent them and when, and what jobs did, would be
forgotten.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from filelock import FileLock
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Engine,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    func,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite

from catdog.settings import Settings

MIGRATIONS: Final = Path(__file__).parent / "migrations"
LOCK_SECONDS: Final = 30.0
"""How long a statement waits for what another process holds."""

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

metadata = MetaData()

files = Table(
    "files",
    metadata,
    Column("path", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("modified_ns", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("problem", Text, comment="why the file cannot be used; null where it can"),
    comment="what scanning a data set found, so that an unchanged file is not read again",
)

features = Table(
    "features",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("backbone", String(64), nullable=False),
    Column("view", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("vector", LargeBinary, nullable=False, comment="float16, little-endian"),
    UniqueConstraint("backbone", "view", "sha256"),
    comment="pooled features of a picture under a backbone; view 0 is the plain picture",
)

counts = Table(
    "counts",
    metadata,
    Column("hour", Integer, primary_key=True, autoincrement=False, comment="hours since 1970 in UTC; 0: of all time"),
    Column("measure", String(16), primary_key=True, comment="what is counted; monitoring.py names them"),
    Column("version", Integer, primary_key=True, autoincrement=False, comment="0 where no version matters"),
    Column("name", String(255), primary_key=True, comment="class as shown, number of a bin, kind of error, result"),
    Column("detail", String(255), primary_key=True, comment="verdict, or status of an error; else empty"),
    Column("count", BigInteger, nullable=False),
    comment="what the server did, over all processes and restarts: each hour, and all time together",
)


samples = Table(
    "samples",
    metadata,
    Column("hour", Integer, primary_key=True, autoincrement=False, comment="hours since 1970 in UTC"),
    Column("draw", BigInteger, primary_key=True, autoincrement=False, comment="the lowest of an hour are kept"),
    Column("version", Integer, nullable=False),
    Column("class_id", Integer, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("novelty", Float, nullable=False),
    Column("position", LargeBinary, nullable=False, comment="a few projections of the features: float32"),
    comment="a fair sample of what was answered lately, to measure drift; never a picture",
)

drift = Table(
    "drift",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("claimed_at", BigInteger, nullable=False, comment="when a process last took it on to measure, Unix time"),
    Column("at", BigInteger, nullable=False, comment="when it was measured, Unix time"),
    Column("n", Integer, nullable=False, comment="answers that were compared"),
    Column("score", Float, comment="null where there was too little to compare"),
    Column("p_value", Float),
    Column("measure", String(32), nullable=False, comment="what differs most"),
    comment="how far recent answers are from those on a version's test pictures",
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sha256", String(64), nullable=False, unique=True, comment="of the JPEG file that is kept"),
    Column("source_sha256", String(64), nullable=False, unique=True, comment="of the bytes that were received"),
    Column("folder", String(255), nullable=False, comment="folder name of the class, such as cats"),
    Column("batch", String(32), nullable=False, index=True, comment="pictures that came together"),
    Column("uploader", String(200), nullable=False, comment="address of the client, or cli, or recovered"),
    Column("name", String(200), nullable=False, comment="as the client called it; shown, never a path"),
    Column("bytes", BigInteger, nullable=False, comment="of the file that is kept"),
    Column("created_at", DateTime, nullable=False, comment="UTC"),
    Column("changed_at", DateTime, nullable=False, comment="UTC; when state or class changed last"),
    Column("state", String(16), nullable=False, index=True, comment="active, removed, or pending: to be confirmed"),
    Column("origin", String(16), nullable=False, comment="upload or feedback"),
    Column("held_out", Boolean, nullable=False, comment="tested on and never trained on; by hash"),
    Column("checked", Boolean, nullable=False, comment="a person has confirmed the class"),
    Column("problem", String(200), comment="why the review keeps it out of training; null where it does not"),
    Column("predicted", String(255), comment="folder name of the class that a model answered"),
    Column("verdict", String(255), comment="a class key, neither, or unsure"),
    Column("confidence", Float),
    Column("novelty", Float),
    Column("model_version", Integer),
    comment="pictures kept for retraining; the files lie in retrain_data/",
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("kind", String(32), nullable=False, comment="what is done; at most one of a kind is under way"),
    Column("state", String(16), nullable=False, comment="queued, running, succeeded, failed or cancelled"),
    Column("stage", String(32), nullable=False),
    Column("progress", Float, nullable=False, comment="0 to 100"),
    Column("message", Text, nullable=False),
    Column("eta_seconds", Float),
    Column("arguments", Text, nullable=False, comment="JSON"),
    Column("log", Text, nullable=False, comment="JSON: the last lines"),
    Column("result", Text, comment="JSON; null until it succeeded"),
    Column("cancel_requested", Boolean, nullable=False),
    Column("requested_by", String(255)),
    Column("created_at", String(32), nullable=False, comment="UTC, ISO 8601"),
    Column("started_at", String(32)),
    Column("finished_at", String(32)),
    comment="what was asked for to be done apart from the web processes, and how it goes",
)

_UNDER_WAY = text("state IN ('queued', 'running')")
Index("jobs_one_under_way", jobs.c.kind, unique=True, sqlite_where=_UNDER_WAY, postgresql_where=_UNDER_WAY)


def database_exists(settings: Settings) -> bool:
    """Tell whether opening the database would find one; never creates it."""
    path = sqlite_path(settings.resolved_database_url)
    return path is None or path.exists()


def open_database(settings: Settings, *, lock_seconds: float = LOCK_SECONDS) -> Engine:
    """Open the database, making or upgrading its tables first.

    Args:
        settings: where it is.
        lock_seconds: how long a statement waits for what another process holds; then it is an `OperationalError`.
    """
    url = settings.resolved_database_url
    path = sqlite_path(url)
    if path is None:
        engine = connect(url, lock_seconds=lock_seconds)
        _upgrade(engine)
        return engine
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, hide_parameters=True)  # parameters are names and addresses, and errors are logged
    event.listen(engine, "connect", partial(_configure_sqlite, lock_seconds))
    with FileLock(path.with_name(path.name + ".lock")):  # two processes may start on a new folder at once
        _upgrade(engine)
    return engine


def connect(url: str, *, lock_seconds: float = LOCK_SECONDS, **options: Any) -> Engine:
    """Make the engine of a database on a server, whose tables are left as they are; it connects when it is used.

    Args:
        url: of the database; what it says about patience with the server holds.
        lock_seconds: how long a statement waits for what another process holds.
        options: of SQLAlchemy's engine, in place of `POOL`.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":  # in memory
        return create_engine(url, hide_parameters=True)
    is_libpq = parsed.get_driver_name() in _LIBPQ_DRIVERS
    arguments = {name: value for name, value in _PATIENCE.items() if is_libpq and name not in parsed.query}
    engine = create_engine(url, connect_args=arguments, hide_parameters=True, **(options or POOL))
    if is_libpq:
        event.listen(engine, "connect", partial(_configure_postgres, lock_seconds))
    return engine


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


def _configure_sqlite(lock_seconds: float, connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # WAL lets readers go on while one process writes; NORMAL is durable enough for what can be made again.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute(f"PRAGMA busy_timeout={round(1000 * lock_seconds)}")
    cursor.close()


def _configure_postgres(lock_seconds: float, connection: Any, _record: Any) -> None:
    """Set up a session by a statement: libpq's `options` would take the place of the URL's, and poolers refuse them."""
    wanted = {"lock_timeout": round(1000 * lock_seconds), **_SESSION}
    cursor = connection.cursor()
    cursor.execute(_CONFIGURE, (list(wanted), [str(value) for value in wanted.values()]))
    cursor.close()
    connection.commit()  # a rollback would undo it


def _upgrade(engine: Engine) -> None:
    from alembic import command  # not needed by who only names the tables
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # several machines may start on a new database at once
            connection.execute(
                text(f"SET LOCAL lock_timeout = {round(1000 * LOCK_SECONDS)}")
            )  # the first takes its time
            connection.execute(select(func.pg_advisory_xact_lock(UPGRADE_LOCK)))
        if not inspect(connection).has_table("alembic_version") or _is_behind(connection, config):
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _is_behind(connection: Any, config: Any) -> bool:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    current = MigrationContext.configure(connection).get_current_revision()
    return current != ScriptDirectory.from_config(config).get_current_head()
