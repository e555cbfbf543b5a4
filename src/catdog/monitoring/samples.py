"""A fair sample of what was answered in each hour, over all processes: how sure, how novel, where among the features.

Each answer draws a number, and those with the lowest draws of their hour are kept: whichever process they come from,
the sample is as if drawn from all answers of the hour together (bottom-k sampling,
https://doi.org/10.1145/1281100.1281133).
Images are never kept, and of 1,280 features only 16 projections: too few to tell what was seen.
"""

import heapq
import random
import threading
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, delete, insert, select

from catdog.storage import tables

SAMPLES_AN_HOUR: Final = 200
HOURS_KEPT: Final = 24
_BITS: Final = 62
_RANDOM: Final = random.SystemRandom()
"""No program that sets the seed of `random` makes two processes draw the same."""


class Sample(NamedTuple):
    """One answer; `position` is float32, little-endian, as many projections as `drift.py` takes."""

    hour: int
    draw: int
    version: int
    class_id: int
    confidence: float
    novelty: float
    position: bytes


class Samples:
    """What one process adds to the sample. Any number of threads may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hour = 0
        self._lowest: list[int] = []  # negated, so that the heap gives the highest of them
        self._waiting: list[Sample] = []

    def draw(self, hour: int) -> int | None:
        """Draw for an answer; None where it isn't kept."""
        drawn = _RANDOM.getrandbits(_BITS)
        with self._lock:
            if hour != self._hour:
                self._hour, self._lowest = hour, []
            if len(self._lowest) < SAMPLES_AN_HOUR:
                heapq.heappush(self._lowest, -drawn)
            elif drawn >= -self._lowest[0]:
                return None
            else:
                heapq.heapreplace(self._lowest, -drawn)
        return drawn

    def add(self, sample: Sample) -> None:
        """Keep an answer that `draw` gave a number."""
        self.put_back([sample])

    def take(self) -> list[Sample]:
        """Take out what waits to be written."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        return waiting

    def put_back(self, samples: Sequence[Sample]) -> None:
        """Let samples wait, as many as one hour has; where the database is out of reach, older ones are given up."""
        with self._lock:
            self._waiting = sorted([*samples, *self._waiting], key=lambda one: (-one.hour, one.draw))[:SAMPLES_AN_HOUR]


def write(connection: Connection, samples: Sequence[Sample]) -> None:
    """Add samples to the database, and remove what is no longer part of the sample of its hour, or too old."""
    table = tables.samples
    connection.execute(insert(table), [sample._asdict() for sample in samples])
    for hour in {sample.hour for sample in samples}:
        beyond = select(table.c.draw).where(table.c.hour == hour).order_by(table.c.draw)
        first = connection.execute(beyond.offset(SAMPLES_AN_HOUR).limit(1)).scalar()
        if first is not None:
            connection.execute(delete(table).where(table.c.hour == hour, table.c.draw >= first))
    connection.execute(delete(table).where(table.c.hour <= max(sample.hour for sample in samples) - HOURS_KEPT))


def read(connection: Connection, version: int, first_hour: int) -> list[Sample]:
    """Read the samples of a version from an hour on."""
    table: Any = tables.samples
    wanted = select(table).where(table.c.version == version, table.c.hour >= first_hour)
    return [Sample(*row) for row in connection.execute(wanted)]
