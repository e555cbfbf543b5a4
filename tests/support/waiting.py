"""Waiting for what becomes true in a while, on a machine of any speed."""

import time
from collections.abc import Callable
from typing import Any

from catdog.monitoring.counts import Counts
from catdog.settings import Settings


def wait_for(condition: Callable[[], Any], seconds: float = 120, pause: float = 0.02) -> Any:
    """Wait until a condition holds, and give what it found; it is asked every `pause` seconds."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "the condition did not hold in time"
        time.sleep(pause)
    return found


def wait_until_counted(settings: Settings, predictions: int) -> None:
    """Wait until the processes of a home have written that they answered this many times; they do once a second."""
    counts = Counts(settings)
    wait_for(lambda: counts.totals().total == predictions, seconds=30)
