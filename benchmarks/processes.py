"""Runs servers as process trees and measures them by `/proc`, so it needs Linux."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

START_SECONDS = 120
STOP_SECONDS = 20


def free_port() -> int:
    """Return a free port on loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running(command: Sequence[str], variables: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a new session during the block, then end it and its descendants.

    Args:
        command: the program and its arguments.
        variables: more variables of its environment.
        log: file for its output.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **variables}, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        # Remaining descendants, or the process itself if it didn't end.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_answer(process: subprocess.Popen[bytes], url: str, image: bytes, log: Path) -> None:
    """Send an image until the status is 200, a hundred times per second.

    Raises:
        SystemExit: the server exited, or wasn't ready within two minutes; shows the end of its output.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if _ask(url, image) == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.01)
    end = log.read_text(errors="replace")[-3000:]
    raise SystemExit(f"The server made no prediction: {' '.join(map(str, process.args))}\n{end}")


def memory(root: int) -> float:
    """Return megabytes of a process and its descendants, counting shared pages once (proportional set size)."""
    return usage(tree(root)).megabytes


@dataclass(frozen=True)
class Usage:
    """Resources of several processes: proportional set size in megabytes, open file descriptors, threads."""

    megabytes: float
    files: int
    threads: int


def usage(processes: Sequence[int]) -> Usage:
    """Return the current resources of some processes; ended ones count as zero."""
    counts = {"fd": 0, "task": 0}
    for process in processes:
        for name in counts:
            with suppress(FileNotFoundError):
                counts[name] += sum(1 for _ in Path(f"/proc/{process}/{name}").iterdir())
    return Usage(sum(map(_shared_out, processes)) * 1024 / 1e6, counts["fd"], counts["task"])


def cpu_seconds(root: int) -> float:
    """Return processor seconds of a process and its descendants."""
    ticks = 0
    for process in tree(root):
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """List a process and its descendants."""
    found = [root]
    for process in found:  # grows during the loop
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:  # ended meanwhile
                continue
    return found


def _shared_out(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:  # ended meanwhile
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _ask(url: str, image: bytes) -> int:
    boundary = "catdog-first-answer"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="picture.jpg"\r\n'
    body = head.encode() + b"Content-Type: image/jpeg\r\n\r\n" + image + f"\r\n--{boundary}--\r\n".encode()
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=START_SECONDS)
    try:
        connection.request("POST", address.path, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()
