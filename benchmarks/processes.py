"""A server as a process with children: started, waited for, weighed, stopped. Reads `/proc`, so it needs Linux."""

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
    """Return a port of the loopback address that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running(command: Sequence[str], variables: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a session of its own until the block ends, then end it and whatever it started.

    Args:
        command: the program and its arguments.
        variables: of the environment, beside those of this process.
        log: where its output goes.
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
        # Children that outlived it, or all of it where it wouldn't end.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_answer(process: subprocess.Popen[bytes], url: str, picture: bytes, log: Path) -> None:
    """Ask until an image is answered with 200, a hundred times a second.

    Raises:
        SystemExit: the server ended, or didn't answer within two minutes; shows the end of its output.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if _ask(url, picture) == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.01)
    end = log.read_text(errors="replace")[-3000:]
    raise SystemExit(f"The server did not answer a picture. Received: {' '.join(map(str, process.args))}\n{end}")


def memory(root: int) -> float:
    """Megabytes of a process and all below it, pages that several share counted once (proportional set size)."""
    return usage(tree(root)).megabytes


@dataclass(frozen=True)
class Usage:
    """What processes take together: proportional set size in megabytes, open file descriptors, threads."""

    megabytes: float
    files: int
    threads: int


def usage(processes: Sequence[int]) -> Usage:
    """Look at what some processes take now; those that have ended take nothing."""
    counts = {"fd": 0, "task": 0}
    for process in processes:
        for name in counts:
            with suppress(FileNotFoundError):
                counts[name] += sum(1 for _ in Path(f"/proc/{process}/{name}").iterdir())
    return Usage(sum(map(_shared_out, processes)) * 1024 / 1e6, counts["fd"], counts["task"])


def cpu_seconds(root: int) -> float:
    """Seconds of processor time that a process and all below it have taken."""
    ticks = 0
    for process in tree(root):
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """List a process and all below it."""
    found = [root]
    for process in found:  # grows while it is read
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


def _ask(url: str, picture: bytes) -> int:
    boundary = "catdog-first-answer"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="picture.jpg"\r\n'
    body = head.encode() + b"Content-Type: image/jpeg\r\n\r\n" + picture + f"\r\n--{boundary}--\r\n".encode()
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=START_SECONDS)
    try:
        connection.request("POST", address.path, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()
