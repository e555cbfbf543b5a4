"""How long threads wait for a lock that others hold."""

import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy.exc import DatabaseError, OperationalError

from catdog.errors import DatabaseBusyError
from catdog.storage.contention import (
    AWAY,
    BRIEF_SECONDS,
    BUSY,
    CLOSED,
    DAMAGED,
    FOREVER,
    TABLES_MISSING,
    Opening,
    WaitLimit,
    why_no_database,
)


def test_by_default_all_wait_without_limit() -> None:
    limit = WaitLimit()
    with limit.turn() as first, limit.turn() as second, limit.turn() as third:
        assert (first, second, third) == (FOREVER, FOREVER, FOREVER)


def test_the_first_threads_wait_long_and_later_ones_briefly() -> None:
    limit = WaitLimit(5, places=2, brief=100)
    with limit.turn() as first, limit.turn() as second, limit.turn() as third:
        assert (first, second, third) == (5, 5, 100)
    with limit.turn() as again:
        assert again == 5


def test_later_threads_are_rejected_if_the_lock_is_stuck() -> None:
    limit = WaitLimit(5, places=1, brief=0.01)
    with limit.turn():
        time.sleep(0.02)
        with pytest.raises(DatabaseBusyError, match="Try again"), limit.turn():
            pass
    with limit.turn() as after:
        assert after == 5


def test_all_threads_wait_for_the_first_opening_which_happens_once() -> None:
    openings: list[int] = []
    together = threading.Barrier(8)

    def open_slowly() -> str:
        openings.append(1)
        time.sleep(1.2 * BRIEF_SECONDS)
        return "open"

    def get(_: int) -> str:
        together.wait()
        return opening.get()

    opening = Opening(open_slowly)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(get, range(8))) == ["open"] * 8
    assert openings == [1]


def test_after_a_failed_wait_most_threads_are_rejected_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catdog.storage.contention.SILENT_SECONDS", 0.0)  # the next one tries at once
    attempts: list[int] = []
    refused: list[Exception] = []
    together, are_refused = threading.Barrier(8), threading.Event()

    def open_in_vain() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            time.sleep(1.2 * BRIEF_SECONDS)  # long enough to count as a failed wait
        else:
            assert are_refused.wait(60)
        raise OSError("nobody is there")

    def get(_: int) -> None:
        together.wait()
        with pytest.raises((OSError, DatabaseBusyError)) as caught:
            opening.get()
        if caught.type is DatabaseBusyError:
            refused.append(caught.value)
            if len(refused) == 7:
                are_refused.set()

    opening = Opening(open_in_vain)
    with pytest.raises(OSError, match="nobody"):
        opening.get()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(get, range(8)))
    assert (len(attempts), len(refused)) == (2, 7), "one tries while the others are told"


def test_nobody_is_rejected_while_the_lock_changes_hands_elsewhere() -> None:
    limit = WaitLimit(5, places=1, brief=0.01)
    with limit.turn():
        time.sleep(0.02)
        with limit.turn(lambda: True) as late:
            assert late == 0.01
        with pytest.raises(DatabaseBusyError), limit.turn(lambda: False):
            pass


def sqlite_error(script: str, path: str = ":memory:") -> sqlite3.Error:
    connection = sqlite3.connect(path)
    try:
        connection.executescript(script)
    except sqlite3.Error as error:
        return error
    finally:
        connection.close()
    raise AssertionError("no error")


class PostgresError(Exception):
    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


@pytest.mark.parametrize("wrap", [lambda error: error, lambda error: DatabaseError("SELECT", None, error)])
def test_each_database_fault_has_its_message(tmp_path: Path, wrap: Callable[[Exception], Exception]) -> None:
    (tmp_path / "garbage.db").write_bytes(b"garbage" * 1000)
    missing = str(tmp_path / "nowhere" / "x.db")
    assert why_no_database(wrap(sqlite_error("SELECT * FROM x"))) == TABLES_MISSING
    assert why_no_database(wrap(sqlite_error("SELECT * FROM sqlite_master", str(tmp_path / "garbage.db")))) == DAMAGED
    assert why_no_database(wrap(sqlite_error("PRAGMA query_only=1; CREATE TABLE x (y)"))) == CLOSED
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(missing)
    assert why_no_database(wrap(caught.value)) == CLOSED
    assert why_no_database(wrap(sqlite_error("SELEC"))) is None, "a mistake of catdog's own"


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ("55P03", BUSY),
        ("42P01", TABLES_MISSING),
        ("42501", CLOSED),
        ("25006", CLOSED),
        ("XX001", DAMAGED),
        ("42601", None),
    ],
)
def test_each_postgres_fault_has_its_message(state: str, sentence: str | None) -> None:
    assert why_no_database(DatabaseError("SELECT", None, PostgresError(state))) == sentence
    assert why_no_database(OperationalError("SELECT", None, PostgresError("08006"))) == AWAY
