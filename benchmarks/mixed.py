"""Memory of web processes over time under mixed load: predictions of all sizes, and all other requests.

    python benchmarks/mixed.py [--seconds 1200] [--clients 8]

Starts `catdog serve` with two web processes and the worker on an empty home. Clients send a mix of requests:
predictions of small and large JPEG, PNG and WebP images, batches, explanations, the V2 protocol, statistics, the page,
metrics, uploads and feedback. Prints the private memory of each web process (USS) every 30 seconds.
"""

import argparse
import http.client
import io
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from processes import free_port, running, tree, wait_for_answer

SIZES = ((160, 120), (500, 375), (1024, 768), (2048, 1536), (4032, 3024), (5500, 4000))
FORMATS = (("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp"))
EVERY = 30.0


def draw(generator: np.random.Generator, size: tuple[int, int], form: str) -> bytes:
    """Return a random image."""
    small = generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize(size, Image.Resampling.BILINEAR).save(buffer, form)
    return buffer.getvalue()


def form_of(pictures: list[bytes], field: str, **fields: str) -> tuple[bytes, str]:
    """Return the body and the Content-Type of a form."""
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode()
        for name, text in fields.items()
    ]
    for number, picture in enumerate(pictures):
        head = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="{number}.jpg"\r\n\r\n'
        parts.append(head.encode() + picture + b"\r\n")
    return b"".join(parts) + b"--x--\r\n", "multipart/form-data; boundary=x"


class Client(threading.Thread):
    """Sends random requests until stopped."""

    def __init__(self, port: int, seed: int, stopped: threading.Event, statuses: Counter[str]) -> None:
        super().__init__(daemon=True)
        self._port, self._stopped, self._statuses = port, stopped, statuses
        self._random = random.Random(seed)
        self._generator = np.random.default_rng(seed)
        self._pictures = [(draw(self._generator, size, form), kind) for size in SIZES for form, kind in FORMATS]

    def run(self) -> None:
        """Send requests."""
        works: list[tuple[Callable[[], None], int]] = [
            (self.predict, 40), (self.batch, 5), (self.explain, 8), (self.infer, 5), (self.read, 25), (self.upload, 4),
            (self.feedback, 4),
        ]  # fmt: skip
        while not self._stopped.is_set():
            self._random.choices([work for work, _ in works], [weight for _, weight in works])[0]()

    def predict(self) -> None:
        """Predict one image."""
        picture, kind = self._random.choice(self._pictures)
        self.ask("/api/predict", picture, kind)

    def batch(self) -> None:
        """Predict six images in one request."""
        self.ask(
            "/api/predict/batch", *form_of([one for one, _ in self._random.sample(self._pictures[:12], 6)], "images")
        )

    def explain(self) -> None:
        """Request an explanation."""
        picture, kind = self._random.choice(self._pictures)
        self.ask("/api/explain", picture, kind)

    def infer(self) -> None:
        """Predict by the V2 protocol."""
        data = self._generator.integers(0, 256, (1, 224, 224, 3)).ravel().tolist()
        given = {"inputs": [{"name": "image", "shape": [1, 224, 224, 3], "datatype": "UINT8", "data": data}]}
        self.ask("/v2/models/catdog/infer", json.dumps(given).encode(), "application/json")

    def read(self) -> None:
        """Request a page or figures."""
        paths = (
            "/",
            "/api/stats",
            "/api/model/status",
            "/metrics",
            "/api/openapi.json",
            "/readyz",
            "/api/retrain/images",
        )
        self.ask(self._random.choice(paths))

    def upload(self) -> None:
        """Upload six images."""
        pictures = [draw(self._generator, (640, 480), "JPEG") for _ in range(6)]
        self.ask("/api/retrain/upload", *form_of(pictures, "images", label=self._random.choice(("cats", "dogs"))))

    def feedback(self) -> None:
        """Send feedback."""
        picture = draw(self._generator, (640, 480), "JPEG")
        self.ask("/api/feedback", *form_of([picture], "image", correct_class=self._random.choice(("cats", "dogs"))))

    def ask(self, path: str, body: bytes | None = None, kind: str = "") -> None:
        """Send a request on a new connection, and count its status."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        try:
            connection.request("POST" if body else "GET", path, body, {"Content-Type": kind} if body else {})
            response = connection.getresponse()
            response.read()
            self._statuses[f"{path} {response.status}"] += 1
        except (OSError, http.client.HTTPException) as error:
            self._statuses[f"{path} {type(error).__name__}"] += 1
        finally:
            connection.close()


def private_megabytes(process: int) -> float:
    """Return the private memory of a process in megabytes."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith("kB")}
    return (sizes["Private_Clean"] + sizes["Private_Dirty"]) * 1024 / 1e6


def resident_megabytes(process: int) -> float:
    """Return the resident memory of a process in megabytes, including shared pages."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6
    except OSError:
        return 0.0


def web_processes(root: int) -> list[int]:
    """List the web processes: gunicorn's children."""
    found = []
    for process in tree(root)[1:]:
        try:
            if "gunicorn" in Path(f"/proc/{process}/cmdline").read_text():
                found.append(process)
        except OSError:
            continue
    return found


def main() -> None:
    """Load a server and print the memory of its processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1200)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops the server, like Ctrl-C
    with tempfile.TemporaryDirectory() as folder:
        port, log = free_port(), Path(folder, "log")
        variables = {"CATDOG_HOME": f"{folder}/home", "WEB_CONCURRENCY": "2", "CATDOG_RATE_LIMIT": "off"}
        command = [sys.executable, "-m", "catdog", "serve", "--host", "127.0.0.1", "--port", str(port)]
        with running(command, variables, log) as process:
            first = draw(np.random.default_rng(0), (500, 375), "JPEG")
            wait_for_answer(process, f"http://127.0.0.1:{port}/api/predict", first, log)
            stopped, statuses = threading.Event(), Counter[str]()
            clients = [Client(port, options.seed + number, stopped, statuses) for number in range(options.clients)]
            for client in clients:
                client.start()
            began = time.monotonic()
            print("| Seconds | Responses | Private MB | Resident MB | Threads |\n|" + " --- |" * 5, flush=True)
            while (passed := time.monotonic() - began) < options.seconds:
                found = web_processes(process.pid)
                private = ", ".join(f"{private_megabytes(one):.0f}" for one in found)
                resident = ", ".join(f"{resident_megabytes(one):.0f}" for one in found)
                threads = ", ".join(str(len(list(Path(f"/proc/{one}/task").iterdir()))) for one in found)
                print(f"| {passed:.0f} | {statuses.total()} | {private} | {resident} | {threads} |", flush=True)
                time.sleep(EVERY)
            stopped.set()
            for client in clients:
                client.join(130)
            print(*(f"{count:6} {name}" for name, count in sorted(statuses.items())), sep="\n")


if __name__ == "__main__":
    main()
