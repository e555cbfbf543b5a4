import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from postgres import lose_database
from sqlalchemy import create_engine, insert, inspect, select, text

from catdog.errors import DatabaseTooNewError, DatabaseUnusableError
from catdog.settings import Settings, load_settings
from catdog.storage import database, tables
from catdog.storage.database import database_exists, is_current, open_database

pytestmark = pytest.mark.databases
of_the_file = pytest.mark.databases("sqlite")

ROW = {"path": "/x.jpg", "size": 1, "modified_ns": 2, "sha256": "0" * 64, "problem": None}


@of_the_file
def test_opening_creates_the_database_and_its_folder(settings: Settings) -> None:
    assert not database_exists(settings)
    assert not settings.home.exists()
    engine = open_database(settings)
    assert database_exists(settings)
    assert {"files", "features"} <= set(inspect(engine).get_table_names())
    assert (settings.home / "catdog.db").is_file()


@of_the_file
def test_checking_existence_creates_nothing(settings: Settings) -> None:
    settings.home.mkdir()
    assert not database_exists(settings)
    assert list(settings.home.iterdir()) == []


def test_a_database_server_counts_as_existing() -> None:
    assert database_exists(load_settings(database_url="postgresql://nowhere/catdog"))
    assert database_exists(load_settings(database_url="sqlite://"))


@of_the_file
def test_the_url_may_name_another_file(settings: Settings, tmp_path: Path) -> None:
    other = load_settings(home=settings.home, database_url=f"sqlite:///{tmp_path / 'deep' / 'other.db'}")
    open_database(other).dispose()
    assert (tmp_path / "deep" / "other.db").is_file()
    assert not settings.home.exists()


@pytest.mark.parametrize("name", ["with space", "100%", "pets%20here", "why?", "ü", "a#b", "c++"])
def test_the_home_may_have_any_name(tmp_path: Path, name: str) -> None:
    settings = load_settings(home=tmp_path / name)
    open_database(settings).dispose()
    assert (tmp_path / name / "catdog.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_revisions_create_the_declared_tables(settings: Settings) -> None:
    with open_database(settings).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, tables.metadata) == []


def test_rows_persist_after_reopening(settings: Settings) -> None:
    engine = open_database(settings)
    with engine.begin() as connection:
        connection.execute(insert(tables.files), ROW)
    engine.dispose()
    with open_database(settings).connect() as connection:
        assert [row._asdict() for row in connection.execute(select(tables.files))] == [ROW]


def test_reads_continue_during_a_write(settings: Settings) -> None:
    engine = open_database(settings)
    with engine.begin() as writer, engine.connect() as reader:
        writer.execute(insert(tables.files), ROW)
        if engine.dialect.name == "sqlite":
            assert reader.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert reader.execute(select(tables.files)).all() == []


def test_a_current_database_is_not_upgraded_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    open_database(settings).dispose()
    monkeypatch.setattr("alembic.command.upgrade", lambda *_: pytest.fail("upgraded again"))
    open_database(settings).dispose()


def test_an_older_database_is_upgraded_once_and_keeps_its_rows(settings: Settings) -> None:
    open_database(settings).dispose()
    lose_database(settings)
    old = create_engine(settings.resolved_database_url)
    with old.begin() as connection:  # before the first revision, with an unrelated table
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(text("CREATE TABLE theirs (x INTEGER)"))
        connection.execute(text("INSERT INTO theirs VALUES (7)"))
    old.dispose()
    assert not is_current(settings)
    for _ in range(2):
        engine = open_database(settings)
        with engine.connect() as connection:
            assert connection.execute(text("SELECT x FROM theirs")).scalars().all() == [7]
            assert len(connection.execute(text("SELECT version_num FROM alembic_version")).all()) == 1
            assert connection.execute(select(tables.files)).all() == []
        engine.dispose()


@pytest.mark.databases("postgres")
@pytest.mark.parametrize("options", ["", "?options=-c%20statement_timeout%3D4321", "?options=-c%20lock_timeout%3D77"])
def test_session_settings_complement_those_in_the_url(settings: Settings, options: str) -> None:
    names = ("lock_timeout", "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
    own = {"lock_timeout": "77ms" if "lock_timeout" in options else "1500ms"}
    own["statement_timeout"] = "4321ms" if "statement_timeout" in options else "0"
    engine = database.connect(settings.resolved_database_url + options, lock_seconds=1.5)
    for _ in range(2):  # the second time after a rollback, on the connection that was kept
        with engine.connect() as connection:
            found = {name: connection.scalar(text(f"SHOW {name}")) for name in (*own, *names)}
            connection.rollback()
        assert found == own | dict(zip(names[1:], ("30", "10", "3"), strict=True))
    engine.dispose()


def test_a_newer_database_is_left_unchanged(settings: Settings) -> None:
    open_database(settings).dispose()
    assert is_current(settings)
    newer = create_engine(settings.resolved_database_url)
    with newer.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for ask in (open_database, is_current):
        with pytest.raises(DatabaseTooNewError, match=r"newer catdog, to revision 9999; .* Nothing was changed"):
            ask(settings)
    with newer.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == ["9999"]
    newer.dispose()


def test_several_processes_may_open_a_new_database_at_once(settings: Settings) -> None:
    open_database(settings).dispose()
    lose_database(settings)
    code = (
        "import sys; from sqlalchemy import insert; from catdog import settings as s\n"
        "from catdog.storage import database as d, tables as t\n"
        "engine = d.open_database(s.load_settings())\n"
        "for i in range(20):\n"
        "    with engine.begin() as c: c.execute(insert(t.files), dict(path=f'{sys.argv[1]}/{i}', size=1, "
        "modified_ns=1, sha256='0' * 64))\n"
    )
    environment = {**os.environ, "CATDOG_HOME": str(settings.home)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(i)], env=environment, stderr=subprocess.PIPE, text=True)
        for i in range(3)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    with open_database(settings).connect() as connection:
        assert len(connection.execute(select(tables.files)).all()) == 60


@of_the_file
def test_no_row_is_written_to_a_deleted_or_replaced_file(settings: Settings) -> None:
    engine, path = open_database(settings), settings.home / "catdog.db"
    with engine.begin() as connection:
        connection.execute(insert(tables.files), ROW)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")  # the main file then holds all rows
    path.rename(settings.home / "old.db")
    for _ in range(2):
        with pytest.raises(DatabaseUnusableError, match=r"catdog\.db is missing"), engine.begin() as connection:
            connection.execute(insert(tables.files), ROW | {"path": "/lost.jpg"})
    assert not path.exists()
    path.touch()  # an empty replacement
    with engine.begin() as connection:
        assert connection.execute(select(tables.files)).all() == []
        connection.execute(insert(tables.files), ROW | {"path": "/kept.jpg"})
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    path.unlink()
    (settings.home / "old.db").rename(path)  # put back
    with engine.connect() as connection:
        assert [row.path for row in connection.execute(select(tables.files))] == ["/x.jpg"]
    engine.dispose()


def test_opening_prints_nothing(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    open_database(settings).dispose()
    assert capfd.readouterr() == ("", "")


@of_the_file
def test_threads_may_create_several_databases_at_once(tmp_path: Path) -> None:
    """Alembic's context is one per process; without a lock, upgrades of two databases get mixed up."""
    homes = [load_settings(home=tmp_path / str(number), tracking=False) for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        engines = list(pool.map(open_database, homes))
    for engine in engines:
        assert set(inspect(engine).get_table_names()) == {*tables.metadata.tables, "alembic_version"}
        engine.dispose()
