"""With CATDOG_LOG=json, every line of every process is JSON, from start to end."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from drawing import add_drawings, draw, encode
from servers import ask, serving
from waiting import wait_for
from workers import workers_of

from catdog.monitoring.logs import JsonLines, configure_log
from catdog.settings import Settings, load_settings
from catdog.web.app import create_app

CAT = encode(draw("cat", 4032))
KEY = "a-key-of-some-length"


def test_a_record_is_one_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        error: Any = sys.exc_info()
    record = logging.LogRecord("catdog.x", logging.WARNING, __file__, 1, "%s und Käse\n", ("Brot",), error)
    record.fields = {"request_id": "a", "path": Path("/b")}
    line = JsonLines().format(record)
    assert "\n" not in line
    found = json.loads(line)
    assert found.pop("traceback").endswith("ValueError: two\nlines")
    assert found.pop("time").endswith("Z")
    expected = {"level": "warning", "logger": "catdog.x", "message": "Brot und Käse\n"}
    assert found == {**expected, "request_id": "a", "path": "/b"}


@pytest.mark.slow
def test_all_lines_of_a_server_are_json(bundled: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts, requests, refusals, a killed process, a killed worker, a retraining, and the end."""
    settings = load_settings(home=shutil.copytree(bundled.home, tmp_path / "home"), tracking=False)
    for animal in ("cat", "dog"):
        add_drawings(settings, animal, 8)
    for name, value in {"CATDOG_LOG": "json", "CATDOG_TRACKING": "false"}.items():
        monkeypatch.setenv(name, value)
    with (tmp_path / "log").open("wb") as log, serving(settings.home, log=log) as (port, server):
        assert ask(port, "POST", "/api/predict", CAT)[0] == 200
        assert ask(port, "GET", f"/{KEY}?key={KEY}")[0] == 404
        assert ask(port, "DELETE", f"/api/pictures/{KEY}")[0] == 405
        wait_for(lambda: workers_of(server.pid))
        os.kill(workers_of(server.pid)[0], signal.SIGKILL)
        os.kill(ask(port, "GET", "/api/model/status")[1]["process"], signal.SIGKILL)
        job = ask(port, "POST", "/api/retrain/trigger")[1]["job_id"]
        wait_for(lambda: not ask(port, "GET", f"/api/retrain/status?job={job}")[1]["in_progress"])
        assert ask(port, "GET", f"/api/retrain/status?job={job}")[1]["state"] == "succeeded"
    text = (tmp_path / "log").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(line.keys() >= {"time", "level", "logger", "message"} for line in lines)
    messages = [line["message"] for line in lines]
    for said in ("Starting gunicorn", "Booting worker", "Shutting down", "The worker ended and will be restarted"):
        assert any(said in message for message in messages), said
    assert sum("Don't put it behind a proxy" in message for message in messages) == 1
    requests = [line for line in lines if line["logger"] == "catdog.requests"]
    assert all(line.keys() >= {"request_id", "method", "route", "status", "ms", "version"} for line in requests)
    assert {(line["method"], line["route"], line["status"]) for line in requests} >= {
        ("POST", "/api/predict", 200),
        ("GET", None, 404),
        ("POST", "/api/retrain/trigger", 202),
    }
    assert KEY not in text


@pytest.mark.parametrize("module", ["catdog worker", "catdog.retraining.jobs.trainer"])
def test_the_workers_log_is_json(module: str, tmp_path: Path) -> None:
    """The worker can't open its database, which it logs, and is then stopped."""
    settings = {"CATDOG_LOG": "json", "CATDOG_HOME": str(tmp_path), "CATDOG_DATABASE_URL": "sqlite:////dev/null/x.db"}
    code = (
        "import logging, runpy, sys, threading, warnings\n"
        f"name, *sys.argv[1:] = {module.split()!r}\n"
        "import catdog.retraining.jobs.worker, catdog.retraining.jobs.trainer\n"
        "def say(*_, **__):\n"
        "    logging.getLogger('library').warning('A long line, ' * 30)\n"
        "    warnings.warn('deprecated')\n"
        "    sys.exit()\n"
        "catdog.retraining.jobs.worker.work = say\n"
        "if name == 'catdog.retraining.jobs.trainer':\n"
        "    catdog.retraining.jobs.trainer._prepare = say\n"
        "    catdog.retraining.jobs.trainer.main()\n"
        "runpy.run_module(name, run_name='__main__')\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | settings, stdin=subprocess.PIPE, capture_output=True, check=True
    )
    first, second = map(json.loads, finished.stderr.splitlines())
    assert (first["logger"], first["message"]) == ("library", "A long line, " * 30)
    assert (second["logger"], "deprecated" in second["message"]) == ("py.warnings", True)


def test_a_failure_names_its_request(
    bundled: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(bundled)
    monkeypatch.setattr(app.extensions["catdog"].status, "statistics", lambda: 1 / 0)
    assert app.test_client().get("/api/stats", headers={"X-Request-ID": "mine-7"}).status_code == 500
    app.extensions["catdog"].stop()
    (line,) = [json.loads(JsonLines().format(record)) for record in caplog.records]
    assert (line["request_id"], line["level"]) == ("mine-7", "error")
    assert "ZeroDivisionError" in line["traceback"]


def test_in_text_nothing_is_changed(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    before = [handler.formatter for handler in logging.getLogger().handlers]
    configure_log(settings)
    assert [handler.formatter for handler in logging.getLogger().handlers] == before
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn("as ever", stacklevel=1)
    assert len(caught) == 1
    assert caplog.text == ""
