"""The load of `benchmarks/serve.py`: wrk sends photographs in turn.

wrk keeps a number of connections busy, each with one request at a time, and counts responses within the duration.
Requests in progress at the end don't count. If a server closes a connection, wrk opens another.
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
"""Slower responses count as errors; longer than the slowest server takes with 100 connections."""


@dataclass(frozen=True)
class Measured:
    """Successful responses, latency percentiles in milliseconds, and failures.

    `failed` counts statuses from 400, broken connections and late responses. `load_cores` is the number of cores used
    by the load itself, which the server on the same machine lacks.
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
        """Successful responses per second."""
        return self.answers / self.seconds


def require_wrk() -> None:
    """Exit unless wrk is installed."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: `apt install wrk`, or see https://github.com/wg/wrk.")


def parse(output: str) -> dict[str, Any]:
    """Parse the line of JSON that `load.lua` prints after wrk's report.

    Raises:
        ValueError: there is none, as wrk was stopped or couldn't connect.
    """
    lines = [line for line in output.splitlines() if line.startswith('{"answers"')]
    if len(lines) != 1:
        raise ValueError(f"wrk didn't print its counts: {output!r}")
    document: dict[str, Any] = json.loads(lines[0])
    return document


def measured_from(found: dict[str, Any], load_cores: float = 0.0) -> Measured:
    """Convert the counts of `load.lua`, in microseconds, to measurements."""
    milliseconds = {name: found[name] / 1000 for name in ("p50", "p95", "p99")}
    bad = found["statuses"] + found["late"]
    answers, failed = found["answers"] - bad, bad + found["sockets"]
    return Measured(answers, found["microseconds"] / 1e6, **milliseconds, failed=failed, load_cores=load_cores)


def send(url: str, images: Sequence[Path], *, connections: int, seconds: float, body: Body) -> Measured:
    """Send images in turn over some connections for at least a second."""
    with _names(images) as names:
        busy, begun = _children_cpu(), time.perf_counter()
        command = _command(url, names, connections, seconds, body)
        finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        busy, spent = _children_cpu() - busy, time.perf_counter() - begun
    return measured_from(parse(finished.stdout), load_cores=busy / spent)


def send_while(
    url: str,
    images: Sequence[Path],
    goes_on: Callable[[], bool],
    *,
    connections: int,
    most_seconds: float,
    body: Body,
) -> Measured:
    """Send images like `send` while `goes_on` returns True; it is called a few times per second."""
    with _names(images) as names:
        command = _command(url, names, connections, most_seconds, body)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            while process.poll() is None and goes_on():
                time.sleep(0.3)
            process.send_signal(signal.SIGINT)  # wrk then ends and prints its counts
            output = process.communicate()[0]
        finally:
            process.kill()
    return measured_from(parse(output))


@contextmanager
def _names(images: Sequence[Path]) -> Iterator[str]:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as names:
        names.writelines(f"{path.resolve()}\n" for path in images)
        names.flush()
        yield names.name


def _command(url: str, names: str, connections: int, seconds: float, body: Body) -> list[str]:
    # One thread can send far more than any server handles; a second one would only take processor time.
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{round(seconds) or 1}s"]
    command += ["--timeout", f"{TIMEOUT_SECONDS}s", "--latency", "--script", str(SCRIPT), url, "--"]
    return [*command, names, body]


def _children_cpu() -> float:
    """Return processor seconds of ended child processes, which don't include the running server."""
    times = os.times()
    return times.children_user + times.children_system
