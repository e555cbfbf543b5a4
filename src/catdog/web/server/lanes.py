"""Threads and queues by kind of request: many of one kind don't delay the others."""

import queue
import re
import threading
import time
from collections.abc import Callable
from typing import IO, Final

from catdog.web.routes import Lane, RouteTable
from catdog.web.server.connection import Connection

LONG_THREADS: Final = 2
"""For lists of images and for uploads, which take long; more threads would only share the processor."""

_HEAD_BYTES: Final = 4096
_SHAPE: Final = re.compile(rb'"shape"\s*:\s*\[([^\]]*)')

Jobs = queue.SimpleQueue[Connection | None]


class Lanes:
    """A queue of requests and threads for each lane."""

    def __init__(self, work: Callable[[Connection], None], threads: int, routes: RouteTable | None) -> None:
        """Create the lanes; `start` starts them.

        Args:
            work: handles one request; must not raise.
            threads: number for predictions of one image, and for requests without images.
            routes: the routes with their lanes; None for an application that isn't catdog's.
        """
        self._work = work
        self._routes = routes
        self._sizes = {
            Lane.LIVENESS: 1,
            Lane.READINESS: 1,
            Lane.PREDICTING: threads,
            Lane.OTHER: threads,
            Lane.PIPELINED: 1,
            Lane.LISTS: LONG_THREADS,
            Lane.UPLOADS: LONG_THREADS,
            Lane.EXPLAINING: 1,
        }
        self._jobs: dict[Lane, Jobs] = {lane: queue.SimpleQueue() for lane in self._sizes}
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads."""
        for lane, size in self._sizes.items():
            for _ in range(size):
                name = f"lane {lane.value}"
                thread = threading.Thread(target=self._run, args=(self._jobs[lane],), name=name, daemon=True)
                thread.start()
                self._threads.append(thread)

    def put(self, connection: Connection) -> None:
        """Queue the request of a connection."""
        self._jobs[self._lane(connection)].put(connection)

    def stop(self, seconds: float) -> None:
        """Stop the threads after the queued requests, and wait for them, at most `seconds`."""
        for lane, size in self._sizes.items():
            for _ in range(size):
                self._jobs[lane].put(None)
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _lane(self, connection: Connection) -> Lane:
        request = connection.request
        lane = lane_of(self._routes, request.method, request.path, request.body)
        if connection.is_pipelined and lane in (Lane.PREDICTING, Lane.OTHER):  # sent ahead of the previous response
            return Lane.PIPELINED
        return lane

    def _run(self, jobs: Jobs) -> None:
        while (connection := jobs.get()) is not None:
            self._work(connection)


def lane_of(routes: RouteTable | None, method: str, path: str, body: IO[bytes]) -> Lane:
    """Return the lane of a request."""
    lane = routes.find(method, path).lane if routes else Lane.OTHER
    if lane is not Lane.INFERENCE:
        return lane
    return Lane.PREDICTING if _has_one_image(body) else Lane.LISTS


def _has_one_image(body: IO[bytes]) -> bool:
    """Return whether a body of the V2 protocol states a shape of one image at its start, as clients do."""
    head = body.read(_HEAD_BYTES)
    body.seek(0)
    shapes = _SHAPE.findall(head)
    return bool(shapes) and all(shape.strip() == b"1" for shape in shapes)
