"""One client's connection for the event loop: arrived data, its phase, and its deadline."""

import fcntl
import math
import socket
import struct
import termios
import time
from contextlib import suppress
from enum import IntEnum
from typing import Any, Final

from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import InvalidRequestLine, LimitRequestHeaders
from gunicorn.http.message import Request

from catdog.web.server.buffers import Body, Budget
from catdog.web.server.chunks import Chunks, IncompleteError, Received
from catdog.web.server.outgoing import Outgoing
from catdog.web.server.refusals import HEAD_BYTES, require_host

HEAD_SECONDS: Final = 10.0
"""Time for the request line and headers, from the connection or from their first byte."""

PROGRESS_SECONDS: Final = 15.0
PROGRESS_BYTES: Final = 8 * 2**10
"""Minimum rate in bytes per second for sending a body or reading a response, after the first 15 seconds."""

MOST_SECONDS: Final = 600.0
"""Maximum time for sending a body or reading a response, at any rate."""

LINGER_SECONDS: Final = 2.0
"""How long to read after the last response, as closing earlier could destroy it on its way."""

READ_AHEAD: Final = 64 * 2**10
"""Maximum bytes read of further requests while one is handled."""

_FIRST: Final = frozenset(b"\rABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&'*+-.^_`|~0123456789")


class Phase(IntEnum):
    """What a connection waits for."""

    HEAD = 1
    BODY = 2
    ANSWER = 3  # a response, from a thread
    LAST = 4  # the last response to be sent
    LINGER = 5  # the client to close
    CLOSED = 6


class Connection:
    """State of a connection, owned by the event loop, or by a thread while it handles a request."""

    def __init__(self, client: socket.socket, address: Any, server: Any, budget: Budget) -> None:
        client.setblocking(False)
        self.socket, self.client, self.server = client, address, server
        self.sock = Outgoing(client, budget)  # gunicorn writes its responses to this
        self.phase = Phase.HEAD
        self.received = bytearray()
        self.has_ended = False
        self.is_gone = False
        self.interest = 0
        self.request: Any = None
        self.body: Body | None = None
        self.since = time.monotonic()
        self.deadline = self.since + HEAD_SECONDS
        self._budget = budget
        self.is_pipelined = False
        self.in_flight = 0
        self._count = self._searched = self._tried = 0
        self._left = 0
        self._chunks: Chunks | None = None

    def take(self, data: memoryview) -> None:
        """Add data that has arrived.

        Raises:
            ParseException: it violates the protocol.
            BufferFullError: there is no space for it.
            OSError: the disk is full.
        """
        if self.phase is Phase.HEAD and self._count and not self.received:
            self.since = time.monotonic()
            self.deadline = self.since + HEAD_SECONDS
        self.received += data
        if self.phase is Phase.BODY:
            self.fill_body()

    def read_head(self, config: Any) -> bool:
        """Parse the request line and headers; return whether they are complete.

        Raises:
            ParseException: they are invalid.
        """
        data = self.received
        if not data:
            return False
        if data[0] not in _FIRST:
            raise InvalidRequestLine("")
        end = data.find(b"\r\n\r\n", max(0, self._searched - 3)) + 4
        self._searched = len(data)
        if max(end, 0 if end > 3 else len(data)) > HEAD_BYTES:
            raise LimitRequestHeaders("all headers")
        if end < 4 and len(data) < 2 * self._tried:  # parsing again for each byte would cost too much
            return False
        self._tried = len(data)
        source = Received(bytes(data[: end if end > 3 else len(data)]))
        try:
            self.request = Request(config, source, self.client, self._count + 1)
        except IncompleteError:
            return False
        require_host(self.request)
        del data[: end - len(source.take_buffered())]
        self._count += 1
        self._searched = self._tried = 0
        return True

    def begin_body(self) -> None:
        """Start the body of the parsed request."""
        reader = self.request.body.reader
        self._chunks = Chunks(self.request) if isinstance(reader, ChunkedReader) else None
        self._left = 0 if self._chunks else reader.length
        self.body = Body(self._budget)
        self.phase = Phase.BODY
        self.since = time.monotonic()
        self._extend()

    @property
    def promised(self) -> int:
        """Known size of the body: as announced, or of the chunks arrived so far."""
        assert self.body is not None
        return self.body.size + self._left

    @property
    def promised_by_chunk(self) -> int:
        """Size of the body including the current chunk; 0 if it isn't chunked."""
        return self.body.size + self._chunks.left if self.body and self._chunks else 0

    @property
    def has_body(self) -> bool:
        """Whether the body has arrived."""
        return self._chunks.is_complete if self._chunks else not self._left

    def fill_body(self) -> None:
        """Move arrived data to the body, up to its end."""
        assert self.body is not None
        if self._chunks:
            piece = self._chunks.take(self.received)
        else:
            piece = bytes(self.received[: self._left])
            del self.received[: len(piece)]
            self._left -= len(piece)
        if piece:
            self.body.write(piece)
            self._extend()

    def begin_answer(self) -> None:
        """Prepare the request for a thread."""
        assert self.body is not None
        self.request.body = self.body.open()
        self.request._expected_100_continue = False  # sent already
        self.phase, self.deadline = Phase.ANSWER, math.inf

    def drop_request(self) -> None:
        """Release the buffers of the request."""
        if self.body is not None:
            self.body.close()
        self.request = self.body = self._chunks = None

    def await_request(self, seconds: float) -> None:
        """Wait for the next request, at most `seconds` for its first byte."""
        self.is_pipelined = bool(self.received)
        self.in_flight = 0
        self.since = time.monotonic()
        self.deadline = self.since + (HEAD_SECONDS if self.received else seconds)
        self.phase = Phase.HEAD

    def is_late(self, now: float) -> bool:
        """Return whether the client has missed its deadline."""
        if self.sock.unsent and self.phase is not Phase.ANSWER:
            return now > allowed_until(self.sock.blocked_at, self.sock.sent_since)
        return now > self.deadline

    def extend_if_reading(self, now: float) -> bool:
        """Extend the deadline if the client is still reading the last response from the system's buffer."""
        # The end of the connection would reach the client only after that response, which the system keeps for minutes.
        before, self.in_flight = self.in_flight, _in_flight(self.socket)
        if not self.in_flight or before == self.in_flight or now > self.since + MOST_SECONDS:
            return False
        self.deadline = now + PROGRESS_SECONDS
        return True

    def close(self, *, abort: bool = False) -> None:
        """Close the connection; with `abort` the system drops unsent data."""
        self.phase = Phase.CLOSED
        self.sock.close()
        self.drop_request()
        if abort:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def _extend(self) -> None:
        assert self.body is not None
        self.deadline = allowed_until(self.since, self.body.size)


def _in_flight(client: socket.socket) -> int:
    """Return the number of sent bytes that haven't reached the client (Linux' SIOCOUTQ, which equals TIOCOUTQ)."""
    with suppress(OSError):
        return int(struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)))[0])
    return 0


def allowed_until(since: float, size: int) -> float:
    """Return the deadline of a transfer that began at `since` and has moved `size` bytes."""
    return since + min(PROGRESS_SECONDS + size / PROGRESS_BYTES, MOST_SECONDS)
