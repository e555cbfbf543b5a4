"""gunicorn's threaded worker, with an event loop that reads whole requests and sends responses to slow clients.

A thread gets complete requests and never waits for a response to be read, so a slow client costs a connection, not a
thread. gunicorn parses requests, writes responses and handles signals. `connection` sets deadlines per client,
`buffers` the space that all clients share.
"""

import errno
import logging
import resource
import selectors
import socket
import time
from contextlib import suppress
from typing import Any, Final

from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

from catdog.monitoring.logs import write_json
from catdog.web.problems import new_request_id
from catdog.web.routes import table_of
from catdog.web.server.connection import LINGER_SECONDS, READ_AHEAD, Connection, Phase
from catdog.web.server.lanes import Lanes
from catdog.web.server.limits_by_path import LEAST_BYTES, LimitByPath
from catdog.web.server.refusals import BodyEndsEarlyError, ChunkTooLargeError, TooSlowError, refusal, status_of

RECEIVE_BYTES: Final = 256 * 2**10
SEND_BUFFER_BYTES: Final = 128 * 2**10
"""The system's send buffer per connection, which it doubles; the default is up to 4 MiB."""

STOP_SECONDS: Final = 2.0
"""How long a stopping process waits for requests on open connections."""

QUIT_SECONDS: Final = 0.5
"""The same after SIGQUIT or Ctrl-C."""

PAUSE_SECONDS: Final = 0.25
"""How long to accept no connections after the system ran out of file descriptors or memory."""

_OWN_FILES: Final = 64
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class ProblemWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """A worker whose threads never wait for a client."""

    @classmethod
    def check_config(cls, cfg: Any, _log: Any) -> None:
        """Check the configuration.

        Raises:
            RuntimeError: TLS is configured, which isn't supported.
        """
        if cfg.is_ssl:
            raise RuntimeError(
                "catdog serves plain HTTP. Remove --certfile and --keyfile, and terminate TLS in a proxy."
            )

    def init_process(self) -> None:
        """Start the threads, then load the application and serve."""
        self._connections: set[Connection] = set()
        self._scratch = memoryview(bytearray(RECEIVE_BYTES))
        self._stop_seconds = STOP_SECONDS
        self._accept_at = 0.0
        self._expire_at = 0.0
        # A connection may need a second descriptor, for a file with its body.
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most = max(8, min(self.worker_connections, (descriptors - _OWN_FILES) // 2))
        super().init_process()

    def run(self) -> None:
        """Serve until stopped, then finish the requests in progress."""
        self._limits = LimitByPath(self.wsgi)
        self._budget = self._limits.budget()
        self._lanes = Lanes(self._work, self.cfg.threads, table_of(self.wsgi))
        self._lanes.start()
        for listener in self.sockets:  # connections inherit it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.poller.register(self.method_queue.fileno(), _READ, self.method_queue.run_callbacks)
        while self.alive:
            self.set_accept_enabled(time.monotonic() >= self._accept_at)
            self._serve(1.0 if self._accepting else PAUSE_SECONDS)
            if not self.is_parent_alive():
                break
        self._stop()

    def handle_quit(self, sig: int, frame: object) -> None:
        """Finish the requests in progress, then stop; SIGQUIT stops the old server of an upgrade without losing any."""
        if not self.booted:
            super().handle_quit(sig, frame)
        self.cfg.worker_int(self)
        self._stop_seconds = QUIT_SECONDS
        self.handle_exit(sig, frame)

    def accept(self, listener: socket.socket) -> None:
        """Accept one connection; if there are too many, close the one idle for longest."""
        if len(self._connections) >= self._most and not self._evict():
            self._accept_at = time.monotonic() + PAUSE_SECONDS
            return
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self.log.warning("Can't accept connections at the moment: %s", error.strerror)
                self._evict()
                self._accept_at = time.monotonic() + PAUSE_SECONDS
            return
        connection = Connection(client, address, listener.getsockname(), self._budget)
        self._connections.add(connection)
        self._watch(connection)

    def handle_error(self, _request: object, client: Any, _address: object, error: Exception) -> None:
        """Refuse a request that can't be read or failed outside the application; the connection is closed then."""
        # Unlike gunicorn's, the message and log contain none of the request, as it may hold an image or a key.
        status, sentence = status_of(error)
        request_id = new_request_id()
        fields = {"request_id": request_id, "status": status, "problem": type(error).__name__}
        log = self.log.exception if status == 500 else self.log.warning
        log("Request %s was refused: %s, %s", request_id, status, fields["problem"], extra={"fields": fields})
        with suppress(OSError):  # the client has gone
            client.sendall(refusal(status, sentence, request_id))

    # The event loop.

    def _serve(self, timeout: float) -> None:
        self.notify()
        for key, events in self.poller.select(timeout):
            if isinstance(key.data, Connection):
                self._attend(key.data, events)
            else:
                key.data(key.fileobj)
        if (now := time.monotonic()) >= self._expire_at:
            self._expire_at = now + 0.5
            self._expire(now)

    def _attend(self, connection: Connection, events: int = 0) -> None:
        """Continue a connection after it became readable or writable, or after a response was completed."""
        if connection.phase is Phase.CLOSED:
            return
        try:
            if events & _WRITE:
                self._push(connection)
            if events & _READ:
                self._receive(connection)
            self._advance(connection)
        except (ConnectionError, TimeoutError) as gone:
            self.log.debug("A client has gone: %s", gone)
            self._close(connection)
        except Exception as error:
            self._refuse(connection, error)

    def _push(self, connection: Connection) -> None:
        connection.sock.push()
        if connection.phase is Phase.HEAD and not connection.sock.unsent:
            connection.await_request(self.cfg.keepalive)

    def _receive(self, connection: Connection) -> None:
        try:
            size = connection.socket.recv_into(self._scratch)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as gone:
            self.log.debug("A client has gone: %s", gone)
            connection.is_gone = connection.has_ended = True
            return
        if size == 0:
            connection.has_ended = True
        elif connection.phase not in (Phase.LAST, Phase.LINGER):
            connection.take(self._scratch[:size])

    def _advance(self, connection: Connection) -> None:
        # While a thread handles the request, it owns the body and the socket.
        if (connection.is_gone or connection.sock.is_broken) and connection.phase is not Phase.ANSWER:
            self._close(connection)
            return
        if connection.phase is Phase.HEAD and not connection.sock.unsent and connection.read_head(self.cfg):
            self._begin_body(connection)
        if connection.phase is Phase.BODY and self._may_answer(connection):
            connection.begin_answer()
            self._lanes.put(connection)
        if connection.phase is Phase.LAST and not connection.sock.unsent:
            self._linger(connection)
        if connection.has_ended and connection.phase in (Phase.HEAD, Phase.BODY, Phase.LINGER):
            if connection.phase is Phase.BODY:
                raise BodyEndsEarlyError
            if not connection.sock.unsent:
                self._close(connection)
                return
        self._watch(connection)

    def _begin_body(self, connection: Connection) -> None:
        expects = connection.request._expected_100_continue
        connection.begin_body()
        connection.fill_body()
        if expects and not self._may_answer(connection):
            connection.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            connection.sock.flush()

    def _may_answer(self, connection: Connection) -> bool:
        """Return whether a request is complete, or over the limit and thus refused by the application.

        Raises:
            ChunkTooLargeError: the current chunk will exceed the limit, which the application can't know yet.
        """
        if connection.has_body:
            return True
        promised = max(connection.promised, connection.promised_by_chunk)
        if promised <= LEAST_BYTES:
            return False
        request = connection.request
        if promised <= (limit := self._limits(request.method, request.path)):
            return False
        if connection.promised <= limit:
            raise ChunkTooLargeError
        request.force_close()
        return True

    def _linger(self, connection: Connection) -> None:
        connection.phase, connection.deadline = Phase.LINGER, time.monotonic() + LINGER_SECONDS
        with suppress(OSError):
            connection.socket.shutdown(socket.SHUT_WR)

    def _refuse(self, connection: Connection, error: Exception) -> None:
        self.handle_error(None, connection.sock, connection.client, error)
        self._end_answer(connection, keeps=False)

    def _watch(self, connection: Connection) -> None:
        """Set the events to wait for; nothing is read from a client that doesn't read its responses."""
        wants = _WRITE if connection.sock.unsent and connection.phase is not Phase.ANSWER else 0
        is_full = len(connection.received) >= READ_AHEAD and connection.phase not in (Phase.LAST, Phase.LINGER)
        if not connection.has_ended and not (is_full and (connection.phase is Phase.ANSWER or connection.sock.unsent)):
            wants |= _READ
        if wants == connection.interest:
            return
        if not connection.interest:
            self.poller.register(connection.socket, wants, connection)
        elif not wants:
            self.poller.unregister(connection.socket)
        else:
            self.poller.modify(connection.socket, wants, connection)
        connection.interest = wants

    def _expire(self, now: float) -> None:
        for connection in [one for one in self._connections if one.is_late(now)]:
            has_begun = connection.phase is Phase.BODY or (connection.phase is Phase.HEAD and connection.received)
            if has_begun and not connection.sock.unsent:
                self._refuse(connection, TooSlowError())
            elif connection.sock.unsent or not connection.extend_if_reading(now):
                self._close(connection, abort=bool(connection.sock.unsent or connection.in_flight))

    def _evict(self) -> bool:
        """Close the connection idle for longest; return False if threads are handling all of them."""
        waiting = [one for one in self._connections if one.phase is not Phase.ANSWER]
        if not waiting:
            return False
        # Connections without a body in transfer go first.
        self._close(min(waiting, key=lambda one: (one.phase is Phase.BODY, one.since)), abort=True)
        return True

    def _close(self, connection: Connection, *, abort: bool = False) -> None:
        if connection.interest:
            self.poller.unregister(connection.socket)
        connection.close(abort=abort)
        self._connections.discard(connection)

    def _stop(self) -> None:
        self.set_accept_enabled(False)
        for listener in self.sockets:
            listener.close()
        begun = time.monotonic()
        end = begun + self.cfg.graceful_timeout
        while self._connections and time.monotonic() < end:
            for connection in self._connections:
                if connection.phase is Phase.HEAD and not connection.sock.unsent:
                    connection.deadline = min(connection.deadline, begun + self._stop_seconds)
            self._serve(0.2)
        self._lanes.stop(max(0.0, end - time.monotonic()) + STOP_SECONDS)
        for connection in list(self._connections):
            if connection.phase is not Phase.ANSWER:  # its thread ends with the process
                self._close(connection)
        self.poller.close()
        self.method_queue.close()

    # The threads.

    def _work(self, connection: Connection) -> None:
        keeps = not connection.is_gone and self._answer(connection)
        connection.drop_request()
        if keeps and self.alive and not (connection.sock.unsent or connection.sock.is_broken):
            connection.await_request(self.cfg.keepalive)
            # The event loop hasn't handled what arrived meanwhile, as this thread had the connection.
            if connection.received or connection.has_ended or not connection.interest:
                self.method_queue.defer(self._attend, connection)
        else:
            self.method_queue.defer(self._end_answer, connection, keeps)

    def _answer(self, connection: Connection) -> bool:
        """Let the application handle the request; return whether the connection stays open."""
        keeps = False
        try:
            keeps = bool(self.handle_request(connection.request, connection))
        except OSError as gone:
            self.log.debug("A client has gone: %s", gone)
        except StopIteration:  # gunicorn has logged the failure; the headers were sent already
            pass
        except Exception as error:
            self.handle_error(connection.request, connection.sock, connection.client, error)
        connection.sock.flush()
        return keeps

    def _end_answer(self, connection: Connection, keeps: bool) -> None:
        if connection.phase is Phase.CLOSED:
            return
        connection.sock.flush()
        connection.drop_request()
        if keeps:
            connection.await_request(self.cfg.keepalive)
        else:
            connection.phase = Phase.LAST
            connection.received.clear()
        self._attend(connection)


class JsonLogger(Logger):  # type: ignore[misc]
    """gunicorn's own log as lines of JSON."""

    def setup(self, cfg: object) -> None:
        """Set up the log, at the start and at each reload of the configuration."""
        super().setup(cfg)
        write_json(logging.getLogger("gunicorn.error"))
