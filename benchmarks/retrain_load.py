"""Effect of a retraining on predictions: 16 connections, before and during it.

    python benchmarks/retrain_load.py --data pets --pictures photos [--rounds 3] [--seconds 10]

Each round starts `catdog serve` on an empty home and loads it with wrk; then it uploads 100 images, triggers a
retraining, and continues the load until the new version is in use. Compare ratios within a round. `--data` is a data
set with `train/cats` and `train/dogs`, `--pictures` are folders of JPEG files for the load.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from load import Measured, require_wrk, send, send_while
from processes import free_port, running, wait_for_answer
from retrain import PROCESSES, ask, choose, upload
from serve import find_pictures

CONNECTIONS = 16
WARM_UP_SECONDS = 3
PAUSE = 3.0
"""Seconds between upload and trigger, in which the training process starts."""

MOST_SECONDS = 300


def main() -> None:
    """Measure both in each round and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, nargs="+", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="duration of the load without a retraining")
    options = parser.parse_args()
    require_wrk()
    images = find_pictures(options.pictures, 1000)
    print(f"{os.cpu_count()} cores; load average of the last minute: {os.getloadavg()[0]:.1f}", flush=True)
    rounds = []
    with tempfile.TemporaryDirectory() as temporary:
        uploads = choose(options.data, Path(temporary, "uploads"))
        for number in range(options.rounds):
            idle, during = measure(Path(temporary, f"home-{number}"), uploads, images, options.seconds)
            rounds.append((during.rate / idle.rate, during.p99 / idle.p99))
            for name, one in (("idle", idle), ("retraining", during)):
                print(
                    f"{name}: {one.rate:.1f} requests/s, p50 {one.p50:.1f} ms, p99 {one.p99:.1f} ms, "
                    f"{one.failed} failed, {one.seconds:.1f} s",
                    flush=True,
                )
    for name, ratios in zip(("requests/s", "p99"), zip(*rounds, strict=True), strict=True):
        print(f"{name}, retraining / idle: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def measure(home: Path, uploads: Path, images: list[Path], seconds: float) -> tuple[Measured, Measured]:
    """Load a new server before and during a retraining.

    Raises:
        SystemExit: the retraining failed.
    """
    port, log = free_port(), home.with_suffix(".log")
    url = f"http://127.0.0.1:{port}/api/predict"
    variables = {"CATDOG_HOME": str(home), "PORT": str(port), "WEB_CONCURRENCY": str(PROCESSES)}
    variables |= {"CATDOG_HOST": "127.0.0.1", "CATDOG_TRACKING": "false"}
    with running([sys.executable, "-m", "catdog", "serve"], variables, log) as process:
        wait_for_answer(process, url, images[0].read_bytes(), log)
        send(url, images, connections=CONNECTIONS, seconds=WARM_UP_SECONDS, body="raw")
        idle = send(url, images, connections=CONNECTIONS, seconds=seconds, body="raw")
        for folder in sorted(uploads.iterdir()):
            upload(port, folder)
        time.sleep(PAUSE)
        ask(port, "/api/retrain/trigger", "POST")

        def goes_on() -> bool:
            status = ask(port, "/api/retrain/status")
            served = status["state"] != "succeeded" or ask(port, "/api/model/status")["version"] > 1
            return bool(status["in_progress"]) or not served

        during = send_while(url, images, goes_on, connections=CONNECTIONS, most_seconds=MOST_SECONDS, body="raw")
        status = ask(port, "/api/retrain/status")
    if status["state"] != "succeeded":
        raise SystemExit(f"The retraining didn't succeed: {status['state']}, {status['message']}")
    return idle, during


if __name__ == "__main__":
    main()
