"""Runs `locustfile.py` against one server and against three behind nginx; writes HTML reports and prints a table.

    python benchmarks/loadtest.py                                # 100 users, 10 more per second, for 60 s
    python benchmarks/loadtest.py --pictures photos --usual      # and the usual Flask + Keras app under the same load

`one` is `catdog serve` with one process per core. `three` is three servers with one process each, on one home, behind
nginx with `deploy/nginx.conf`. `compose` is `docker compose up --scale web=3`, if Docker is available. With `--usual`
(and the extra `train`), `predict`, `usual` and `usual-gunicorn` are users who only predict and never wait, against
catdog and the usual app: started by `app.run`, and under gunicorn with one process per core.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import contenders
from fleet import catdog_servers, fleet, require_nginx
from PIL import Image
from processes import free_port, running, wait_for_answer

ROOT = Path(__file__).parents[1]
ALL = "all requests"
UNLIMITED = {"CATDOG_RATE_LIMIT": "off"}
"""All users share one address, which counts towards rate limits behind a proxy."""

LIMITS = """\
Limits of this test: load, nginx and servers share {cores} cores. Three servers aren't faster than one, which already
has one process per core; they are meant for separate machines. Figures show the demand of {users} users who pause, not
a server's capacity (see `benchmarks/serve.py`). Loopback has no latency, no loss and no slow clients (see
`tests/e2e/deploy/test_deploy_nginx.py`)."""


@dataclass(frozen=True)
class Figures:
    """One line of locust's statistics; times in milliseconds."""

    requests: int
    failures: int
    rate: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Place:
    """Resources of a layout: an empty folder, an image for the first request, and the number of cores."""

    folder: Path
    picture: bytes
    cores: int


@dataclass(frozen=True)
class Layout:
    """Servers under load: `start` runs them and yields their address; `options` are locust's."""

    title: str
    start: Callable[[Place], AbstractContextManager[str]]
    options: Sequence[str] = ()


@contextmanager
def one(place: Place) -> Iterator[str]:
    """Run one server with one process per core."""
    port = free_port()
    variables = {"WEB_CONCURRENCY": str(place.cores), **UNLIMITED}
    with catdog_servers([port], place.folder / "home", variables, place.picture, place.folder):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def three(place: Place) -> Iterator[str]:
    """Run three servers behind nginx."""
    with fleet(3, place.folder, place.picture, UNLIMITED) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def compose(_place: Place) -> Iterator[str]:
    """Run docker-compose.yml with three web containers; remove it with its volumes afterwards."""
    port, secret = free_port(), "0123456789abcdef" * 2
    variables = {
        **os.environ, **UNLIMITED, "CATDOG_API_KEY": secret, "POSTGRES_PASSWORD": secret, "GRAFANA_PASSWORD": secret,
        "CATDOG_PUBLISH": f"127.0.0.1:{port}", "WEB_CONCURRENCY": "1",
    }  # fmt: skip
    command = ["docker", "compose", "--project-name", "catdog-loadtest"]
    up = ["up", "--detach", "--build", "--wait", "--scale", "web=3", "nginx"]
    try:
        subprocess.run([*command, *up], cwd=ROOT, env=variables, check=True)
        yield f"http://127.0.0.1:{port}"
    finally:
        subprocess.run([*command, "down", "--volumes"], cwd=ROOT, env=variables, check=False)


def usual(name: str) -> Callable[[Place], AbstractContextManager[str]]:
    """Return a function that runs the usual app, Flask with Keras `model.predict`, on the bundled model."""

    @contextmanager
    def start(place: Place) -> Iterator[str]:
        home, model, port, log = place.folder / "home", place.folder / "usual.keras", free_port(), place.folder / "log"
        contenders.prepare_home(home)
        contenders.save_usual_model(home, model)
        server = next(one for one in contenders.SERVING if one.name == name)
        where = contenders.Place(port, place.cores, home, home, model, place.folder)
        with running(server.command(where), server.variables(where), log) as process:
            wait_for_answer(process, f"http://127.0.0.1:{port}/api/predict", place.picture, log)
            yield f"http://127.0.0.1:{port}"

    return start


ONLY_PREDICT = ("--tags", "predict", "--max-wait", "0")
BESIDE = ("predict", "usual", "usual-gunicorn")
"""Layouts that need `--usual`."""

LAYOUTS = {
    "one": Layout("one server", one),
    "three": Layout("three behind nginx", three),
    "compose": Layout("`docker compose up --scale web=3`", compose),
    "predict": Layout("one server, predictions only, no pauses", one, ONLY_PREDICT),
    "usual": Layout("the usual Flask + Keras app, same load", usual("usual"), ONLY_PREDICT),
    "usual-gunicorn": Layout("the usual app under gunicorn, same load", usual("usual-gunicorn"), ONLY_PREDICT),
}


def main() -> None:
    """Run the layouts one after another and print a table."""
    options = _options()
    left_out = ([] if has_compose() else ["compose"]) + ([] if options.usual else list(BESIDE))
    names = options.only.split(",") if options.only else [name for name in LAYOUTS if name not in left_out]
    if "three" in names:
        require_nginx()
    options.out.mkdir(parents=True, exist_ok=True)
    found = {name: measure(name, options) for name in names}
    cores = len(os.sched_getaffinity(0))
    print(f"\n{table(found)}\n\n{LIMITS.format(cores=cores, users=options.users)}\n\nReports: {options.out}/*.html")
    if "compose" not in names:
        print("`docker compose up --scale web=3` was not measured, as Docker with compose isn't available.")
    failures = sum(figures[ALL].failures for name, figures in found.items() if not name.startswith("usual"))
    if failures:
        raise SystemExit(f"{failures} requests failed; see the reports.")


def has_compose() -> bool:
    """Return whether Docker with compose is available."""
    if shutil.which("docker") is None:
        return False
    checks = (["docker", "compose", "version"], ["docker", "info"])
    return all(subprocess.run(check, capture_output=True, check=False).returncode == 0 for check in checks)


def measure(name: str, options: argparse.Namespace) -> dict[str, Figures]:
    """Put the load on a layout; return figures per kind of request, and of all as `ALL`."""
    layout = LAYOUTS[name]
    command = [
        sys.executable, "-m", "locust", "--locustfile", str(ROOT / "locustfile.py"), "--headless", "--only-summary",
        "--users", str(options.users), "--spawn-rate", str(options.rate), "--run-time", f"{options.seconds}s",
        "--html", str(options.out / f"{name}.html"), "--json-file", str(options.out / name),
        "--exit-code-on-error", "0", *layout.options,
    ]  # fmt: skip
    if options.pictures:
        command += ["--pictures", str(options.pictures)]
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), _picture(), len(os.sched_getaffinity(0)))
        with layout.start(place) as address:
            print(f"{layout.title}: {options.users} users for {options.seconds} s", flush=True)
            log = options.out / f"{name}.log"
            with log.open("wb") as output:
                done = subprocess.run([*command, "--host", address], stdout=output, stderr=output, check=False)
    if done.returncode:
        raise SystemExit(f"locust exited with code {done.returncode}.\n{log.read_text(errors='replace')[-2000:]}")
    return read((options.out / f"{name}.json").read_text(encoding="utf-8"))


def read(document: str) -> dict[str, Figures]:
    """Parse locust's `--json-file`: figures per kind of request, and of all as `ALL`."""
    entries = json.loads(document)
    return {entry["name"]: _figures([entry]) for entry in entries} | {ALL: _figures(entries)}


def table(found: dict[str, dict[str, Figures]]) -> str:
    """Return the figures as a Markdown table, one row per layout."""
    lines = [
        "| Layout | Requests/s | Predictions/s | Prediction p50 | p95 | p99 | Failed |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, figures in found.items():
        everything, predicted = figures[ALL], figures["/api/predict"]
        times = " | ".join(f"{value:,.0f} ms" for value in (predicted.p50, predicted.p95, predicted.p99))
        counts = f"{everything.rate:,.1f} | {predicted.rate:,.1f}"
        failed = f"{everything.failures:,} of {everything.requests:,}"
        lines.append(f"| {LAYOUTS[name].title} | {counts} | {times} | {failed} |")
    return "\n".join(lines)


def _figures(entries: Sequence[dict[str, Any]]) -> Figures:
    """Sum locust's entries, which count requests by milliseconds, rounded to two digits from 100."""
    times: Counter[float] = Counter()
    for entry in entries:
        times.update({float(time): count for time, count in entry["response_times"].items()})
    ordered = sorted(times.elements())
    requests = sum(entry["num_requests"] for entry in entries)
    seconds = max(e["last_request_timestamp"] for e in entries) - min(e["start_time"] for e in entries)
    percentiles = (ordered[round(share * (len(ordered) - 1))] if ordered else nan for share in (0.5, 0.95, 0.99))
    return Figures(requests, sum(entry["num_failures"] for entry in entries), requests / seconds, *percentiles)


def _picture() -> bytes:
    """Return an image for the first request."""
    buffer = io.BytesIO()
    Image.effect_noise((320, 240), 60).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100, help="concurrent users")
    parser.add_argument("--rate", type=float, default=10, help="new users per second")
    parser.add_argument("--seconds", type=int, default=60, help="duration of each load, including ramp-up")
    parser.add_argument("--pictures", type=Path, help="folder of photographs; by default as in locustfile.py")
    parser.add_argument("--usual", action="store_true", help="also measure the usual app and catdog under its load")
    parser.add_argument("--only", help=f"comma-separated layouts: {', '.join(LAYOUTS)}")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "loadtest", help="folder for reports and figures")
    options = parser.parse_args()
    if unknown := set((options.only or "one").split(",")) - LAYOUTS.keys():
        parser.error(f"unknown in --only: {', '.join(sorted(unknown))}; use {', '.join(LAYOUTS)}")
    return options


if __name__ == "__main__":
    main()
