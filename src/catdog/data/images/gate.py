"""How many images a process decodes at once: as many as fit into a budget of bytes.

A decoder lets other threads run, so several images decode side by side. What they take together is bounded here, in the
one place that every decode passes. In a web process large ones go one at a time: one delays the others by sharing the
processor with them, and never by keeping them out.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from catdog.errors import ServerBusyError

LARGE_BYTES: Final = 32_000_000
LARGE_WORK: Final = 100e6
"""An image that takes more bytes, or more nanoseconds for its scans, is a large one: 7 megapixels of PNG, 10 of
progressive JPEG, 2.6 of WebP."""

_SMALL_BYTES: Final = 4_000_000
"""What takes no more never queues behind what takes more."""

SERVER_BYTES: Final = 90_000_000
"""What a web process may take for decoding: its own 240 MB and these are 330 MB. An image that takes more is decoded in
a process of its own."""

SERVER_LARGE: Final = 3
"""Most large images that a web process has at once, those that wait too, so that a thread is left for others."""

INSPECTED_BYTES: Final = 1_000_000
"""A file that is longer is inspected alone: that is done in Python, where only one thread runs."""

_PER_CORE: Final = 80_000_000


class DecodeGate:
    """A budget of bytes that is lent to one decode after another."""

    def __init__(
        self,
        capacity: int,
        *,
        large_at_once: int,
        most_large: int | None = None,
        before_large: Callable[[], None] | None = None,
        decodes_apart: bool = False,
    ) -> None:
        """Make a gate.

        Args:
            capacity: bytes of all decodes together.
            large_at_once: large images that are decoded side by side.
            most_large: large images that are decoded or wait; any number if not given.
            before_large: called before each large image, to give back memory.
            decodes_apart: whether what takes more than `capacity` is decoded in a process of its own.
        """
        self._capacity = capacity
        self._decodes_apart = decodes_apart
        self._before_large = before_large or (lambda: None)
        self._used = 0
        self._condition = threading.Condition()
        self._waiting: deque[object] = deque()
        self._inspecting = threading.Lock()
        self._large = threading.Semaphore(large_at_once)
        self._places = threading.Semaphore(most_large or 1_000_000)

    @contextmanager
    def reserve(self, size: int, work: float = 0) -> Iterator[None]:
        """Wait until `size` bytes are free, and keep them for the block; one that needs more than all gets all.

        Raises:
            ServerBusyError: the image is a large one, and too many wait already.
        """
        if size <= LARGE_BYTES and work <= LARGE_WORK:
            with self._taken(size):
                yield
            return
        if not self._places.acquire(blocking=False):
            raise ServerBusyError("The server decodes as many large images as it can at once. Try again in a moment.")
        try:
            with self._large, self._taken(size):
                self._before_large()
                yield
        finally:
            self._places.release()

    def is_apart(self, size: int) -> bool:
        """Tell whether an image that takes `size` bytes is decoded in a process of its own."""
        return self._decodes_apart and size > self._capacity

    def inspecting(self, size: int) -> AbstractContextManager[object]:
        """Return a context in which a file of `size` bytes is inspected: one long one at a time."""
        return self._inspecting if size > INSPECTED_BYTES else nullcontext()

    @contextmanager
    def _taken(self, size: int) -> Iterator[None]:
        size = min(size, self._capacity)
        with self._condition:
            if size > _SMALL_BYTES:
                self._queue(size)
            else:
                self._condition.wait_for(lambda: self._used + size <= self._capacity)
            self._used += size
        try:
            yield
        finally:
            with self._condition:
                self._used -= size
                self._condition.notify_all()

    def _queue(self, size: int) -> None:
        ticket = object()
        self._waiting.append(ticket)
        try:
            self._condition.wait_for(lambda: self._waiting[0] is ticket and self._used + size <= self._capacity)
        finally:
            self._waiting.remove(ticket)
            self._condition.notify_all()


_cores = os.cpu_count() or 1
_gate = DecodeGate(max(SERVER_BYTES, _cores * _PER_CORE), large_at_once=max(2, _cores))


def gate() -> DecodeGate:
    """Return the gate of this process."""
    return _gate


def serve(before_large: Callable[[], None] | None = None) -> None:
    """Hold this process to what a web process may take; `before_large` gives back memory before a large image."""
    global _gate
    _gate = DecodeGate(
        SERVER_BYTES, large_at_once=1, most_large=SERVER_LARGE, before_large=before_large, decodes_apart=True
    )
