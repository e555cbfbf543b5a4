"""Records a server's responses and failed requests, and whether a kill explains the failures."""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from processes import tree

CLOCK_SECONDS = 0.1
"""Tolerance, as kills and requests are timed by different threads."""


@dataclass(frozen=True)
class Request:
    """A request from its client's view: its start and end, and its status or error."""

    path: str
    began: float
    ended: float
    status: int | None
    error: str = ""


@dataclass(frozen=True)
class Kill:
    """The kill of a process: its time, and the kind of process (`web` or `worker`)."""

    at: float
    kind: str


@dataclass
class Record:
    """A record of successful and failed requests, kills, accepted jobs and stored images."""

    answered: Counter[str] = field(default_factory=Counter)
    failed: list[Request] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    pictures: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, request: Request) -> None:
        """Count a successful request, or keep a failed one."""
        with self.lock:
            if request.status is not None and request.status < 400:
                self.answered[request.path] += 1
            else:
                self.failed.append(request)


def unexplained(failed: Sequence[Request], kills: Sequence[Kill]) -> list[Request]:
    """Return failures with a status, or that weren't in progress when a web process was killed."""
    times = [kill.at for kill in kills if kill.kind == "web"]
    return [
        request
        for request in failed
        if request.status is not None
        or not any(request.began - CLOCK_SECONDS <= time <= request.ended + CLOCK_SECONDS for time in times)
    ]


class Server:
    """The server under test: sends requests and finds its processes."""

    def __init__(self, port: int, root: int, record: Record) -> None:
        self.port, self.root, self.record = port, root, record

    def send(
        self, method: str, path: str, body: bytes | None = None, kind: str = "", expected: str = ""
    ) -> dict[str, Any] | None:
        """Send a request on a new connection and record it; return the response, or None if there was none.

        An error that contains `expected` counts as success.
        """
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body, {"Content-Type": kind} if kind else {})
            response = connection.getresponse()
            content = response.read()
            answer: dict[str, Any] = json.loads(content)
            is_expected = bool(expected) and expected in answer.get("error", "")
            status = 200 if is_expected else response.status
            self.record.add(Request(path.partition("?")[0], began, time.monotonic(), status))
            return answer
        except (OSError, http.client.HTTPException) as error:
            self.record.add(Request(path.partition("?")[0], began, time.monotonic(), None, repr(error)))
            return None
        finally:
            connection.close()

    def insist(
        self, method: str, path: str, body: bytes | None = None, kind: str = "", expected: str = ""
    ) -> dict[str, Any]:
        """Repeat a request until there is a response; failures are recorded too."""
        while (answer := self.send(method, path, body, kind, expected)) is None:
            time.sleep(0.2)
        return answer

    def processes(self) -> dict[str, list[int]]:
        """Return the processes by kind: `first`, `web`, `worker`, and the worker's `trainer`."""
        found: dict[str, list[int]] = {"first": [self.root], "web": [], "worker": [], "trainer": []}
        for process in tree(self.root)[1:]:
            try:
                words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
            except OSError:  # ended meanwhile
                continue
            kind = "worker" if b"worker" in words else "web" if parent(process) == self.root else "trainer"
            found[kind].append(process)
        return found


def parent(process: int) -> int:
    """Return the parent of a process; 0 if it has ended."""
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
