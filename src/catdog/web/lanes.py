"""Which threads answer which requests: each kind has its own, so that many of one keep no other waiting."""

import queue
import re
import threading
import time
from collections.abc import Callable
from typing import IO, Final
from urllib.parse import unquote

from catdog.web.connection import Connection

LONG_THREADS: Final = 2
"""For lists of pictures, and for uploads: each takes long, and more at once would only share the processor."""

_PIPELINED: Final = "pipelined"
_INFERENCE: Final = "inference"
_LANES: Final = {
    "predicting": re.compile(r"/|/api/predict"),
    "lists": re.compile(r"/api/predict/batch"),
    "explaining": re.compile(r"/api/explain"),
    "uploads": re.compile(r"(/api)?/retrain/upload|/api/feedback"),
    _INFERENCE: re.compile(r"/v2/models/[^/]+(/versions/[^/]+)?/infer"),
}
"""Kinds of requests that take pictures, by their paths."""

_HEAD_BYTES: Final = 4096
_SHAPE: Final = re.compile(rb'"shape"\s*:\s*\[([^\]]*)')

Jobs = queue.SimpleQueue[Connection | None]


class Lanes:
    """Queues of requests, and the threads of each."""

    def __init__(self, work: Callable[[Connection], None], threads: int) -> None:
        """Make the lanes; `start` starts them.

        Args:
            work: answers one request, and never raises.
            threads: for predictions of one picture, and as many for everything that takes no picture.
        """
        self._work = work
        # `/readyz` may wait for a database, and `/livez` never does.
        self._sizes = {
            "/livez": 1, "/readyz": 1, "predicting": threads, "other": threads, _PIPELINED: 1,
            "lists": LONG_THREADS, "uploads": LONG_THREADS, "explaining": 1,
        }  # fmt: skip
        self._jobs: dict[str, Jobs] = {name: queue.SimpleQueue() for name in self._sizes}
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads."""
        for name, size in self._sizes.items():
            for _ in range(size):
                thread = threading.Thread(target=self._run, args=(self._jobs[name],), name=f"lane {name}", daemon=True)
                thread.start()
                self._threads.append(thread)

    def put(self, connection: Connection) -> None:
        """Let a thread answer the request of a connection."""
        self._jobs[self._name(connection)].put(connection)

    def stop(self, seconds: float) -> None:
        """Let the threads end after the requests that wait, and wait for them."""
        for name, size in self._sizes.items():
            for _ in range(size):
                self._jobs[name].put(None)
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _name(self, connection: Connection) -> str:
        request = connection.request
        if request.path in ("/livez", "/readyz"):
            return str(request.path)
        name = lane_of(request.method, request.path, request.body)
        if connection.is_pipelined and name in ("predicting", "other"):  # sent ahead of the answer before
            return _PIPELINED
        return name

    def _run(self, jobs: Jobs) -> None:
        while (connection := jobs.get()) is not None:
            self._work(connection)


def lane_of(method: str, path: str, body: IO[bytes]) -> str:
    """Name the lane of a request that is no probe."""
    if method != "POST":
        return "other"
    path = unquote(path)
    name = next((name for name, paths in _LANES.items() if paths.fullmatch(path)), "other")
    if name != _INFERENCE:
        return name
    return "predicting" if _has_one_picture(body) else "lists"


def _has_one_picture(body: IO[bytes]) -> bool:
    """Tell whether a body of the V2 protocol says at its front, as clients do, that it has one picture."""
    head = body.read(_HEAD_BYTES)
    body.seek(0)
    shapes = _SHAPE.findall(head)
    return bool(shapes) and all(shape.strip() == b"1" for shape in shapes)
