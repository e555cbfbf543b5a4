"""Cost of tracing per request: the same application without traces, with all, and with one in a hundred.

    python benchmarks/tracing.py --pictures ../shared/photos [--rounds 20]

Runs in one process and one thread, with a collector in another process that discards spans. Each round sends the same
requests to all three, in changing order. Compares the processor time of all threads, which includes sending spans and
which other load affects little. gunicorn isn't included.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in a web process

from request import ask, make_form
from werkzeug.test import EnvironBuilder

from catdog.data.walking import find_pictures
from catdog.settings import Settings, load_settings
from catdog.web.app import create_app
from catdog.web.telemetry.tracing import EXTENSION

LIVE_REQUESTS = 2000
"""Requests per round to a route that does nothing, to measure the server's own time."""


class Collector(BaseHTTPRequestHandler):
    """Accepts and discards spans."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Read the body and accept it."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def make_app(settings: Settings, **variables: str) -> Any:
    """Create an application with variables of OpenTelemetry, and with traces if there are any."""
    os.environ |= variables
    app = create_app(settings)
    for name in variables:
        del os.environ[name]
    if (EXTENSION in app.extensions) is not bool(variables):
        raise SystemExit("Tracing doesn't work: pip install 'catdog[telemetry]'")
    return app


def microseconds(work: Callable[[Any], object], app: Any, times: int) -> float:
    """Return the mean processor time of the process per call of `work`, in microseconds."""
    start = time.process_time()
    for _ in range(times):
        work(app)
    return (time.process_time() - start) * 1e6 / times


def compare(name: str, work: Callable[[Any], object], apps: dict[str, Any], rounds: int, times: int) -> None:
    """Print the cost of `work` in each application, and its ratio to the one without traces in the same round."""
    found: dict[str, list[float]] = {kind: [] for kind in apps}
    for number in range(rounds + 1):
        turn = number % len(apps)
        for kind in [*apps, *apps][turn : turn + len(apps)]:
            spent = microseconds(work, apps[kind], times)
            if number:  # the first round warms up
                found[kind].append(spent)
    print(f"{name}, {rounds} rounds, microseconds of processor time:")
    for kind, spent in found.items():
        ratios = [one / off for one, off in zip(spent, found["off"], strict=True)]
        more = statistics.median(one - off for one, off in zip(spent, found["off"], strict=True))
        low, middle, high = statistics.quantiles(ratios, n=4) if rounds > 1 else ratios * 3
        print(
            f"  {kind:6} {statistics.median(spent):10,.0f} {more:+8,.0f}  {middle:.3f} of off ({low:.3f} to {high:.3f})"
        )


def main() -> None:
    """Start a collector and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, help="folder of photographs")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--collect", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.collect:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
        print(server.server_port, flush=True)
        server.serve_forever()
    images = [path.read_bytes() for path in find_pictures([given.pictures], recursive=True)][:30]
    forms = [make_form(image) for image in images]
    get = EnvironBuilder(path="/livez").get_environ()
    post = EnvironBuilder(method="POST", path="/api/predict").get_environ()
    empty = (b"", "text/plain")
    with tempfile.TemporaryDirectory() as home:
        collector = subprocess.Popen([sys.executable, __file__, "--collect"], stdout=subprocess.PIPE, text=True)
        try:
            assert collector.stdout is not None
            endpoint = f"http://127.0.0.1:{collector.stdout.readline().strip()}"
            settings = load_settings(home=home, tracking=False, rate_limit="off")
            on = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
            sampled = {**on, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
            apps = {"off": make_app(settings), "on": make_app(settings, **on), "1 %": make_app(settings, **sampled)}
            compare(
                f"{len(forms)} predictions", lambda app: [ask(app, post, one) for one in forms], apps, given.rounds, 1
            )
            compare("GET /livez", lambda app: ask(app, get, empty), apps, given.rounds, LIVE_REQUESTS)
            for app in apps.values():
                app.extensions["catdog"].stop()
                if EXTENSION in app.extensions:
                    app.extensions[EXTENSION].close()
        finally:
            collector.kill()
            collector.wait()


if __name__ == "__main__":
    main()
