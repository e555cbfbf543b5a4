"""Traces: what a span says and what it never says, where it goes, and that nothing depends on its getting there."""

import io
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from apiflask import APIFlask
from collecting import Collector, Received, collecting
from drawing import add_drawings, draw, encode
from servers import ask, serving
from waiting import wait_for

from catdog.cli.doctor import diagnose
from catdog.monitoring import tracing as telemetry
from catdog.monitoring.tracing import trace_job
from catdog.prediction.predictor import Predictor
from catdog.retraining.jobs.lock import WorkerLock
from catdog.retraining.jobs.worker import Worker
from catdog.settings import Settings, load_settings
from catdog.web.app import create_app
from catdog.web.telemetry.tracing import EXTENSION, MOST_STEPS, TimedPredictor

CAT = encode(draw("cat", 4032))
PARENT = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that the environment names, to which spans go at once."""
    with collecting() as made:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        yield made


@pytest.fixture
def make_app(bundled: Settings) -> Iterator[Callable[[], APIFlask]]:
    """Make applications on the bundled model, in the environment that the test has set; they end with it."""
    made: list[APIFlask] = []

    def make() -> APIFlask:
        made.append(create_app(bundled))
        return made[-1]

    yield make
    for app in made:
        app.extensions["catdog"].stop()
        if (tracing := app.extensions.get(EXTENSION)) is not None:
            tracing.close()


def predict(app: APIFlask, picture: bytes = CAT, **headers: str) -> dict[str, Any]:
    response = app.test_client().post("/api/predict", data=picture, content_type="image/jpeg", headers=headers)
    assert response.json is not None
    return {**response.json, "status": response.status_code, "X-Request-ID": response.headers["X-Request-ID"]}


def one(collector: Collector, name: str) -> Received:
    collector.wait(lambda: collector.named(name))
    (found,) = collector.named(name)
    return found


def hooks(app: APIFlask) -> list[str]:
    found = (app.before_request_funcs, app.after_request_funcs, app.teardown_request_funcs)
    return [f"{hook.__module__}.{hook.__qualname__}" for kind in found for hook in kind.get(None, [])]


def test_without_a_collector_nothing_is_imported_and_nothing_hooked(tmp_path: Path) -> None:
    """In a process that does all that one of a server does, and in a worker."""
    code = (
        "import sys, pathlib\n"
        "from catdog.web.server import gunicorn_config, gunicorn_worker\n"
        "gunicorn_config.on_starting(None)\n"
        "from catdog.settings import load_settings\n"
        "from catdog.web.app import create_app\n"
        "from catdog.retraining.jobs.worker import Worker\n"
        "from catdog.retraining.jobs.lock import WorkerLock\n"
        "app = create_app()\n"
        "answer = app.test_client().post('/api/predict', data=sys.stdin.buffer.read(), content_type='image/jpeg')\n"
        "assert answer.status_code == 200\n"
        "Worker(load_settings(), WorkerLock(load_settings())).run_once()\n"
        "gunicorn_config.on_exit(None)\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    environment = os.environ | {"CATDOG_HOME": str(tmp_path / "home"), "OTEL_SERVICE_NAME": "alone, this wants nothing"}
    finished = subprocess.run([sys.executable, "-c", code], input=CAT, env=environment, capture_output=True, check=True)
    assert finished.stdout.strip() == b"[]"


@pytest.mark.usefixtures("collector")
def test_hooks_are_there_only_with_a_collector(make_app: Any, monkeypatch: Any) -> None:
    traced = make_app()
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    plain = make_app()
    more = [hook for hook in hooks(traced) if hook not in hooks(plain)]
    assert len(hooks(traced)) - len(hooks(plain)) == 3
    assert all(hook.startswith("catdog.web.telemetry.tracing.") for hook in more)
    assert not any(hook.startswith("catdog.web.telemetry.tracing.") for hook in hooks(plain))
    assert type(plain.extensions["catdog"].model.predictor) is Predictor
    assert type(traced.extensions["catdog"].model.predictor) is TimedPredictor


def test_a_prediction_is_a_span_with_its_steps(collector: Collector, make_app: Any) -> None:
    answer = predict(make_app())
    span = one(collector, "POST /api/predict")
    assert (span.kind, span.parent, span.failed) == (2, "", False)  # a server's span, the first of its trace
    assert span.attributes == {
        "http.request.method": "POST",
        "http.route": "/api/predict",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "catdog.request_id": answer["X-Request-ID"],
        "catdog.model.version": 1,
        "catdog.verdict": answer["verdict"],
    }
    assert span.resource["service.name"] == "catdog"
    times = [span.begun]
    for name in ("decode", "network", "head"):
        step = one(collector, name)
        assert (step.trace, step.parent) == (span.trace, span.id)
        times += [step.begun, step.ended]
    assert times == sorted(times)
    assert times[-1] <= span.ended


def test_a_batch_span_has_all_verdicts_and_the_first_images_steps(collector: Collector, make_app: Any) -> None:
    pictures = [(io.BytesIO(encode(draw("dog", seed))), "x.jpg") for seed in range(MOST_STEPS // 3 + 2)]
    results = make_app().test_client().post("/api/predict/batch", data={"images": pictures}).json["results"]
    span = one(collector, "POST /api/predict/batch")
    assert span.attributes["catdog.verdicts"] == [result["verdict"] for result in results]
    collector.wait(lambda: len(collector.named("head")) == MOST_STEPS // 3)
    assert len([found for found in collector.spans if found.parent == span.id]) == MOST_STEPS


def test_spans_of_problems_name_the_error_class(collector: Collector, make_app: Any, monkeypatch: Any) -> None:
    app = make_app()
    client = app.test_client()
    predict(app, b"GIF89a")
    client.get("/nope")
    client.open("/nope", method="BREW")
    monkeypatch.setattr(app.extensions["catdog"].status, "statistics", lambda: 1 / 0)
    assert client.get("/api/stats").status_code == 500
    refused = one(collector, "POST /api/predict")
    assert (refused.failed, refused.attributes["catdog.problem"]) == (False, "PictureFormatError")
    assert "catdog.verdict" not in refused.attributes
    missing = one(collector, "GET").attributes
    assert (missing["http.response.status_code"], missing.get("http.route")) == (404, None)
    assert one(collector, "HTTP").attributes["http.request.method"] == "_OTHER"
    failed = one(collector, "GET /api/stats")
    assert (failed.failed, failed.attributes["error.type"]) == (True, "ZeroDivisionError")
    assert failed.attributes["http.response.status_code"] == 500


def test_nothing_that_was_sent_is_in_a_span(collector: Collector, make_app: Any) -> None:
    app, secret = make_app(), "secretsecretsecret"
    form = {"image": (io.BytesIO(CAT), f"{secret}.jpg"), "note": secret}
    headers = {"X-API-Key": secret, "Cookie": f"a={secret}", "User-Agent": secret, "Referer": f"http://{secret}/"}
    client = app.test_client()
    client.post(f"/api/predict?{secret}={secret}", data=form, headers=headers)
    client.get(f"/api/pictures/{secret}", headers=headers)
    client.get(f"/{secret}", headers=headers)
    collector.wait(lambda: len([span for span in collector.spans if span.kind == 2]) == 3)
    sent = b"".join(collector.bodies)
    assert secret.encode() not in sent
    assert CAT[:32] not in sent
    assert b"/api/predict" in sent  # as text that one can search


def test_a_client_that_traces_is_continued(collector: Collector, make_app: Any) -> None:
    app = make_app()
    predict(app, traceparent=PARENT)
    continued = one(collector, "POST /api/predict")
    assert (continued.trace, continued.parent) == ("a" * 32, "b" * 16)
    for number, wrong in enumerate(("", "nonsense", f"00-{'0' * 32}-{'b' * 16}-01", "00-" + "é" * 600), start=2):
        assert predict(app, traceparent=wrong)["status"] == 200
        collector.wait(lambda number=number: len(collector.named("POST /api/predict")) == number)
        begun = collector.named("POST /api/predict")[-1]
        assert begun.parent == ""
        assert begun.trace not in ("a" * 32, "0" * 32)
    predict(app, traceparent=PARENT[:-1] + "0")  # who asks does not record this one
    app.test_client().get("/livez")
    one(collector, "GET /livez")
    assert len(collector.named("POST /api/predict")) == 5


def test_the_variables_of_opentelemetry_work(collector: Collector, make_app: Any, monkeypatch: Any) -> None:
    for name, value in {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9/unused",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/own/path",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=pets,authorization=Bearer%20token",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_SERVICE_NAME": "pets",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
    }.items():
        monkeypatch.setenv(name, value)
    app = make_app()
    predict(app)
    span = one(collector, "POST /api/predict")
    assert (span.resource["service.name"], span.resource["deployment.environment"]) == ("pets", "test")
    assert collector.paths[0] == "/own/path"
    assert (collector.headers[0]["x-tenant"], collector.headers[0]["authorization"]) == ("pets", "Bearer token")
    assert collector.headers[0]["content-encoding"] == "gzip"
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    left_out = make_app()
    assert predict(left_out)["status"] == 200
    left_out.extensions[EXTENSION].close()  # which would send it
    assert len(collector.named("POST /api/predict")) == 1


@pytest.mark.usefixtures("collector")
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OTEL_SDK_DISABLED", "true", ""),
        ("OTEL_TRACES_EXPORTER", "none", ""),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "the protocol grpc isn't supported"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "OpenTelemetry rejects its settings"),
    ],
)
def test_traces_are_off_by_default(name: str, value: str, said: str, monkeypatch: Any, caplog: Any) -> None:
    monkeypatch.setenv(name, value)
    assert telemetry.open_tracing() is None
    assert said in caplog.text
    assert (caplog.text == "") == (said == "")


@pytest.mark.usefixtures("collector")
def test_without_the_extra_it_is_logged_and_predictions_work(bundled: Settings) -> None:
    code = (
        "import sys\n"
        "sys.modules['opentelemetry.exporter'] = None\n"
        "from catdog.web.app import create_app\n"
        "client = create_app().test_client()\n"
        "picture = sys.stdin.buffer.read()\n"
        "print(client.post('/api/predict', data=picture, content_type='image/jpeg').status_code)"
    )
    environment = os.environ | {"CATDOG_HOME": str(bundled.home)}
    finished = subprocess.run([sys.executable, "-c", code], input=CAT, env=environment, capture_output=True, check=True)
    assert finished.stdout.strip() == b"200"
    assert finished.stderr.count(b"pip install 'catdog[telemetry]'") == 1


def test_a_hanging_collector_costs_spans_but_no_predictions(
    make_app: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It takes connections and says nothing for as long as the test runs; the queue is soon full."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "20")
        for name, value in (("SCHEDULE_DELAY", "20"), ("MAX_QUEUE_SIZE", "8"), ("MAX_EXPORT_BATCH_SIZE", "4")):
            monkeypatch.setenv(f"OTEL_BSP_{name}", value)
        app = make_app()
        with deaf.accept()[0] if predict(app)["status"] == 200 else socket.socket() as held:
            assert held.recv(4) == b"POST"
            assert {predict(app)["status"] for _ in range(20)} == {200}
            monkeypatch.setattr(telemetry, "FLUSH_SECONDS", 0.1)
            app.extensions[EXTENSION].close()
            assert any(thread.name == "catdog-traces" for thread in threading.enumerate())  # it waits on, and we do not
    assert "wasn't traced" not in caplog.text


def test_lost_traces_are_logged_once(collector: Collector, make_app: Any, caplog: Any) -> None:
    def said() -> list[str]:
        return [record.message for record in caplog.records if record.levelno >= logging.WARNING]

    app = make_app()
    for answer in (400, 200):
        collector.answer = answer
        for _ in range(2):
            seen = len(collector.paths)
            assert predict(app)["status"] == 200
            collector.wait(lambda seen=seen: len(collector.paths) > seen)
    collector.wait(lambda: len(said()) == 2)
    lost, back = said()
    assert "Can't send traces to the collector in OTEL_EXPORTER_OTLP_ENDPOINT" in lost
    assert "reach the collector again" in back


@pytest.mark.usefixtures("collector")
def test_monitoring_failures_break_no_prediction(make_app: Any, monkeypatch: Any, caplog: Any) -> None:
    app = make_app()
    for name in ("start", "received"):
        monkeypatch.setattr(app.extensions[EXTENSION], name, lambda *_, **__: 1 / 0)
    assert predict(app)["status"] == 200
    assert caplog.text.count("A request wasn't traced") == 1


def test_lines_of_the_log_name_the_trace(collector: Collector, bundled: Settings) -> None:
    code = (
        "import sys\n"
        "from catdog.web.app import create_app\n"
        "app = create_app()\n"
        "app.test_client().post('/api/predict', data=sys.stdin.buffer.read(), content_type='image/jpeg')\n"
        "app.extensions['catdog_tracing'].close()"
    )
    environment = os.environ | {"CATDOG_HOME": str(bundled.home), "CATDOG_LOG": "json"}
    finished = subprocess.run([sys.executable, "-c", code], input=CAT, env=environment, capture_output=True, check=True)
    (line,) = map(json.loads, finished.stderr.splitlines())
    assert line["trace_id"] == one(collector, "POST /api/predict").trace


@pytest.mark.slow
def test_a_server_and_its_retraining_send_all_spans_by_their_end(
    collector: Collector, bundled: Settings, tmp_path: Path
) -> None:
    """Nothing goes out before the end, since batches wait for ten minutes; the job belongs to the trace that asked."""
    settings = load_settings(home=shutil.copytree(bundled.home, tmp_path / "home"), tracking=False)
    for animal in ("cat", "dog"):
        add_drawings(settings, animal, 8)
    # A full batch does not wait either, and a slow machine asks for the job's state some hundred times.
    waiting = {"OTEL_BSP_SCHEDULE_DELAY": "600000"} | dict.fromkeys(
        ("OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"), "100000"
    )
    os.environ |= waiting | {"CATDOG_TRACKING": "false"}
    with serving(settings.home) as (port, _):
        for _ in range(12):
            assert ask(port, "POST", "/api/predict", CAT)[0] == 200
        headers = {"Content-Type": "application/json", "traceparent": PARENT}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/retrain/trigger", b"{}", headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            job = json.loads(answer.read())["job_id"]
        wait_for(lambda: not ask(port, "GET", f"/api/retrain/status?job={job}")[1]["in_progress"])
        assert ask(port, "GET", f"/api/retrain/status?job={job}")[1]["state"] == "succeeded"
        assert collector.spans == []
    assert len(collector.named("POST /api/predict")) == 12
    asked, worked = one(collector, "POST /api/retrain/trigger"), one(collector, "retrain")
    assert asked.trace == worked.trace == "a" * 32
    assert (worked.parent, worked.failed) == (asked.id, False)
    assert worked.attributes == {"catdog.job.id": job, "catdog.job.state": "succeeded"}
    steps = [span for span in collector.spans if span.parent == worked.id]
    in_order = [span.name.removeprefix("retrain.") for span in sorted(steps, key=lambda span: span.begun)]
    assert in_order == ["collect", "embed", "fit", "evaluate", "save", "promote", "finish"]


@pytest.mark.parametrize(("end", "failed"), [("failed", True), ("cancelled", False)])
def test_the_span_of_a_job_has_its_result(end: str, failed: bool, collector: Collector) -> None:
    tracing = telemetry.open_tracing()
    with trace_job(tracing, "7", {}, lambda *_: {"end": end}) as step:
        assert step("7", "fit") == {"end": end}
    job = one(collector, "retrain")
    assert (job.failed, job.attributes["catdog.job.state"]) == (failed, end)
    assert one(collector, "retrain.fit").failed == failed
    assert tracing is not None
    tracing.close()


def test_a_worker_that_leaves_its_job_sends_the_steps_that_are_done(
    collector: Collector, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    monkeypatch.setattr("os._exit", leave)
    worker = Worker(settings, WorkerLock(settings))
    with trace_job(worker._tracing, "7", {"traceparent": 5}, lambda *_: {"done": "fit"}) as step:
        assert step("7", "fit") == {"done": "fit"}  # whatever is wrong with the arguments
    with trace_job(worker._tracing, "7", {}, lambda *_: {"done": "fit"}) as step:
        step("7", "fit")
        worker.stop()
        with pytest.raises(SystemExit):
            worker._exit_if_asked()
    assert [span.name for span in collector.spans] == ["retrain.fit"]


@pytest.mark.usefixtures("collector")
def test_doctor_says_whether_traces_can_be_made(bundled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    found = diagnose(bundled)
    assert found.facts["packages"].keys() >= set(telemetry.PACKAGES)
    assert not any("telemetry" in problem for problem in found.problems)
    monkeypatch.setattr("catdog.cli.doctor._version", lambda _: None)
    assert any("pip install 'catdog[telemetry]'" in problem for problem in diagnose(bundled).problems)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    assert not any("telemetry" in problem for problem in diagnose(bundled).problems)
