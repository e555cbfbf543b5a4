"""Real servers of two processes: started, asked, looked into, and ended."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from drawing import draw, encode

ROOT = Path(__file__).parents[2]
CAT = encode(draw("cat", 4032))


def free_port() -> int:
    """Give a port of the loopback address that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, {"Content-Type": "image/jpeg"} if body else {})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@contextmanager
def serving(
    home: Path, *command: str, log: int | IO[bytes] = subprocess.DEVNULL
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run a server with two processes until the block ends; checks that it ends well. What it logs goes to `log`."""
    port = free_port()
    environment = os.environ | {
        "CATDOG_HOME": str(home), "PORT": str(port), "CATDOG_HOST": "127.0.0.1", "WEB_CONCURRENCY": "2",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, *(command or ("-m", "catdog", "serve"))], env=environment, cwd=ROOT,
        stdout=subprocess.DEVNULL if log == subprocess.DEVNULL else log, stderr=log,
    )  # fmt: skip
    try:
        for _ in range(600):
            try:
                if ask(port, "GET", "/readyz")[0] == 200:
                    break
            except OSError:
                assert process.poll() is None, "the server ended"
            time.sleep(0.05)
        yield port, process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()


def wait_for_version(port: int, version: int, processes: set[int]) -> None:
    """Wait until each process says that a version answers in it."""
    waiting, deadline = set(processes), time.monotonic() + 30
    while waiting:
        assert time.monotonic() < deadline, f"version {version} does not answer in {waiting}"
        status = ask(port, "GET", "/api/model/status")[1]
        if status["version"] == version:
            waiting.discard(status["process"])
        else:
            time.sleep(0.02)


def processes_of(port: int) -> set[int]:
    """Name the two processes of a server."""
    found: set[int] = set()
    while len(found) < 2:
        found.add(ask(port, "GET", "/api/model/status")[1]["process"])
    return found


def converse(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes, and read until the server closes; gives status, headers in lower case, and body."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(request)
        received = b""
        while chunk := client.recv(65536):
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return int(first.split()[1]), headers, body


def children(pid: int) -> set[int]:
    """Name the processes that one has started and that still run."""
    return {int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def descendants(pid: int) -> set[int]:
    """Name the processes below one, at any depth, whichever of its threads started them."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for listed in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            try:
                new = {int(one) for one in listed.read_text().split()} - found
            except OSError:  # ended meanwhile
                continue
            found |= new
            waiting += new
    return found
