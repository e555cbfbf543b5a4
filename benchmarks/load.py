"""The load that `benchmarks/serve.py` puts on a server: wrk, sending real photographs in turn.

wrk keeps a number of connections busy, each with one request at a time, and counts what comes back within the time.
Requests under way at its end count for nothing. Where a server closes a connection, wrk opens another.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Body = Literal["multipart", "raw"]

SCRIPT = Path(__file__).with_name("load.lua")
TIMEOUT_SECONDS = 120
"""An answer that takes longer is an error; over what the slowest server here takes with 100 connections."""


@dataclass(frozen=True)
class Measured:
    """What came back: good answers, milliseconds until half, 95 % and 99 % of all were there, and what failed.

    `failed` counts statuses of 400 and over, broken connections and answers that came too late. `load_cores` says how
    many cores the load itself kept busy: they are missing to the server on the same machine.
    """

    answers: int
    seconds: float
    p50: float
    p95: float
    p99: float
    failed: int = 0
    load_cores: float = 0.0

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.answers / self.seconds


def require_wrk() -> None:
    """Make sure that the load can be made; ends the program where it can't."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is needed to make the load: https://github.com/wg/wrk, or `apt install wrk`.")


def parse(output: str) -> dict[str, Any]:
    """Read the line of JSON that `load.lua` puts behind wrk's own report.

    Raises:
        ValueError: there is none: wrk was stopped, or couldn't connect.
    """
    lines = [line for line in output.splitlines() if line.startswith('{"answers"')]
    if len(lines) != 1:
        raise ValueError(f"wrk must give its counts once. Received: {output!r}")
    document: dict[str, Any] = json.loads(lines[0])
    return document


def measured_from(found: dict[str, Any], load_cores: float = 0.0) -> Measured:
    """Turn the counts of `load.lua`, which are in microseconds, into what was measured."""
    milliseconds = {name: found[name] / 1000 for name in ("p50", "p95", "p99")}
    bad = found["statuses"] + found["late"]
    answers, failed = found["answers"] - bad, bad + found["sockets"]
    return Measured(answers, found["microseconds"] / 1e6, **milliseconds, failed=failed, load_cores=load_cores)


def send(url: str, pictures: Sequence[Path], *, connections: int, seconds: float, body: Body) -> Measured:
    """Send images in turn over a number of connections for some seconds, at least one."""
    with _names(pictures) as names:
        busy, begun = _children_cpu(), time.perf_counter()
        command = _command(url, names, connections, seconds, body)
        finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        busy, spent = _children_cpu() - busy, time.perf_counter() - begun
    return measured_from(parse(finished.stdout), load_cores=busy / spent)


def send_while(
    url: str,
    pictures: Sequence[Path],
    goes_on: Callable[[], bool],
    *,
    connections: int,
    most_seconds: float,
    body: Body,
) -> Measured:
    """Send images as `send` does for as long as `goes_on` says, which is asked a few times a second."""
    with _names(pictures) as names:
        command = _command(url, names, connections, most_seconds, body)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            while process.poll() is None and goes_on():
                time.sleep(0.3)
            process.send_signal(signal.SIGINT)  # wrk then ends and says what it counted
            output = process.communicate()[0]
        finally:
            process.kill()
    return measured_from(parse(output))


@contextmanager
def _names(pictures: Sequence[Path]) -> Iterator[str]:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as names:
        names.writelines(f"{path.resolve()}\n" for path in pictures)
        names.flush()
        yield names.name


def _command(url: str, names: str, connections: int, seconds: float, body: Body) -> list[str]:
    # One thread can send many times more than any of the servers answers; a second one would only take their time.
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{round(seconds) or 1}s"]
    command += ["--timeout", f"{TIMEOUT_SECONDS}s", "--latency", "--script", str(SCRIPT), url, "--"]
    return [*command, names, body]


def _children_cpu() -> float:
    """Seconds of processor time that ended child processes took; a server under load hasn't ended."""
    times = os.times()
    return times.children_user + times.children_system
