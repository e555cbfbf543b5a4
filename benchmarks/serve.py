"""Speed of serving: catdog against the usual Flask + Keras app, frameworks with the same model, and a bare loop.

    python benchmarks/serve.py --pictures ../shared/photos ../shared/cat-and-dog/test [--rounds 3] [--seconds 10]
    python benchmarks/serve.py --pictures PHOTOS --only catdog,bare --rounds 1 --seconds 5     # quickly
    python benchmarks/serve.py --pictures PHOTOS --only catdog,bare --body raw                 # without multipart

Each round starts the servers one after another on loopback, waits for the first response, warms up, and loads each with
wrk at each number of connections. Compare ratios within a round. The load uses the same cores, which servers lack but
bare loops don't; its share is printed.

    catdog           `catdog serve` on an empty home
    usual            Flask + Keras `model.predict`, started by `app.run`; usual-gunicorn: by gunicorn
    fastapi, litserve, bentoml   the same model, precision and decoding behind each framework
    bare             decoding and prediction in memory in as many processes; bare-features: without head and novelty
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

from comparison import Row, compare, print_ratios, print_rows
from contenders import (
    FRAMEWORKS,
    LOOPS,
    NAMES,
    SERVERS,
    SERVING,
    Place,
    Server,
    prepare_environment,
    prepare_home,
    save_usual_model,
)
from load import Body, Measured, require_wrk, send
from processes import cpu_seconds, free_port, memory, running, wait_for_answer

WARM_UP_SECONDS = 3
WARM_UP_CONNECTIONS = 16
TURNS = 4
"""Minimum responses per connection; a slow server is loaded for longer than `--seconds` to reach it."""

MOST_SECONDS = 90
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "catdog-benchmark"


def load_server(server: Server, place: Place, images: list[Path], options: argparse.Namespace) -> list[Row]:
    """Start a server, load it at each number of connections, and stop it."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        place = replace(place, port=free_port(), fresh_home=Path(folder))
        url, log = f"http://127.0.0.1:{place.port}/api/predict", Path(folder, "output.log")
        begun = time.perf_counter()
        with running(server.command(place), server.variables(place), log) as process:
            wait_for_answer(process, url, images[0].read_bytes(), log)
            first = time.perf_counter() - begun
            warm = send(url, images, connections=WARM_UP_CONNECTIONS, seconds=WARM_UP_SECONDS, body=options.body)
            for connections in options.connections:
                enough = TURNS * connections / max(warm.rate, 1)
                seconds = max(options.seconds, min(enough, MOST_SECONDS))
                rows.append(watch(process.pid, server.name, url, images, connections, seconds, options.body, first))
    return rows


def watch(
    process: int, name: str, url: str, images: list[Path], connections: int, seconds: float, body: Body, first: float
) -> Row:
    """Load a running server, and measure its memory halfway."""
    busy = cpu_seconds(process)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send, url, images, connections=connections, seconds=seconds, body=body)
        time.sleep(seconds / 2)
        megabytes = memory(process)
        measured = sending.result()
    cpu_ms = 1000 * (cpu_seconds(process) - busy) / max(measured.answers, 1)
    return Row(0, name, connections, measured, first, megabytes, cpu_ms)


def run_loop(name: str, place: Place, images: list[Path], options: argparse.Namespace) -> list[Row]:
    """Run a bare loop at each number of connections, with at most as many processes."""
    rows = []
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as names:
        names.writelines(f"{path.resolve()}\n" for path in images)
        names.flush()
        for connections in options.connections:
            processes = min(connections, place.workers)
            command = [sys.executable, str(SERVERS / "bare.py"), names.name, "--part", LOOPS[name]]
            command += ["--processes", str(processes), "--seconds", str(options.seconds)]
            variables = {"CATDOG_HOME": str(place.home), "OPENBLAS_NUM_THREADS": "1"}
            finished = subprocess.run(command, env={**os.environ, **variables}, check=True, stdout=subprocess.PIPE)
            rows.append(Row(0, name, connections, Measured(**json.loads(finished.stdout.splitlines()[-1]))))
    return rows


def find_pictures(places: Sequence[Path], most: int) -> list[Path]:
    """List the JPEG files of folders, shuffled with a fixed seed.

    Raises:
        SystemExit: there are none.
    """
    found = [sorted(place.rglob("*.jp*g")) for place in places]
    if not all(found):
        raise SystemExit(f"Each folder in --pictures must have JPEG files: {' '.join(map(str, places))}")
    images = [path for paths in found for path in paths]
    random.Random(0).shuffle(images)
    return images[:most]


def measure(place: Place, images: list[Path], options: argparse.Namespace) -> list[Row]:
    """Run all rounds, and print the result of each load."""
    rows: list[Row] = []
    for number in range(1, options.rounds + 1):
        for name in options.only:
            server = next((server for server in SERVING if server.name == name), None)
            given = load_server(server, place, images, options) if server else run_loop(name, place, images, options)
            for row in given:
                rows.append(replace(row, round=number))
                print(
                    f"round {number}: {name}, {row.connections} connections: {row.measured.rate:.1f} requests/s, p50 "
                    f"{row.measured.p50:.2f} ms, p95 {row.measured.p95:.2f} ms, {row.measured.failed} failed",
                    flush=True,
                )
    return rows


def parse_arguments() -> argparse.Namespace:
    """Read the command line.

    Raises:
        SystemExit: a name in `--only` is unknown, or one of the servers doesn't accept a raw body.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, nargs="+", required=True, help="folders of JPEG files to send")
    parser.add_argument("--most", type=int, default=1000, help="maximum number of images")
    parser.add_argument("--only", default=",".join(NAMES), help="comma-separated servers (default: %(default)s)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 100])
    parser.add_argument("--workers", type=int, default=2, help="processes per server")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="minimum duration of each load")
    parser.add_argument("--body", choices=("multipart", "raw"), default="multipart", help="raw: an image/jpeg body")
    parser.add_argument("--environment", type=Path, default=CACHE, help="virtual environment for the frameworks")
    parser.add_argument("--json", type=Path, help="file for all rows and ratios")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(NAMES):
        parser.error(f"unknown in --only: {', '.join(sorted(unknown))}; use {', '.join(NAMES)}")
    rawless = [server.name for server in SERVING if server.name in options.only and not server.takes_raw]
    if options.body == "raw" and rawless:
        parser.error(f"--body raw doesn't work with {', '.join(rawless)}; use --only to leave them out")
    return options


def main() -> None:
    """Measure, and print a table and ratios."""
    options = parse_arguments()
    require_wrk()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops a running server, like Ctrl-C
    busy = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores; load average of the last minute: {busy:.1f}", flush=True)
    images = find_pictures(options.pictures, options.most)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        place = Place(0, options.workers, home, home, home / "usual.keras", options.environment)
        prepare_home(home)
        if any(name.startswith("usual") for name in options.only):
            save_usual_model(home, place.model)
        if set(FRAMEWORKS) & set(options.only):
            prepare_environment(options.environment)
        rows = measure(place, images, options)
    ratios = compare(rows)
    print_rows(rows)
    if ratios:
        print_ratios(ratios)
    if options.json:
        document = {
            "rows": [asdict(row) for row in rows],
            "ratios": [asdict(ratio) for ratio in ratios],
            "busy_before": busy,
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
