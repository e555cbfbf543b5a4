"""What clients of a server saw: requests that were answered, that failed, and whether a kill explains those."""

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
"""A kill is dated by another thread than the request that it breaks."""


@dataclass(frozen=True)
class Request:
    """A request as its client saw it: when it began and ended, and its status, or the error in place of one."""

    path: str
    began: float
    ended: float
    status: int | None
    error: str = ""


@dataclass(frozen=True)
class Kill:
    """A process that was killed: when, and which of `web` and `worker` it was."""

    at: float
    kind: str


@dataclass
class Record:
    """What happened: requests that were answered and that failed, kills, jobs that were accepted, images kept."""

    answered: Counter[str] = field(default_factory=Counter)
    failed: list[Request] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    pictures: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, request: Request) -> None:
        """Count a request that was answered, and keep one that wasn't."""
        with self.lock:
            if request.status is not None and request.status < 400:
                self.answered[request.path] += 1
            else:
                self.failed.append(request)


def unexplained(failed: Sequence[Request], kills: Sequence[Kill]) -> list[Request]:
    """Return the failures that no kill of a web process explains: those with a status, or not under way at any kill."""
    times = [kill.at for kill in kills if kill.kind == "web"]
    return [
        request
        for request in failed
        if request.status is not None
        or not any(request.began - CLOCK_SECONDS <= time <= request.ended + CLOCK_SECONDS for time in times)
    ]


class Server:
    """The server that is tried: asks it things, knows its processes."""

    def __init__(self, port: int, root: int, record: Record) -> None:
        self.port, self.root, self.record = port, root, record

    def send(
        self, method: str, path: str, body: bytes | None = None, kind: str = "", expected: str = ""
    ) -> dict[str, Any] | None:
        """Send a request on a connection of its own and record it; gives the answer, or None where none came.

        A refusal whose sentence holds `expected` is an answer, too.
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
        """Send a request again until it is answered, as a careful client does; its failures are recorded too."""
        while (answer := self.send(method, path, body, kind, expected)) is None:
            time.sleep(0.2)
        return answer

    def processes(self) -> dict[str, list[int]]:
        """Tell the processes apart: the `first`, those of the `web`, the `worker`, and the `trainer` below it."""
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
    """Return the process that started one; 0 where it has ended."""
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
