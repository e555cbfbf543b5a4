"""Which threads answer which requests: each kind has its own, so that many of one keep no other waiting."""

import queue
import re
import threading
import time
from collections.abc import Callable
from typing import Final

from catdog.web.connection import Connection

_PREDICTING: Final = re.compile(r"/(api/(predict(/batch)?|explain)|v2/models/.+/infer)")
_PIPELINED: Final = "pipelined"

Jobs = queue.SimpleQueue[Connection | None]


class Lanes:
    """Queues of requests, and the threads of each."""

    def __init__(self, work: Callable[[Connection], None], threads: int) -> None:
        """Make the lanes; `start` starts them.

        Args:
            work: answers one request, and never raises.
            threads: for predictions, and as many for everything else.
        """
        self._work = work
        # `/readyz` may wait for a database, and `/livez` never does.
        self._sizes = {"/livez": 1, "/readyz": 1, "predicting": threads, "other": threads, _PIPELINED: 1}
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
        path = connection.request.path
        if path in self._sizes and path.startswith("/"):
            return str(path)
        if connection.is_pipelined:  # sent ahead of the answer before: others come first
            return _PIPELINED
        return "predicting" if _PREDICTING.fullmatch(path) else "other"

    def _run(self, jobs: Jobs) -> None:
        while (connection := jobs.get()) is not None:
            self._work(connection)
