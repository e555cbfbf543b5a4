"""The responses to one client: sent as far as the connection accepts them, the rest later by the event loop.

Threads never wait for a client, as this looks like a socket that accepts everything at once.
"""

import errno
import math
import os
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, Final

from catdog.web.server.buffers import Budget, BufferFullError, write_whole

GATHER_BYTES: Final = 64 * 2**10
"""Headers and body of a response are sent together if they are smaller than this."""

PUSH_BYTES: Final = 2**20
"""Maximum bytes that the event loop sends to one client before it turns to the others."""


@dataclass
class _FileRange:
    """A range of an open file that is still to be sent."""

    descriptor: int
    offset: int
    size: int


class Outgoing:
    """The socket of a response for gunicorn. One thread writes; the event loop sends the rest."""

    def __init__(self, client: socket.socket, budget: Budget) -> None:
        self._socket, self._budget = client, budget
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._parts: deque[memoryview | _FileRange] = deque()
        self._lock = threading.Lock()
        self._spilled: IO[bytes] | None = None
        self._memory = self._disk = 0
        self.unsent = 0
        self.is_broken = False
        self.blocked_at = math.inf
        self.sent_since = 0

    def sendall(self, data: bytes) -> None:
        """Send bytes, now or later.

        Raises:
            BrokenPipeError: the client has gone.
        """
        if self.is_broken:
            raise BrokenPipeError(errno.EPIPE, "The client has gone")
        self._gathered.append(data)
        self._gathered_bytes += len(data)
        if self._gathered_bytes >= GATHER_BYTES:
            self.flush()

    def send(self, data: bytes) -> int:
        """Send bytes as `sendall` does."""
        self.sendall(data)
        return len(data)

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:
        """Send a range of an open file, now or later; the file may be closed meanwhile."""
        self.flush()
        found = os.fstat(file.fileno())
        size = found.st_size - offset if count is None else count
        if not found.st_nlink:  # made for this response, so it takes disk space until it is sent
            try:
                self._budget.take_disk(size)
            except BufferFullError as error:
                self.close()
                raise BrokenPipeError(errno.EPIPE, str(error)) from error
            self._disk += size
        self._add(_FileRange(os.dup(file.fileno()), offset, size))
        return size

    def flush(self) -> None:
        """Send the gathered data."""
        if self._gathered:
            data = self._gathered[0] if len(self._gathered) == 1 else b"".join(self._gathered)
            self._gathered.clear()
            self._gathered_bytes = 0
            self._add(memoryview(data))

    def push(self) -> None:
        """Send more of the rest; called by the event loop when the socket is writable."""
        with self._lock:
            self._send(PUSH_BYTES)

    def close(self) -> None:
        """Drop the rest; the socket itself stays open."""
        with self._lock:
            self._drop_rest()

    # Further methods of a socket that gunicorn calls.

    def gettimeout(self) -> float:
        """Return 0, as a non-blocking socket does."""
        return 0.0

    def settimeout(self, _seconds: float | None) -> None:
        """Do nothing, as this never blocks."""

    def setblocking(self, _blocking: bool) -> None:
        """Do nothing, as this never blocks."""

    def shutdown(self, _how: int) -> None:
        """Raise an error, so gunicorn leaves closing the connection to the event loop."""
        raise OSError(errno.ENOTCONN, "The event loop ends connections")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def _add(self, part: "memoryview | _FileRange") -> None:
        with self._lock:
            if self.is_broken:
                _release(part)
                return
            self._parts.append(part)
            self.unsent += len(part) if isinstance(part, memoryview) else part.size
            if len(self._parts) == 1:
                self._send(math.inf)
            if self._parts and isinstance(last := self._parts[-1], memoryview):
                self._keep(last)

    def _send(self, most: float) -> None:
        try:
            while self._parts and most > 0:
                sent = self._send_first()
                self.unsent -= sent
                self.sent_since += sent
                most -= sent
        except (BlockingIOError, InterruptedError):
            if self.blocked_at == math.inf:
                self.blocked_at, self.sent_since = time.monotonic(), 0
        except OSError:
            self._drop_rest()
        if not self._parts:
            self._release_space()

    def _send_first(self) -> int:
        first = self._parts[0]
        if isinstance(first, memoryview):
            sent = self._socket.send(first) if first else 0
            rest = first[sent:]
            if rest:
                self._parts[0] = rest
                return sent
        elif first.size > 0:
            sent = os.sendfile(self._socket.fileno(), first.descriptor, first.offset, min(first.size, PUSH_BYTES))
            if sent == 0:
                raise OSError(errno.EIO, "The file is shorter than it was")
            first.offset += sent
            first.size -= sent
            if first.size:
                return sent
        else:
            sent = 0
        _release(self._parts.popleft())
        return sent

    def _keep(self, last: memoryview) -> None:
        """Keep the unsent data: in memory, or on disk if the memory is used up."""
        if self._budget.take_memory(len(last)):
            self._memory += len(last)
            return
        try:
            self._budget.take_disk(len(last))
            self._disk += len(last)
            if self._spilled is None:
                self._spilled = self._budget.open_file()
            descriptor = self._spilled.fileno()
            offset = os.lseek(descriptor, 0, os.SEEK_END)
            write_whole(descriptor, bytes(last))
            self._parts[-1] = _FileRange(os.dup(descriptor), offset, len(last))
        except (BufferFullError, OSError):
            self._drop_rest()

    def _drop_rest(self) -> None:
        self.is_broken = True
        self._gathered.clear()
        while self._parts:
            _release(self._parts.popleft())
        self._release_space()

    def _release_space(self) -> None:
        """Release the space of the last response."""
        self.unsent = 0
        self.blocked_at = math.inf
        if self._memory or self._disk:
            self._budget.give_back(self._memory, self._disk)
            self._memory = self._disk = 0
        if self._spilled is not None:
            self._spilled.close()
            self._spilled = None


def _release(part: "memoryview | _FileRange") -> None:
    if isinstance(part, _FileRange):
        with suppress(OSError):
            os.close(part.descriptor)
