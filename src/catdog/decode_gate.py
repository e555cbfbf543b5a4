"""How many images a process decodes at once: as many as fit into a budget of bytes.

A decoder lets other threads run, so several images decode side by side. What they take together is bounded here, in the
one place that every decode passes. In a web process large ones go one at a time: it delays small ones by sharing the
processor with them, and never by keeping them out.
"""

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

LARGE_BYTES: Final = 8_000_000
LARGE_WORK: Final = 50e6
"""An image that takes more bytes, or more nanoseconds for its scans, is a large one."""

SERVER_BYTES: Final = 170_000_000
"""What a web process may take for decoding: its 180 MB and these stay under 350 MB."""

_PER_CORE: Final = 80_000_000


class DecodeGate:
    """A budget of bytes that is lent to one decode after another, in the order in which they ask."""

    def __init__(self, capacity: int, *, large_at_once: int) -> None:
        self._capacity = capacity
        self._used = 0
        self._condition = threading.Condition()
        self._waiting: deque[object] = deque()
        self._large = threading.Semaphore(large_at_once)

    @contextmanager
    def reserve(self, size: int, work: float = 0) -> Iterator[None]:
        """Wait until `size` bytes are free, and keep them for the block; one that needs more than all gets all."""
        is_large = size > LARGE_BYTES or work > LARGE_WORK
        if is_large:
            self._large.acquire()
        try:
            taken = self._take(min(size, self._capacity))
            try:
                yield
            finally:
                self._give_back(taken)
        finally:
            if is_large:
                self._large.release()

    def _take(self, size: int) -> int:
        ticket = object()
        with self._condition:
            self._waiting.append(ticket)
            try:
                self._condition.wait_for(lambda: self._waiting[0] is ticket and self._used + size <= self._capacity)
                self._used += size
            finally:
                self._waiting.remove(ticket)
                self._condition.notify_all()
        return size

    def _give_back(self, size: int) -> None:
        with self._condition:
            self._used -= size
            self._condition.notify_all()


_cores = os.cpu_count() or 1
_gate = DecodeGate(max(SERVER_BYTES, _cores * _PER_CORE), large_at_once=max(2, _cores))


def gate() -> DecodeGate:
    """Return the gate of this process."""
    return _gate


def serve() -> None:
    """Hold this process to what a web process may take."""
    global _gate
    _gate = DecodeGate(SERVER_BYTES, large_at_once=1)
