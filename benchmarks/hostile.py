"""Cost of hostile images and of the largest accepted ones: time, memory, and the effect on other clients.

    python benchmarks/hostile.py [--at-once 4] [--way predict|explain|feedback|upload] [--only WORD]

Starts `catdog serve` with one web process on an empty home and sends each image of `hostile_images`. For each it prints
the status, the response time, the web process's peak memory (VmHWM, reset before each), and the longest response times
of `/livez` and of a small image sent by other clients meanwhile. `--at-once` sends several at the same time. Linux
only; uses loopback only.
"""

import argparse
import http.client
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from processes import free_port, running, wait_for_answer

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
from hostile_images import draw, encode, floods, heaviest  # tests send the same images

PAUSE_SECONDS = 0.02
FORM = "multipart/form-data; boundary=x"
WAYS = {
    "predict": "/api/predict", "explain": "/api/explain", "feedback": "/api/feedback?right=true",
    "upload": "/api/retrain/upload",
}  # fmt: skip


def ask(port: int, path: str, body: bytes | None = None, kind: str = "image/jpeg") -> tuple[int, float]:
    """Send a request on a new connection; return its status and seconds."""
    start = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("POST" if body else "GET", path, body, {"Content-Type": kind} if body else {})
        response = connection.getresponse()
        response.read()
        return response.status, time.perf_counter() - start
    finally:
        connection.close()


def send(port: int, way: str, image: bytes) -> tuple[int, float]:
    """Send an image to one of the routes."""
    if way != "upload":
        return ask(port, WAYS[way], image)
    head = 'Content-Disposition: form-data; name="files[]"; filename="a.jpg"'
    body = b'--x\r\nContent-Disposition: form-data; name="category"\r\n\r\ncats\r\n--x\r\n' + head.encode()
    return ask(port, WAYS[way], body + b"\r\n\r\n" + image + b"\r\n--x--\r\n", FORM)


class Peak:
    """Peak memory of a process in megabytes."""

    def __init__(self, process: int) -> None:
        self._folder = Path(f"/proc/{process}")

    def reset(self) -> None:
        """Reset the peak to the current memory."""
        (self._folder / "clear_refs").write_text("5")

    def read(self) -> float:
        """Return the peak since the last reset."""
        lines = (self._folder / "status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6


@contextmanager
def waits(port: int, photo: bytes) -> Iterator[dict[str, list[float]]]:
    """Request `/livez` and predict a small image repeatedly; yield the seconds of each."""
    found: dict[str, list[float]] = {"livez": [], "small": []}
    stop = threading.Event()

    def poll(name: str, path: str, body: bytes | None) -> None:
        while not stop.wait(PAUSE_SECONDS):
            found[name].append(ask(port, path, body)[1])

    threads = [
        threading.Thread(target=poll, args=given)
        for given in (("livez", "/livez", None), ("small", WAYS["predict"], photo))
    ]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def measure(port: int, peak: Peak, way: str, at_once: int, name: str, make: Callable[[], bytes], photo: bytes) -> float:
    """Send one image and print its cost; return the peak memory."""
    image = make()
    peak.reset()
    with waits(port, photo) as found, ThreadPoolExecutor(at_once) as pool:
        time.sleep(5 * PAUSE_SECONDS)
        answers = list(pool.map(lambda _: send(port, way, image), range(at_once)))
    statuses = ",".join(map(str, sorted({status for status, _ in answers})))
    print(
        f"{name:46} {len(image) / 1e6:6.2f} MB {statuses:8} {max(seconds for _, seconds in answers):6.2f} s "
        f"{peak.read():5.0f} MB   livez {max(found['livez']):5.2f} s   small {max(found['small']):5.2f} s",
        flush=True,
    )
    return peak.read()


def main() -> None:
    """Send all images to one server."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at-once", type=int, default=1, help="number of copies sent at the same time")
    parser.add_argument("--way", choices=list(WAYS), default="predict")
    parser.add_argument("--only", default="", help="only images whose name contains this")
    given = parser.parse_args()
    photo, port = encode(draw((640, 480))), free_port()
    with tempfile.TemporaryDirectory() as home:
        variables = {
            "CATDOG_HOME": home, "WEB_CONCURRENCY": "1", "PORT": str(port), "CATDOG_HOST": "127.0.0.1",
            "CATDOG_WORKER": "external",
        }  # fmt: skip
        log = Path(home) / "log"
        command = [str(Path(sys.executable).with_name("catdog")), "serve"]
        with running(command, variables, log) as process:
            wait_for_answer(process, f"http://127.0.0.1:{port}{WAYS['predict']}", photo, log)
            children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
            peak = Peak(int(children.stdout.split()[0]))
            print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; at the start {peak.read():.0f} MB")
            highest = [
                measure(port, peak, given.way, given.at_once, name, make, photo)
                for name, make in (heaviest() | floods()).items()
                if given.only in name
            ]
            print(f"highest peak {max(highest):.0f} MB")


if __name__ == "__main__":
    main()
