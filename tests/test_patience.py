"""Who waits for a lock that others hold, and for how long."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from catdog.errors import DatabaseBusyError
from catdog.patience import BRIEF_SECONDS, FOREVER, Opening, Patience


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
        with pytest.raises(DatabaseBusyError, match="try again"), patience.turn():
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
    monkeypatch.setattr("catdog.patience.SILENT_SECONDS", 0.0)  # so that the next one tries at once
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
