"""Tables and engine: SQLite by default, another database by URL; Alembic keeps the tables up to date.

What stands here is derived (scan results, features), can be deleted and is made again; only the counts of predictions
would begin anew, and what jobs did would be forgotten.
"""

from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from filelock import FileLock
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
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
    inspect,
    make_url,
    text,
)

from catdog.settings import Settings

MIGRATIONS: Final = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_MS: Final = 30_000

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

predictions = Table(
    "predictions",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("class_name", String(255), primary_key=True, comment="as it is shown, such as Cat"),
    Column("verdict", String(255), primary_key=True, comment="a class key, neither, or unsure"),
    Column("count", BigInteger, nullable=False),
    comment="how many pictures the server answered for, over all processes and restarts",
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


def open_database(settings: Settings) -> Engine:
    """Open the database, making or upgrading its tables first."""
    url = settings.resolved_database_url
    path = sqlite_path(url)
    if path is None:
        engine = create_engine(url)
        _upgrade(engine)
        return engine
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url)
    event.listen(engine, "connect", _configure_sqlite)
    with FileLock(path.with_name(path.name + ".lock")):  # two processes may start on a new folder at once
        _upgrade(engine)
    return engine


def sqlite_path(url: str) -> Path | None:
    """Give the file of an SQLite URL; None for a database in memory or on a server."""
    parsed = make_url(url)
    is_file = parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:")
    return Path(str(parsed.database)) if is_file else None


def _configure_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # WAL lets readers go on while one process writes; NORMAL is durable enough for what can be made again.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.close()


def _upgrade(engine: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        if not inspect(connection).has_table("alembic_version") or _is_behind(connection, config):
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _is_behind(connection: Any, config: Config) -> bool:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    current = MigrationContext.configure(connection).get_current_revision()
    return current != ScriptDirectory.from_config(config).get_current_head()
