"""A soak test: predictions, uploads and retraining for minutes, while web processes and the worker are randomly killed.

    python benchmarks/soak.py --data pets [--seconds 600] [--least 5] [--most 40] [--seed 1]

`catdog serve` runs two web processes and the worker on an empty home. Clients predict on new connections; every few
seconds new images are uploaded, and a retraining is triggered whenever none is running. Every 5 to 40 seconds a random
process gets SIGKILL. Exits with 1 unless:

- Requests fail only if their connection broke because a web process was killed; no status is an error.
- Every accepted retraining succeeds; every accepted image is stored exactly once.
- Afterwards, when idle, memory is at most 1.1 times that of before, and file descriptors and threads are about equal.

`--data` is a data set with `train/cats` and `train/dogs`.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from processes import Usage, free_port, running, usage, wait_for_answer
from urllib3.filepost import encode_multipart_formdata
from witness import Kill, Record, Server, unexplained

PROCESSES = 2
AT_REST = {"first": 1, "web": PROCESSES, "worker": 1, "trainer": 0}
BATCH = 10
"""Images per class and upload."""

PAUSE_SECONDS = 2.0
"""Pause between the end of a retraining and the next upload."""

MOST_MEMORY = 1.1
MOST_MORE_FILES = 4
"""Allowance for temporary files and sockets, such as pooled connections."""

QUIET_SECONDS = 180

Batch = tuple[str, list[bytes]]
"""A class and images of it."""


def predict_images(server: Server, images: Sequence[bytes], stop: threading.Event, seed: int) -> None:
    """Predict random images until stopped."""
    chance = random.Random(seed)
    while not stop.is_set():
        server.send("POST", "/api/predict", chance.choice(images), "image/jpeg")


def upload_and_retrain(server: Server, batches: Iterator[Batch], stop: threading.Event) -> None:
    """Upload images of both classes, retrain, and wait for the end, repeatedly."""
    while not stop.is_set():
        for category, images in (next(batches), next(batches)):
            files = [("files[]", (f"{n}.jpg", image, "image/jpeg")) for n, image in enumerate(images)]
            body, kind = encode_multipart_formdata([("category", category), *files])
            answer = server.insist("POST", "/api/retrain/upload", body, kind)
            # A repeated request, after a lost response, finds its images stored.
            server.record.pictures += answer.get("accepted", 0) + answer.get("duplicates", 0)
        # A repeated trigger, after a lost response, finds its job running.
        answer = server.insist("POST", "/api/retrain/trigger", expected="One job at a time")
        server.record.jobs += [answer["job_id"]] if "job_id" in answer else []
        while server.insist("GET", "/api/retrain/status")["in_progress"] and not stop.is_set():
            stop.wait(1)
        stop.wait(PAUSE_SECONDS)


def kill_at_random(server: Server, stop: threading.Event, options: argparse.Namespace, end: float) -> None:
    """Kill a web process or the worker, with equal probability, every few seconds until the end."""
    chance = random.Random(options.seed)
    while (pause := chance.uniform(options.least, options.most)) < end - time.monotonic():
        if stop.wait(pause):
            return
        kind = chance.choice(["web", "worker"])
        if candidates := server.processes()[kind]:
            os.kill(chance.choice(candidates), signal.SIGKILL)
            server.record.kills.append(Kill(time.monotonic(), kind))
    stop.wait(end - time.monotonic())


@contextmanager
def load_on(
    server: Server, images: Sequence[bytes], batches: Iterator[Batch], clients: int
) -> Iterator[threading.Event]:
    """Put the load on the server during the block; yield the event that ends it."""
    stop = threading.Event()

    def until_stopped(work: Callable[..., None], *arguments: object) -> None:
        try:
            work(server, *arguments)
        finally:
            stop.set()  # if one fails, all stop

    with ThreadPoolExecutor(clients + 1) as pool:
        work = [pool.submit(until_stopped, predict_images, images, stop, seed) for seed in range(clients)]
        work.append(pool.submit(until_stopped, upload_and_retrain, batches, stop))
        try:
            yield stop
        finally:
            stop.set()
    for done in work:
        done.result()


def wait_until_quiet(server: Server) -> dict[str, Usage]:
    """Wait until the server is idle and complete; return the usage of each kind of process.

    Raises:
        SystemExit: it didn't become idle within three minutes.
    """
    deadline, quiet = time.monotonic() + QUIET_SECONDS, 0
    while quiet < 5:
        if time.monotonic() > deadline:
            raise SystemExit(f"The server didn't become idle: {server.processes()}")
        time.sleep(1)
        found = {kind: len(processes) for kind, processes in server.processes().items()}
        under_way = server.insist("GET", "/api/retrain/status")["in_progress"]
        quiet = quiet + 1 if found == AT_REST and not under_way else 0
    return {kind: usage(processes) for kind, processes in server.processes().items() if processes}


def read_batches(data: Path) -> Iterator[Batch]:
    """Yield images of both classes in turn, each image once.

    Raises:
        SystemExit: there are no more.
    """
    paths = {name: sorted((data / "train" / name).glob("*.jpg")) for name in ("cats", "dogs")}
    seen: set[str] = set()
    for start in range(0, min(map(len, paths.values())), BATCH):
        for name, files in paths.items():
            read = [path.read_bytes() for path in files[start : start + BATCH]]
            contents = {hashlib.sha256(content).hexdigest(): content for content in read}
            yield name, [content for digest, content in contents.items() if digest not in seen]
            seen |= contents.keys()
    raise SystemExit(f"{data}/train has only {len(seen)} images, too few for a soak of this length")


def jobs_in(home: Path) -> dict[str, str]:
    """Read the state of each job of a home."""
    command = [sys.executable, "-m", "catdog", "--home", str(home), "jobs", "list", "--limit", "1000", "--json"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {job["id"]: job["state"] for job in json.loads(listed)["jobs"]}


def soak(folder: Path, options: argparse.Namespace) -> list[str]:
    """Run a server under load and kills; print a summary, and return what went wrong."""
    home, port, log = folder / "home", free_port(), folder / "server.log"
    batches, record = read_batches(options.data), Record()
    images = [image for _ in range(10) for image in next(batches)[1]]
    variables = {
        "CATDOG_HOME": str(home), "PORT": str(port), "CATDOG_HOST": "127.0.0.1",
        "WEB_CONCURRENCY": str(PROCESSES), "CATDOG_TRACKING": "false",
    }  # fmt: skip
    with running([sys.executable, "-m", "catdog", "serve"], variables, log) as process:
        wait_for_answer(process, f"http://127.0.0.1:{port}/api/predict", images[0], log)
        server = Server(port, process.pid, record)
        with load_on(server, images, batches, options.clients) as stop:
            while len(record.jobs) < options.warm_up and not stop.wait(1):
                pass
        before = wait_until_quiet(server)
        began = time.monotonic()
        with load_on(server, images, batches, options.clients) as stop:
            kill_at_random(server, stop, options, began + options.seconds)
        seconds = time.monotonic() - began
        after = wait_until_quiet(server)
        kept = server.insist("GET", "/api/retrain/images?per_page=1")["total"]
    states = jobs_in(home)
    print_summary(record, states, before, after, seconds)
    was_busy = record.kills and len(states) > options.warm_up
    idle = [] if was_busy else ["Nothing was killed, or no job was done: choose more --seconds."]
    return complaints(record, states, kept) + grown(before, after) + idle


def print_summary(
    record: Record, states: Mapping[str, str], before: Mapping[str, Usage], after: Mapping[str, Usage], seconds: float
) -> None:
    """Print what happened, and the usage of each kind of process before and after."""
    kills = Counter(kill.kind for kill in record.kills)
    print(f"{seconds:.0f} s; killed: {kills['web']} web processes, {kills['worker']} workers")
    print(f"succeeded: {record.answered.total():,}, including predictions: {record.answered['/api/predict']:,}")
    print(f"failed: {len(record.failed)}, unexplained: {len(unexplained(record.failed, record.kills))}")
    print(f"images stored: {record.pictures}; jobs: {dict(Counter(states.values()))}")
    print("\n| Process | Memory before | after | Files | after | Threads | after |\n|" + " --- |" * 7)
    for kind, old in before.items():
        new = after[kind]
        sizes = f"{old.megabytes:.0f} MB | {new.megabytes:.0f} MB | {old.files} | {new.files}"
        print(f"| {kind} | {sizes} | {old.threads} | {new.threads} |")


def complaints(record: Record, states: Mapping[str, str], kept: int) -> list[str]:
    """Return unexpected failures and losses of requests, jobs and images."""
    found = [f"A request failed without a kill: {request}" for request in unexplained(record.failed, record.kills)]
    found += [f"Job {job} was accepted and {states.get(job, 'lost')}" for job in record.jobs if job not in states]
    found += [f"Job {job} is {state}" for job, state in states.items() if state != "succeeded"]
    if kept != record.pictures:
        found.append(f"{record.pictures} images were reported as stored, but {kept} are")
    return found


def grown(before: Mapping[str, Usage], after: Mapping[str, Usage]) -> list[str]:
    """Return what has grown: memory of all processes, or files and threads of a kind."""
    ratio = sum(one.megabytes for one in after.values()) / sum(one.megabytes for one in before.values())
    print(f"\nmemory after / before: {ratio:.3f}")
    found = [f"Memory grew by a factor of {ratio:.3f}, more than {MOST_MEMORY}"] if ratio > MOST_MEMORY else []
    for kind, old in before.items():
        new = after[kind]
        if new.files > old.files + MOST_MORE_FILES or new.threads > old.threads:
            found.append(f"Files or threads of `{kind}` grew: {old}, then {new}")
    return found


def main() -> None:
    """Soak a server; exit with 1 and the reasons if something was lost or has grown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--least", type=float, default=5, help="minimum seconds between kills")
    parser.add_argument("--most", type=float, default=40, help="maximum seconds between kills")
    parser.add_argument("--warm-up", type=int, default=2, help="retraining jobs before the first measurement of memory")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1, help="seed of the kills")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        if found := soak(Path(temporary), options):
            raise SystemExit("\n".join(found))
    print("Nothing was lost, and nothing grew.")


if __name__ == "__main__":
    main()
