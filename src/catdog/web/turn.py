"""The order in which images reach the network: single images before those of lists, each kind first in, first out."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SINGLES_IN_A_ROW: Final = 4
"""After this many single images, one of a list has its turn, so lists never wait for ever."""


class Turn:
    """A lock for one thread at a time, handed over to the next waiting thread, so no newcomer overtakes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_taken = False
        self._single: deque[threading.Lock] = deque()
        self._listed: deque[threading.Lock] = deque()
        self._in_a_row = 0

    @contextmanager
    def taken(self, *, listed: bool = False) -> Iterator[None]:
        """Hold the turn for a block, after waiting for it.

        Args:
            listed: whether it is for one of several images in a request.
        """
        self._wait(self._listed if listed else self._single)
        try:
            yield
        finally:
            self._hand_over()

    def _wait(self, queue: deque[threading.Lock]) -> None:
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return
            called = threading.Lock()
            called.acquire()
            queue.append(called)
        called.acquire()

    def _hand_over(self) -> None:
        with self._lock:
            is_listed = bool(self._listed) and (not self._single or self._in_a_row >= SINGLES_IN_A_ROW)
            self._in_a_row = self._in_a_row + 1 if self._listed and not is_listed else 0
            queue = self._listed if is_listed else self._single
            if queue:
                queue.popleft().release()
            else:
                self._is_taken = False
