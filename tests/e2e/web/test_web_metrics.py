"""What the server says of itself: metrics, errors, logs, over two real processes, kills and restarts."""

import http.client
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from apiflask import APIFlask
from drawing import draw, encode
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from servers import ask, children, serving
from sqlalchemy import text, update
from waiting import wait_for, wait_until_counted

from catdog.settings import load_settings
from catdog.storage import tables
from catdog.storage.database import open_database
from catdog.web import metrics
from catdog.web.app import create_app

CAT = encode(draw("cat", 4032))


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[APIFlask]:
    """The application on the bundled model, which needs no training."""
    made = create_app(load_settings(home=tmp_path_factory.mktemp("bundled"), tracking=False))
    yield made
    made.extensions["catdog"].stop()


def samples(exposed: str) -> dict[str, float]:
    """Map `name{label=value,…}`, labels by name, to values; the text must be what Prometheus parses."""
    found = {}
    for family in text_string_to_metric_families(exposed):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def scrape(port: int) -> dict[str, float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        assert response.status == 200
        return samples(response.read().decode())
    finally:
        connection.close()


def total(found: dict[str, float], name: str) -> float:
    return sum(value for key, value in found.items() if key.split("{")[0] == name)


def metrics_folders(pids: Iterable[int]) -> dict[int, Path]:
    """Find the folders in which processes have their metrics, among the files that they have mapped; web ones do."""
    found = {}
    for pid in pids:
        for word in Path(f"/proc/{pid}/maps").read_text().split():
            if word.endswith(f"counter_{pid}.db"):
                found[pid] = Path(word).parent
    return found


def test_metrics_of_one_process(app: APIFlask, client: FlaskClient) -> None:
    before = samples(client.get("/metrics").text)
    for _ in range(3):
        answer = client.post("/api/predict", data=CAT, content_type="image/jpeg").json
    client.post("/api/predict", data=b"text", content_type="image/jpeg")
    for path in ("/nope", "/api/secret", "/api/models/7"):
        client.get(path)
    client.open("/nope", method="BREW")
    response = client.get("/metrics")
    assert response.content_type.startswith("text/plain; version=")
    found = samples(response.text)
    gained = {key: value - before.get(key, 0) for key, value in found.items()}
    assert gained["catdog_request_total{method=POST,route=/api/predict,status=200}"] == 3
    assert gained["catdog_request_total{method=POST,route=/api/predict,status=415}"] == 1
    assert gained["catdog_request_total{method=GET,route=other,status=404}"] == 3
    assert gained["catdog_request_total{method=other,route=other,status=404}"] == 1
    assert gained["catdog_request_duration_seconds_count{route=/api/predict}"] == 4
    kind = f"class={answer['class']},verdict={answer['verdict']},version={answer['model_version']}"
    assert gained[f"catdog_predictions_total{{{kind}}}"] == 3
    assert gained["catdog_prediction_confidence_count"] == gained["catdog_novelty_count"] == 3
    assert gained["catdog_novelty_sum"] == pytest.approx(3 * answer["novelty"])
    assert found["catdog_request_in_progress"] == 1  # the one that asks
    predictor = app.extensions["catdog"].model.predictor
    about = f"backbone={predictor.version.metadata['backbone']},precision={predictor.precision},version=1"
    assert found[f"catdog_model_info{{{about}}}"] == 1
    assert found["catdog_uptime_seconds"] > 0
    assert "nope" not in response.text
    assert "secret" not in response.text


def test_retrainings_are_counted_by_result(app: APIFlask, client: FlaskClient) -> None:
    app.extensions["catdog"].counts.add_retraining("promoted")
    assert samples(client.get("/metrics").text)["catdog_retrain_total{result=promoted}"] == 1


def test_a_newer_database_stops_no_prediction(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catdog.web.service.DRIFT_SECONDS", 0.05)
    settings = load_settings(home=tmp_path, tracking=False)
    engine = open_database(settings)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    newer = create_app(settings)
    try:
        client = newer.test_client()
        assert client.post("/api/predict", data={"image": (io.BytesIO(CAT), "cat.jpg")}).status_code == 200
        refused = client.get("/api/retrain/images")
        assert refused.status_code == 503
        assert refused.get_json()["error"].startswith("The database was upgraded by a newer catdog")
        assert "Retry-After" not in refused.headers, "waiting does not help"
        wait_for(lambda: "A background task failed and will be retried: The database was upgraded" in caplog.text)
        assert "Traceback" not in caplog.text
    finally:
        newer.extensions["catdog"].stop()


def test_drift_is_reported_in_status_statistics_and_metrics(app: APIFlask, client: FlaskClient) -> None:
    """Drawings are other things than the photographs that the bundled model was tested on."""
    service = app.extensions["catdog"]
    for seed in range(50):
        picture = encode(draw(("cat", "dog")[seed % 2], seed))
        assert client.post("/api/predict", data=picture, content_type="image/jpeg").status_code == 200
    service.counts.flush()
    with service.counts.engine().begin() as connection:  # whatever was measured before is more than a minute old
        connection.execute(update(tables.drift).values(claimed_at=0))
    service.status.measure_drift()
    status, stats = client.get("/api/model/status").json, client.get("/api/stats").json
    assert status["drift"] == stats["drift"]
    assert status["drift"].keys() == app.spec["components"]["schemas"]["Drift"]["properties"].keys()
    assert (status["drift"]["warning"], status["drift"]["n"] >= 50) == (True, True)
    found = samples(client.get("/metrics").text)
    assert found["catdog_drift_score"] == status["drift"]["score"] > 0.2
    assert found["catdog_drift_warning"] == 1


def test_errors_are_counted_by_kind_on_all_routes(client: FlaskClient) -> None:
    def counted() -> dict[tuple[int, str], int]:
        return {(row["status"], row["kind"]): row["count"] for row in client.get("/api/stats").json["errors"]}

    before = counted()
    client.post("/api/predict", data=b"GIF89a", content_type="image/jpeg")
    client.post("/", data=b"GIF89a", content_type="image/jpeg")
    pictures = [(io.BytesIO(data), "x.jpg") for data in (CAT[:-2000], CAT)]
    client.post("/api/predict/batch", data={"images": pictures})
    client.post("/api/predict", data=b"{}", content_type="application/json")
    client.get("/nope")
    client.delete("/api/health")
    after = counted()
    assert {key: count - before.get(key, 0) for key, count in after.items() if count != before.get(key, 0)} == {
        (415, "PictureFormatError"): 2,
        (422, "PictureBrokenError"): 1,
        (415, "MediaTypeError"): 1,
        (404, "NotFound"): 1,
        (405, "MethodNotAllowed"): 1,
    }


def test_monitoring_failures_break_no_prediction(
    app: APIFlask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    watcher = app.extensions["catdog_exposition"]
    broken = SimpleNamespace(inc=fail, dec=fail, observe=fail, labels=fail)
    for part in ("_requests", "_durations", "_in_progress", "_predictions", "_confidence", "_novelty"):
        monkeypatch.setattr(watcher, part, broken)
    monkeypatch.setattr(watcher, "_children", {})
    for _ in range(2):
        assert client.post("/api/predict", data=CAT, content_type="image/jpeg").status_code == 200
    assert sum("Metrics are incomplete" in record.message for record in caplog.records) == 1


def test_a_full_disk_leaves_the_metrics_of_one_process(tmp_path: Path) -> None:
    """/dev/full takes files of no size and nothing more: as a disk that is full."""
    code = (
        "import os, pathlib, sys\n"
        "from catdog.web import metrics as exposition\n"
        "exposition.make_folder('.')\n"
        "folder = pathlib.Path(os.environ[exposition.VARIABLE])\n"
        "assert folder.stat().st_mode & 0o777 == 0o700\n"
        "(folder / f'histogram_{os.getpid()}.db').symlink_to('/dev/full')\n"
        "metrics = exposition.Exposition(lambda: [])\n"
        "metrics.count_prediction(1, 'Cat', 'cat', 0.9, 0.1)\n"
        "assert b'catdog_novelty_count 1.0' in metrics.render()[0]\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "no space" in finished.stderr


def test_without_a_folder_metrics_are_of_one_process(tmp_path: Path) -> None:
    metrics.make_folder(str(tmp_path / "missing"))
    assert metrics.VARIABLE not in os.environ
    metrics.close_process(os.getpid())
    metrics.remove_folder()


def test_a_line_of_json_for_each_request(app: APIFlask) -> None:
    code = (
        "import sys\n"
        "from catdog.web.app import create_app\n"
        "client = create_app().test_client()\n"
        "client.post('/api/predict', data=sys.stdin.buffer.read(), content_type='image/jpeg',\n"
        "    headers={'X-Request-ID': 'mine'})\n"
        "client.get('/nope?secret')\n"
    )
    for form, lines in (("json", 2), ("text", 0)):
        environment = os.environ | {"CATDOG_HOME": str(app.extensions["catdog"].settings.home), "CATDOG_LOG": form}
        finished = subprocess.run(
            [sys.executable, "-c", code], input=CAT, env=environment, capture_output=True, check=True
        )
        logged = [json.loads(line) for line in finished.stderr.splitlines()]
        assert len(logged) == lines
        if logged:
            first, second = logged
            assert first.pop("ms") > 0
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
            assert first == {
                "level": "info", "logger": "catdog.requests", "message": "request", "request_id": "mine",
                "method": "POST", "route": "/api/predict", "status": 200, "version": 1,
            }  # fmt: skip
            assert (second["route"], second["status"]) == (None, 404)
            assert b"secret" not in finished.stderr


@pytest.mark.slow
def test_counts_of_two_processes_survive_kills_and_restarts(tmp_path: Path) -> None:
    home = tmp_path / "home"

    def predict(port: int, times: int) -> None:
        for _ in range(times):
            assert ask(port, "POST", "/api/predict", CAT)[0] == 200

    with serving(home) as (port, server):
        predict(port, 20)
        ask(port, "POST", "/api/predict", b"text")
        found = scrape(port)
        assert total(found, "catdog_predictions_total") == 20  # over both, at once
        assert found["catdog_request_total{method=POST,route=/api/predict,status=200}"] == 20
        assert found["catdog_request_total{method=POST,route=/api/predict,status=415}"] == 1
        wait_until_counted(load_settings(home=home), 20)
        victim, folder = metrics_folders(children(server.pid)).popitem()
        assert folder.stat().st_mode & 0o777 == 0o700
        os.kill(victim, signal.SIGKILL)
        for _ in range(200):
            if len(children(server.pid) - {victim}) == 2 and victim not in children(server.pid):
                break
            time.sleep(0.05)
        predict(port, 4)
        found = scrape(port)
        assert total(found, "catdog_predictions_total") == 24  # a killed process' counters stay
        assert found["catdog_request_in_progress"] == 1  # and what it had under way does not
    assert not folder.exists()
    with serving(home, "-m", "gunicorn", "app:app") as (port, _):
        status = ask(port, "GET", "/api/model/status")[1]
        stats = ask(port, "GET", "/api/stats")[1]
        assert status["total_predictions"] == status["latency_ms"]["n"] == stats["predictions"]["total"] == 24
        assert stats["errors"] == [{"status": 415, "kind": "PictureFormatError", "count": 1}]
        assert sum(stats["confidence"]["recent"]["counts"]) == 24
