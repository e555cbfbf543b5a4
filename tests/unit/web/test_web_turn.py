"""Whose picture the network takes next."""

import threading
import time

import pytest

from catdog.web.turn import SINGLES_IN_A_ROW, Turn


def order_of(kinds: str) -> str:
    """Let threads of kinds `s` (alone) and `l` (of a list) wait for the turn in this order; gives who had it when."""
    turn, order, threads = Turn(), [], []

    def take(kind: str) -> None:
        with turn.taken(listed=kind == "l"):
            order.append(kind)

    with turn.taken():
        for number, kind in enumerate(kinds, start=1):
            threads.append(threading.Thread(target=take, args=(kind,)))
            threads[-1].start()
            until = time.monotonic() + 10
            while len(turn._single) + len(turn._listed) < number:
                assert time.monotonic() < until
                time.sleep(0.001)
    for thread in threads:
        thread.join(10)
    return "".join(order)


def test_pictures_on_their_own_come_before_those_of_lists() -> None:
    assert order_of("lllss") == "sslll"


def test_lists_do_not_wait_for_ever() -> None:
    singles = "s" * SINGLES_IN_A_ROW
    assert order_of("ll" + 2 * singles + "s") == f"{singles}l{singles}ls"


def test_one_at_a_time_has_the_turn_and_an_error_gives_it_back() -> None:
    turn, inside, most = Turn(), [], []

    def take(listed: bool) -> None:
        for _ in range(200):
            with turn.taken(listed=listed):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=take, args=(number % 2 == 0,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(most) == 1200
    assert max(most) == 1
    with pytest.raises(ZeroDivisionError), turn.taken():
        raise ZeroDivisionError
    assert order_of("s") == "s"
    with turn.taken(listed=True):
        assert turn._is_taken
