"""Who waits for a lock that others hold, and for how long."""

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
    Patience,
    why_no_database,
)


def test_by_default_all_wait_for_as_long_as_it_takes() -> None:
    patience = Patience()
    with patience.turn() as first, patience.turn() as second, patience.turn() as third:
        assert (first, second, third) == (FOREVER, FOREVER, FOREVER)


def test_the_first_wait_long_and_the_others_briefly() -> None:
    patience = Patience(5, places=2, brief=100)
    with patience.turn() as first, patience.turn() as second, patience.turn() as third:
        assert (first, second, third) == (5, 5, 100)
    with patience.turn() as again:
        assert again == 5


def test_where_nothing_moves_the_others_do_not_wait() -> None:
    patience = Patience(5, places=1, brief=0.01)
    with patience.turn():
        time.sleep(0.02)
        with pytest.raises(DatabaseBusyError, match="Try again"), patience.turn():
            pass
    with patience.turn() as after:
        assert after == 5


def test_all_wait_for_a_first_opening_and_it_is_done_once() -> None:
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


def test_once_it_was_waited_for_in_vain_most_are_refused_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catdog.storage.contention.SILENT_SECONDS", 0.0)  # so that the next one tries at once
    attempts: list[int] = []
    refused: list[Exception] = []
    together, are_refused = threading.Barrier(8), threading.Event()

    def open_in_vain() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            time.sleep(1.2 * BRIEF_SECONDS)  # as in vain as it takes to be remembered
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


def test_nobody_is_refused_while_the_lock_goes_from_hand_to_hand_elsewhere() -> None:
    patience = Patience(5, places=1, brief=0.01)
    with patience.turn():
        time.sleep(0.02)
        with patience.turn(lambda: True) as late:
            assert late == 0.01
        with pytest.raises(DatabaseBusyError), patience.turn(lambda: False):
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
def test_each_fault_of_a_database_has_its_sentence(tmp_path: Path, wrap: Callable[[Exception], Exception]) -> None:
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
def test_each_fault_of_postgres_has_its_sentence(state: str, sentence: str | None) -> None:
    assert why_no_database(DatabaseError("SELECT", None, PostgresError(state))) == sentence
    assert why_no_database(OperationalError("SELECT", None, PostgresError("08006"))) == AWAY
