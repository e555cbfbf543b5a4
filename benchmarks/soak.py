"""A soak: predictions, uploads and retrainings for minutes, while web processes and the worker are killed at random.

    python benchmarks/soak.py --data pets [--seconds 600] [--least 5] [--most 40] [--seed 1]

`catdog serve` runs two web processes and the worker on an empty home. Clients ask on a new connection each time; every
some seconds new images come in, and a retraining is asked for whenever none is under way. Every 5 to 40 seconds one
process, drawn at random, gets SIGKILL. It ends with 1 where any of this doesn't hold:

- A request fails only if it was under way when a web process was killed, by its connection; no status is an error.
- Each retraining that was accepted succeeds; each upload that was answered is kept, once.
- Afterwards, when all is quiet, processes take at most 1.1 of the memory of before, and as many file descriptors and
  threads, give or take a few.

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
"""Images of each class that come in together."""

PAUSE_SECONDS = 2.0
"""Between the end of a retraining and the next images."""

MOST_MEMORY = 1.1
MOST_MORE_FILES = 4
"""Sockets and files of a moment: a connection of the pool that one quiet look catches and the other doesn't."""

QUIET_SECONDS = 180

Batch = tuple[str, list[bytes]]
"""A class and images of it."""


def ask_about_pictures(server: Server, pictures: Sequence[bytes], stop: threading.Event, seed: int) -> None:
    """Ask about one image after another until it is over."""
    chance = random.Random(seed)
    while not stop.is_set():
        server.send("POST", "/api/predict", chance.choice(pictures), "image/jpeg")


def bring_and_retrain(server: Server, batches: Iterator[Batch], stop: threading.Event) -> None:
    """Upload images of both classes, wait until nothing is under way, and retrain on them; again and again."""
    while not stop.is_set():
        for category, pictures in (next(batches), next(batches)):
            files = [("files[]", (f"{n}.jpg", picture, "image/jpeg")) for n, picture in enumerate(pictures)]
            body, kind = encode_multipart_formdata([("category", category), *files])
            answer = server.insist("POST", "/api/retrain/upload", body, kind)
            # One that was sent again, since its answer was lost, finds its images there.
            server.record.pictures += answer.get("accepted", 0) + answer.get("duplicates", 0)
        # Where an earlier trigger was accepted, but its answer was lost, the next finds that job under way.
        answer = server.insist("POST", "/api/retrain/trigger", expected="One job at a time")
        server.record.jobs += [answer["job_id"]] if "job_id" in answer else []
        while server.insist("GET", "/api/retrain/status")["in_progress"] and not stop.is_set():
            stop.wait(1)
        stop.wait(PAUSE_SECONDS)


def kill_at_random(server: Server, stop: threading.Event, options: argparse.Namespace, end: float) -> None:
    """Kill a web process or the worker, each as likely, every some seconds until the end."""
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
    server: Server, pictures: Sequence[bytes], batches: Iterator[Batch], clients: int
) -> Iterator[threading.Event]:
    """Put the load on the server until the block ends; gives the event that ends it."""
    stop = threading.Event()

    def until_stopped(work: Callable[..., None], *arguments: object) -> None:
        try:
            work(server, *arguments)
        finally:
            stop.set()  # where one can't go on, none does

    with ThreadPoolExecutor(clients + 1) as pool:
        work = [pool.submit(until_stopped, ask_about_pictures, pictures, stop, seed) for seed in range(clients)]
        work.append(pool.submit(until_stopped, bring_and_retrain, batches, stop))
        try:
            yield stop
        finally:
            stop.set()
    for done in work:
        done.result()


def wait_until_quiet(server: Server) -> dict[str, Usage]:
    """Wait until nothing is under way and no process is missing; gives what each kind takes then.

    Raises:
        SystemExit: that didn't come within three minutes.
    """
    deadline, quiet = time.monotonic() + QUIET_SECONDS, 0
    while quiet < 5:
        if time.monotonic() > deadline:
            raise SystemExit(f"The server must come to rest. Received: {server.processes()}")
        time.sleep(1)
        found = {kind: len(processes) for kind, processes in server.processes().items()}
        under_way = server.insist("GET", "/api/retrain/status")["in_progress"]
        quiet = quiet + 1 if found == AT_REST and not under_way else 0
    return {kind: usage(processes) for kind, processes in server.processes().items() if processes}


def read_batches(data: Path) -> Iterator[Batch]:
    """Return images of both classes in turn, each image once.

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
    raise SystemExit(f"--data must have more pictures for so long a soak. Received: {len(seen)} in {data}/train")


def jobs_in(home: Path) -> dict[str, str]:
    """Read the state of each job of a home."""
    command = [sys.executable, "-m", "catdog", "--home", str(home), "jobs", "list", "--limit", "1000", "--json"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {job["id"]: job["state"] for job in json.loads(listed)["jobs"]}


def soak(folder: Path, options: argparse.Namespace) -> list[str]:
    """Run a server under load and kills; prints what happened, and gives what shouldn't have."""
    home, port, log = folder / "home", free_port(), folder / "server.log"
    batches, record = read_batches(options.data), Record()
    pictures = [picture for _ in range(10) for picture in next(batches)[1]]
    variables = {
        "CATDOG_HOME": str(home), "PORT": str(port), "CATDOG_HOST": "127.0.0.1",
        "WEB_CONCURRENCY": str(PROCESSES), "CATDOG_TRACKING": "false",
    }  # fmt: skip
    with running([sys.executable, "-m", "catdog", "serve"], variables, log) as process:
        wait_for_answer(process, f"http://127.0.0.1:{port}/api/predict", pictures[0], log)
        server = Server(port, process.pid, record)
        with load_on(server, pictures, batches, options.clients) as stop:
            while len(record.jobs) < options.warm_up and not stop.wait(1):
                pass
        before = wait_until_quiet(server)
        began = time.monotonic()
        with load_on(server, pictures, batches, options.clients) as stop:
            kill_at_random(server, stop, options, began + options.seconds)
        seconds = time.monotonic() - began
        after = wait_until_quiet(server)
        kept = server.insist("GET", "/api/retrain/images?per_page=1")["total"]
    states = jobs_in(home)
    tell(record, states, before, after, seconds)
    was_busy = record.kills and len(states) > options.warm_up
    idle = [] if was_busy else ["It must last until something is killed and a job done. Received: less."]
    return complaints(record, states, kept) + grown(before, after) + idle


def tell(
    record: Record, states: Mapping[str, str], before: Mapping[str, Usage], after: Mapping[str, Usage], seconds: float
) -> None:
    """Print what happened, and what each kind of process took before and takes after."""
    kills = Counter(kill.kind for kill in record.kills)
    print(f"{seconds:.0f} s; killed: {kills['web']} web processes, {kills['worker']} workers")
    print(f"answered: {record.answered.total():,}, of these predictions: {record.answered['/api/predict']:,}")
    print(f"failed: {len(record.failed)}, unexplained: {len(unexplained(record.failed, record.kills))}")
    print(f"pictures kept: {record.pictures}; jobs: {dict(Counter(states.values()))}")
    print("\n| Process | Memory before | after | Files | after | Threads | after |\n|" + " --- |" * 7)
    for kind, old in before.items():
        new = after[kind]
        sizes = f"{old.megabytes:.0f} MB | {new.megabytes:.0f} MB | {old.files} | {new.files}"
        print(f"| {kind} | {sizes} | {old.threads} | {new.threads} |")


def complaints(record: Record, states: Mapping[str, str], kept: int) -> list[str]:
    """Return what was lost or failed though it shouldn't have: requests, jobs, images."""
    found = [f"A request failed without cause: {request}" for request in unexplained(record.failed, record.kills)]
    found += [f"Job {job} was accepted and {states.get(job, 'lost')}" for job in record.jobs if job not in states]
    found += [f"Job {job} is {state}" for job, state in states.items() if state != "succeeded"]
    if kept != record.pictures:
        found.append(f"{record.pictures} pictures were said to be kept. Received: {kept}")
    return found


def grown(before: Mapping[str, Usage], after: Mapping[str, Usage]) -> list[str]:
    """Return what takes more than before: memory of all processes together; files and threads of each kind."""
    ratio = sum(one.megabytes for one in after.values()) / sum(one.megabytes for one in before.values())
    print(f"\nmemory after / before: {ratio:.3f}")
    found = [f"Memory must stay under {MOST_MEMORY} of before. Received: {ratio:.3f}"] if ratio > MOST_MEMORY else []
    for kind, old in before.items():
        new = after[kind]
        if new.files > old.files + MOST_MORE_FILES or new.threads > old.threads:
            found.append(f"Files and threads of `{kind}` must not grow. Received: {old}, then {new}")
    return found


def main() -> None:
    """Soak a server; ends with 1 and says why, where something was lost or has grown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--least", type=float, default=5, help="seconds between two kills")
    parser.add_argument("--most", type=float, default=40)
    parser.add_argument("--warm-up", type=int, default=2, help="retrainings before the first look at memory")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1, help="of the kills")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        if found := soak(Path(temporary), options):
            raise SystemExit("\n".join(found))
    print("Nothing was lost, and nothing grew.")


if __name__ == "__main__":
    main()
