"""One client's connection, as the event loop sees it: what has arrived, what is answered, and until when."""

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
"""A request line and its headers must arrive within this time, from the connection or from their first byte on."""

PROGRESS_SECONDS: Final = 15.0
PROGRESS_BYTES: Final = 8 * 2**10
"""A body must arrive, and an answer be read, at this many bytes per second, 15 seconds of patience apart."""

MOST_SECONDS: Final = 600.0
"""However fast it is, a body must have arrived, and an answer been read, within this time."""

LINGER_SECONDS: Final = 2.0
"""How long a connection is read from after its last answer: closing earlier could destroy that answer on its way."""

READ_AHEAD: Final = 64 * 2**10
"""What is read of further requests while one is answered."""

_FIRST: Final = frozenset(b"\rABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&'*+-.^_`|~0123456789")


class Phase(IntEnum):
    """What a connection waits for."""

    HEAD = 1
    BODY = 2
    ANSWER = 3  # by a thread
    LAST = 4  # for the last answer to be sent
    LINGER = 5  # for the client to close
    CLOSED = 6


class Connection:
    """State of a connection. The event loop owns it, but for the time of an answer: then a thread does."""

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
        """Take what has arrived.

        Raises:
            ParseException: it breaks the protocol.
            BufferFullError: there is no room for it.
            OSError: the disk is full.
        """
        if self.phase is Phase.HEAD and self._count and not self.received:
            self.since = time.monotonic()
            self.deadline = self.since + HEAD_SECONDS
        self.received += data
        if self.phase is Phase.BODY:
            self.fill_body()

    def read_head(self, config: Any) -> bool:
        """Read a request line and headers if they are complete.

        Raises:
            ParseException: they never will be.
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
        if end < 4 and len(data) < 2 * self._tried:  # looking at each byte that trickles in would cost too much
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
        """Wait for the body of the request that was read."""
        reader = self.request.body.reader
        self._chunks = Chunks(self.request) if isinstance(reader, ChunkedReader) else None
        self._left = 0 if self._chunks else reader.length
        self.body = Body(self._budget)
        self.phase = Phase.BODY
        self.since = time.monotonic()
        self._extend()

    @property
    def promised(self) -> int:
        """Size of the body as far as it is known: as announced, or as arrived in chunks until now."""
        assert self.body is not None
        return self.body.size + self._left

    @property
    def promised_by_chunk(self) -> int:
        """Size of the body once the chunk at hand has arrived; 0 if it does not come in chunks."""
        return self.body.size + self._chunks.left if self.body and self._chunks else 0

    @property
    def has_body(self) -> bool:
        """Whether all of the body has arrived."""
        return self._chunks.is_complete if self._chunks else not self._left

    def fill_body(self) -> None:
        """Move what has arrived to the body, as far as it belongs there."""
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
        """Hand the request over to a thread."""
        assert self.body is not None
        self.request.body = self.body.open()
        self.request._expected_100_continue = False  # it was told
        self.phase, self.deadline = Phase.ANSWER, math.inf

    def drop_request(self) -> None:
        """Release what a request took."""
        if self.body is not None:
            self.body.close()
        self.request = self.body = self._chunks = None

    def rest(self, seconds: float) -> None:
        """Wait for the next request."""
        self.is_pipelined = bool(self.received)
        self.in_flight = 0
        self.since = time.monotonic()
        self.deadline = self.since + (HEAD_SECONDS if self.received else seconds)
        self.phase = Phase.HEAD

    def is_late(self, now: float) -> bool:
        """Tell whether the client took too long."""
        if self.sock.unsent and self.phase is not Phase.ANSWER:
            return now > allowed_until(self.sock.blocked_at, self.sock.sent_since)
        return now > self.deadline

    def reads_on(self, now: float) -> bool:
        """Give a client more time that is still reading the last answer out of the system's buffer.

        The end of the connection would reach it behind that answer only, and the system keeps it for minutes.
        """
        before, self.in_flight = self.in_flight, _in_flight(self.socket)
        if not self.in_flight or before == self.in_flight or now > self.since + MOST_SECONDS:
            return False
        self.deadline = now + PROGRESS_SECONDS
        return True

    def close(self, *, abort: bool = False) -> None:
        """End the connection; with `abort` the system forgets what it has not sent yet."""
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
    """Count the bytes that were sent and have not reached the client; Linux' SIOCOUTQ, which is its TIOCOUTQ."""
    with suppress(OSError):
        return int(struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)))[0])
    return 0


def allowed_until(since: float, size: int) -> float:
    """Return until when a transfer that began at `since` and has moved `size` bytes may go on."""
    return since + min(PROGRESS_SECONDS + size / PROGRESS_BYTES, MOST_SECONDS)
