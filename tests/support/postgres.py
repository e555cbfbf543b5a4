"""A Postgres of the tests' own, and the mark by which tests run on SQLite and on Postgres.

`pytest.mark.databases` on a module or a test runs those of its tests that use `settings` or `home` on both, the second
time on an empty database that `CATDOG_DATABASE_URL` names, for the processes that they start, too.
On Postgres they are slow ones, which `make test-all` runs.
`databases("sqlite")` is for tests that are about SQLite itself, `databases("postgres")` for the other way round.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, insert, select, text

from catdog.settings import Settings, load_settings
from catdog.storage import database, tables

MARKS = {"sqlite": (), "postgres": pytest.mark.slow}
"""Kinds of databases, and how a test is marked that runs on one."""


class PostgresServer:
    """A server that listens on this machine, keeps nothing safe, and may be stopped and started."""

    def __init__(self, pg_ctl: Path, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = int(listener.getsockname()[1])
        as_user: list[str] = []
        if os.geteuid() == 0:  # it does not run as root
            shutil.chown(folder, "postgres")
            as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self._control = [*as_user, str(pg_ctl), "--pgdata", str(folder / "data"), "--wait", "--silent"]
        self._run("init", "--options=--username=catdog --auth=trust --no-sync --encoding=UTF8 --locale=C")
        self.start()
        self._administration = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
        self._execute("CREATE DATABASE catdog_empty")
        database.open_database(load_settings(database_url=self.url("catdog_empty"))).dispose()

    def url(self, name: str) -> str:
        """Give the URL of a database."""
        return f"postgresql+psycopg://catdog@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        where = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        unsafe = "-c fsync=off -c full_page_writes=off"
        self._run("start", "--options", f"{where} {unsafe}", "--log", str(self.folder / "log"))

    def stop(self, mode: str = "fast") -> None:
        """Stop it: `fast` ends what is under way in order, `immediate` is as a kill."""
        self._run("stop", "--mode", mode)

    def create(self) -> str:
        """Make a database with catdog's tables and no rows; gives its URL."""
        name = f"test_{uuid.uuid4().hex}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE catdog_empty")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is connected."""
        self._execute(f"DROP DATABASE {_name(url)} WITH (FORCE)")

    def connections(self, url: str) -> list[str]:
        """List the programs that are connected with a database, one for each connection."""
        query = text("SELECT application_name FROM pg_stat_activity WHERE datname = :name")
        with self._administration.connect() as connection:
            return list(connection.execute(query, {"name": _name(url)}).scalars())

    def end_connections(self, url: str) -> None:
        """Break all connections with a database, as a network does that fails."""
        self._execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{_name(url)}'")

    def _execute(self, statement: str) -> None:
        with self._administration.connect() as connection:
            connection.execute(text(statement))

    def _run(self, *arguments: str) -> None:
        # Not into a pipe: the server would keep it open.
        subprocess.run(
            [*self._control, *arguments],
            cwd=self.folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run marked tests on the databases that the nearest mark names, or on all."""
    mark = metafunc.definition.get_closest_marker("databases")
    if mark and "database_url" in metafunc.fixturenames:
        kinds = [pytest.param(kind, marks=MARKS[kind]) for kind in mark.args or MARKS]
        metafunc.parametrize("database_url", kinds, indirect=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that ends with the tests; one a process of pytest."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")) or [Path(shutil.which("pg_ctl") or "")]
    if not programs[-1].is_file():
        pytest.skip("no Postgres here: pg_ctl is neither under /usr/lib/postgresql nor on the path")
    folder = Path(tempfile.mkdtemp(prefix="catdog-postgres-"))
    try:
        server = PostgresServer(programs[-1], folder)
        yield server
        server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The URL of a database on a server that the test runs on, or None for SQLite in the home."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield None
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.create()
    os.environ["CATDOG_DATABASE_URL"] = url  # `same_environment` takes it out again
    yield url
    server.drop(url)


def lose_database(settings: Settings) -> None:
    """Have a database be lost: the file of SQLite, or all tables on a server."""
    if settings.database_url is None:
        for path in settings.home.glob("catdog.db*"):
            path.unlink()
        return
    engine = create_engine(settings.database_url)
    with engine.begin() as connection:
        tables.metadata.drop_all(connection)
        connection.execute(text("DROP TABLE alembic_version"))
    engine.dispose()


@contextmanager
def held(settings: Settings) -> Iterator[None]:
    """Keep everybody else from writing rows for the block, while they may read them."""
    engine = create_engine(settings.resolved_database_url)
    with engine.connect() as connection:
        if settings.database_url is None:
            connection.connection.dbapi_connection.isolation_level = None  # else SQLite waits for the first write
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            names = ", ".join(tables.metadata.tables)
            connection.exec_driver_sql(f"LOCK TABLE {names} IN EXCLUSIVE MODE")
        yield
        connection.exec_driver_sql("ROLLBACK")
    engine.dispose()


def move_rows(home: Path, url: str | None) -> None:
    """Bring what a home's SQLite database holds to one on a server, and remove the file; None leaves it there."""
    if url is None:
        return
    source, target = create_engine(f"sqlite:///{home / 'catdog.db'}"), create_engine(url)
    with source.connect() as old, target.begin() as new:
        for table in tables.metadata.sorted_tables:
            numbered = table.autoincrement_column  # the server goes on counting with its own numbers
            columns = [column for column in table.c if column is not numbered]
            rows: list[dict[str, Any]] = [dict(row) for row in old.execute(select(*columns)).mappings()]
            if rows:
                new.execute(insert(table), rows)
    for engine in (source, target):
        engine.dispose()
    for path in home.glob("catdog.db*"):
        path.unlink()
