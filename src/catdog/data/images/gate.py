"""A limit on the memory of all images being decoded in a process.

Decoders release the interpreter lock, so several images are decoded at once. A web process decodes one large image at a
time, and small ones don't wait for it.
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
"""An image that needs more bytes, or more nanoseconds for its scans, counts as large: 7 megapixels of PNG, 10 of
progressive JPEG, 2.6 of WebP."""

_SMALL_BYTES: Final = 4_000_000
"""Images up to this size never wait in the queue."""

SERVER_BYTES: Final = 90_000_000
"""Bytes for decoding in a web process, which makes 330 MB with its own 240 MB. An image that needs more is decoded in a
separate process."""

SERVER_LARGE: Final = 3
"""Maximum large images in a web process, including waiting ones, which leaves a thread for other requests."""

INSPECTED_BYTES: Final = 1_000_000
"""Longer files are inspected one at a time, as that is done in Python, where only one thread runs."""

_PER_CORE: Final = 80_000_000


class DecodeGate:
    """A budget of bytes for decoding. Thread-safe."""

    def __init__(
        self,
        capacity: int,
        *,
        large_at_once: int,
        most_large: int | None = None,
        before_large: Callable[[], None] | None = None,
        decodes_apart: bool = False,
    ) -> None:
        """Set the limits.

        Args:
            capacity: bytes for all images together.
            large_at_once: maximum large images decoded at once.
            most_large: maximum large images decoded or waiting; unlimited by default.
            before_large: called before each large image, to free memory.
            decodes_apart: whether an image that needs more than `capacity` is decoded in a separate process.
        """
        self._capacity = capacity
        self._decodes_apart = decodes_apart
        self._before_large = before_large or (lambda: None)
        self._used = 0
        self._condition = threading.Condition()
        self._waiting: deque[object] = deque()
        self._inspecting = threading.Lock()
        self._large = threading.Semaphore(large_at_once)
        self._large_places = threading.Semaphore(most_large or 1_000_000)

    @contextmanager
    def reserve(self, size: int, work: float = 0) -> Iterator[None]:
        """Wait for `size` bytes, or for the whole budget if that is less, and hold them for the block.

        Raises:
            ServerBusyError: the image is large, and too many large ones are waiting.
        """
        if size <= LARGE_BYTES and work <= LARGE_WORK:
            with self._held(size):
                yield
            return
        if not self._large_places.acquire(blocking=False):
            raise ServerBusyError("The server is busy decoding other large images. Try again in a moment.")
        try:
            with self._large, self._held(size):
                self._before_large()
                yield
        finally:
            self._large_places.release()

    def is_apart(self, size: int) -> bool:
        """Return whether an image that needs `size` bytes is decoded in a separate process."""
        return self._decodes_apart and size > self._capacity

    def inspecting(self, size: int) -> AbstractContextManager[object]:
        """Return a context for inspecting a file of `size` bytes, which admits one large file at a time."""
        return self._inspecting if size > INSPECTED_BYTES else nullcontext()

    @contextmanager
    def _held(self, size: int) -> Iterator[None]:
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
    """Apply the limits of a web process; `before_large` frees memory before a large image."""
    global _gate
    _gate = DecodeGate(
        SERVER_BYTES, large_at_once=1, most_large=SERVER_LARGE, before_large=before_large, decodes_apart=True
    )
