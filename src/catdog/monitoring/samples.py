"""A uniform sample of each hour's predictions over all processes: confidence, novelty and projected features.

Each prediction draws a random number, and the lowest of an hour are kept, which is a uniform sample whatever the
process (bottom-k sampling, https://doi.org/10.1145/1281100.1281133). Images aren't stored, and only 16 projections of
1,280 features, too few to reconstruct an image.
"""

import heapq
import random
import threading
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, delete, insert, select

from catdog.storage import tables

SAMPLES_PER_HOUR: Final = 200
HOURS_KEPT: Final = 24
_BITS: Final = 62
_RANDOM: Final = random.SystemRandom()
"""Independent of seeds, which processes could share."""


class Sample(NamedTuple):
    """One prediction; `position` holds the projections of `drift.py` as little-endian float32."""

    hour: int
    draw: int
    version: int
    class_id: int
    confidence: float
    novelty: float
    position: bytes


class Samples:
    """One process's part of the sample; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hour = 0
        self._lowest: list[int] = []  # negated, for a max-heap
        self._waiting: list[Sample] = []

    def draw(self, hour: int) -> int | None:
        """Return a random number for a prediction, or None if it isn't kept."""
        drawn = _RANDOM.getrandbits(_BITS)
        with self._lock:
            if hour != self._hour:
                self._hour, self._lowest = hour, []
            if len(self._lowest) < SAMPLES_PER_HOUR:
                heapq.heappush(self._lowest, -drawn)
            elif drawn >= -self._lowest[0]:
                return None
            else:
                heapq.heapreplace(self._lowest, -drawn)
        return drawn

    def add(self, sample: Sample) -> None:
        """Keep a prediction that got a number from `draw`."""
        self.put_back([sample])

    def take(self) -> list[Sample]:
        """Remove and return the pending samples."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        return waiting

    def put_back(self, samples: Sequence[Sample]) -> None:
        """Add pending samples, at most one hour's worth; drops the oldest while the database is unavailable."""
        with self._lock:
            self._waiting = sorted([*samples, *self._waiting], key=lambda one: (-one.hour, one.draw))[:SAMPLES_PER_HOUR]


def write(connection: Connection, samples: Sequence[Sample]) -> None:
    """Add samples to the database; remove expired ones and those beyond the limit of their hour."""
    table = tables.samples
    connection.execute(insert(table), [sample._asdict() for sample in samples])
    for hour in {sample.hour for sample in samples}:
        beyond = select(table.c.draw).where(table.c.hour == hour).order_by(table.c.draw)
        first = connection.execute(beyond.offset(SAMPLES_PER_HOUR).limit(1)).scalar()
        if first is not None:
            connection.execute(delete(table).where(table.c.hour == hour, table.c.draw >= first))
    connection.execute(delete(table).where(table.c.hour <= max(sample.hour for sample in samples) - HOURS_KEPT))


def read(connection: Connection, version: int, first_hour: int) -> list[Sample]:
    """Read the samples of a version, starting at an hour."""
    table: Any = tables.samples
    wanted = select(table).where(table.c.version == version, table.c.hour >= first_hour)
    return [Sample(*row) for row in connection.execute(wanted)]
