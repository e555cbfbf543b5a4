"""Who waits for a lock that others hold, and for how long."""

import time

import pytest

from catdog.errors import DatabaseBusyError
from catdog.patience import FOREVER, Patience


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
