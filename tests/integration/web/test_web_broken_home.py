"""A home whose parts are damaged, gone or closed: predictions go on, the rest says what is wrong and what to do."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from answers import require_problem
from drawing import draw, encode
from flask.testing import FlaskClient
from unprivileged import close_folder, open_folder

from catdog.settings import Settings, load_settings
from catdog.storage.database import open_database
from catdog.web.app import create_app

CAT = encode(draw("cat", 4032))
DEEP = b"[" * 100_000


@pytest.fixture
def own(bundled: Settings, tmp_path: Path) -> Settings:
    """Settings of a home of its own, with the bundled model and a database."""
    shutil.copytree(bundled.home, tmp_path / "home", dirs_exist_ok=True)
    settings = load_settings(home=tmp_path / "home", tracking=False)
    open_database(settings).dispose()
    return settings


def run(database: Path, script: str) -> None:
    connection = sqlite3.connect(database)
    connection.executescript(script)
    connection.close()


def replace_by_folder(database: Path) -> None:
    database.unlink()
    database.mkdir()


DATABASES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "garbage": (lambda path: path.write_bytes(b"garbage" * 1000), "damaged"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:5000]), "damaged"),
    "a folder": (replace_by_folder, "can't be opened"),
    "without its tables": (lambda path: run(path, "DROP TABLE counts; DROP TABLE uploads; DROP TABLE jobs"), "missing"),
    "of somebody else's": (lambda path: run(path, "DROP TABLE alembic_version"), "missing"),
}


def require_degraded(client: FlaskClient, settings: Settings, words: str) -> None:
    """Check that predictions work, that the probe and the page say why the rest does not, and that nothing fails."""
    client.application.extensions["catdog"].condition.check()
    assert client.post("/api/predict", data=CAT, content_type="image/jpeg").status_code == 200
    assert client.post("/api/explain", data=CAT, content_type="image/jpeg").status_code == 200
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json["status"]) == (200, "degraded")
    assert any(words in fault for fault in ready.json["faults"]), ready.json
    for tab in ("predict", "retrain", "status", "visualizations"):
        page = client.get(f"/?tab={tab}")
        assert page.status_code == 200
        assert "Predictions work" in page.text
        assert str(settings.home) not in page.text
    for path in ("/api/stats", "/api/model/status", "/api/health", "/metrics", "/api/models"):
        assert client.get(path).status_code == 200, path


def require_refusals(client: FlaskClient, words: str) -> None:
    for method, path in (
        ("POST", "/api/retrain/trigger"),
        ("GET", "/api/retrain/images"),
        ("GET", "/api/retrain/report"),
    ):
        response = client.open(path, method=method)
        require_problem(response, 503, words)
        assert "Retry-After" not in response.headers, "it does not pass by itself"
    feedback = client.post("/api/feedback?right=true", data=CAT, content_type="image/jpeg")
    require_problem(feedback, 503, words)


@pytest.mark.parametrize("name", DATABASES)
def test_a_damaged_database_at_the_start(own: Settings, name: str) -> None:
    damage, words = DATABASES[name]
    damage(own.home / "catdog.db")
    app = create_app(own)
    require_degraded(app.test_client(), own, words)
    require_refusals(app.test_client(), words)
    app.extensions["catdog"].stop()


def test_an_empty_file_becomes_a_database(own: Settings) -> None:
    (own.home / "catdog.db").write_bytes(b"")
    app = create_app(own)
    assert app.test_client().get("/api/retrain/images").status_code == 200
    app.extensions["catdog"].stop()


def test_a_database_that_goes_and_comes_back_while_the_server_runs(own: Settings) -> None:
    database = own.home / "catdog.db"
    app = create_app(own)
    client = app.test_client()
    upload = {"data": CAT, "content_type": "image/jpeg"}
    assert client.post("/api/feedback?right=true", **upload).status_code == 200
    database.rename(own.home / "away.db")
    require_degraded(client, own, "catdog.db is missing")
    require_refusals(client, "is missing")
    assert not database.exists(), "who took it away may be about to put another in its place"
    (own.home / "away.db").rename(database)
    app.extensions["catdog"].condition.check()
    assert client.get("/readyz").json["status"] == "ready"
    assert client.get("/api/retrain/images").json["total"] == 1
    database.unlink()
    database.write_bytes(b"garbage" * 1000)
    require_degraded(client, own, "damaged")
    database.unlink()
    open_database(own).dispose()  # a new one
    app.extensions["catdog"].condition.check()
    assert client.get("/readyz").json == {"status": "ready", "version": 1}
    assert client.get("/api/retrain/images").status_code == 200
    app.extensions["catdog"].stop()


FILES: dict[str, Callable[[Path], Any]] = {
    "no models": lambda home: shutil.rmtree(home / "models"),
    "a deep champion": lambda home: (home / "models" / "champion.json").write_bytes(DEEP),
    "a champion of another kind": lambda home: (home / "models" / "champion.json").write_bytes(b'{"history": [[]]}'),
}


@pytest.mark.parametrize("name", FILES)
def test_models_damaged_while_the_server_runs(own: Settings, name: str) -> None:
    app = create_app(own)
    FILES[name](own.home)
    app.extensions["catdog"].model.refresh()
    client = app.test_client()
    assert client.post("/api/predict", data=CAT, content_type="image/jpeg").status_code == 200
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json["status"]) == (200, "degraded")
    assert ready.json["faults"]
    assert client.get("/?tab=status").status_code == 200
    for path in ("/api/models/1/promote", "/api/models/rollback"):
        assert client.post(path).status_code in (404, 409)
    app.extensions["catdog"].stop()


def test_deep_metadata_is_a_damaged_version(own: Settings) -> None:
    (own.models_dir / "1" / "metadata.json").write_bytes(DEEP)
    app = create_app(own)
    client = app.test_client()
    require_problem(client.post("/api/predict", data=CAT, content_type="image/jpeg"), 503, "nested")
    require_problem(client.post("/api/models/1/promote"), 409, "nested")
    assert "nested" in client.get("/api/models").json["versions"][0]["error"]
    app.extensions["catdog"].stop()


@pytest.mark.parametrize("name", ["retrain_data", "cache", "jobs", "data"])
def test_a_file_where_a_folder_should_be(own: Settings, name: str) -> None:
    shutil.rmtree(own.home / name, ignore_errors=True)  # what it is a copy of may have been used
    (own.home / name).write_bytes(b"")
    app = create_app(own)
    client = app.test_client()
    assert client.post("/api/predict", data=CAT, content_type="image/jpeg").status_code == 200
    for path in ("/?tab=retrain", "/?tab=visualizations", "/api/stats", "/api/model/status"):
        assert client.get(path).status_code == 200, path
    assert client.post("/api/feedback?right=true", data=CAT, content_type="image/jpeg").status_code in (200, 503)
    app.extensions["catdog"].stop()


@pytest.mark.parametrize("has_model", [True, False], ids=["with a model", "fresh"])
def test_a_home_that_the_user_may_not_write(own: Settings, has_model: bool) -> None:
    if not has_model:
        shutil.rmtree(own.home)
        own.home.mkdir()
    close_folder(own.home)
    # In a process of its own, which gives up root's right to write everywhere.
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, __file__, str(own.home)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    open_folder(own.home)
    assert done.returncode == 0, done.stderr[-3000:]


def serve_closed(home: str) -> None:
    from unprivileged import obey_modes

    obey_modes()
    settings = load_settings(home=Path(home), tracking=False)
    app = create_app(settings)
    require_degraded(app.test_client(), settings, "can't write")
    require_refusals(app.test_client(), "Check that")
    app.extensions["catdog"].stop()


if __name__ == "__main__":
    serve_closed(sys.argv[1])
