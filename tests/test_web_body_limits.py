"""How much a request may bring, each limit with its name; and a disk that is full."""

import errno
import io
import sqlite3
from typing import Any

import pytest
from flask import request
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError
from test_web_access import client_of
from test_web_api import form, require_problem

from catdog.errors import DiskFullError, StoreError
from catdog.settings import Settings
from catdog.store import ModelStore
from catdog.web import body_limits

UPLOAD = "api.promote"  # stands for a route that adds pictures
UPLOAD_PATH = "/api/models/1/promote"


@pytest.fixture
def uploading(bundled: Settings, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """A client of a server on which a route may bring more than others do."""
    monkeypatch.setattr(body_limits, "UPLOAD_ENDPOINTS", frozenset({UPLOAD}))
    sizes = {"max_request_bytes": 50_000, "max_batch": 3, "max_upload_total_bytes": 5_000_000, "max_upload_files": 40}
    app, client = client_of(bundled, **sizes)

    def count(version: int) -> dict[str, Any]:
        files = [file for _, file in request.files.items(multi=True)]
        return {"bytes": sum(len(file.read()) for file in files), "files": len(files), "version": version}

    app.view_functions[UPLOAD] = count
    return client


def test_a_form_with_thousands_of_parts_is_told_the_limit(bundled: Settings) -> None:
    _, client = client_of(bundled)
    many = {f"field{i}": "x" for i in range(2000)}
    response = client.post("/api/predict", data=many, content_type="multipart/form-data")
    require_problem(response, 413, "200 parts", "CATDOG_MAX_BATCH")
    require_problem(client.post("/api/predict/batch", data=form(*[b""] * 2000)), 413, "200 parts", "CATDOG_MAX_BATCH")


def test_a_long_text_field_is_no_riddle(bundled: Settings) -> None:
    _, client = client_of(bundled)
    long = {"text": "x" * 2_000_000}
    require_problem(client.post("/api/predict", data=long, content_type="multipart/form-data"), 400, "text")


def test_routes_that_add_pictures_may_bring_more(uploading: FlaskClient) -> None:
    pictures = [b"x" * 100_000] * 30
    found = uploading.post(UPLOAD_PATH, data=form(*pictures))
    assert found.json == {"bytes": 3_000_000, "files": 30, "version": 1}
    response = uploading.post("/api/predict/batch", data=form(*pictures))
    require_problem(response, 413, "50,000", "CATDOG_MAX_REQUEST_BYTES", f"{response.request.content_length:,}")
    response = uploading.post(UPLOAD_PATH, data=form(b"x" * 6_000_000))
    require_problem(response, 413, "5,000,000", "CATDOG_MAX_UPLOAD_TOTAL_BYTES")
    require_problem(uploading.post(UPLOAD_PATH, data=form(*[b""] * 150)), 413, "140", "CATDOG_MAX_UPLOAD_FILES")


def test_a_body_of_unknown_length_is_held_to_the_limit(uploading: FlaskClient) -> None:
    def send(path: str, size: int) -> Any:
        return uploading.post(
            path,
            input_stream=io.BytesIO(b"x" * size),
            content_type="image/jpeg",
            environ_overrides={"wsgi.input_terminated": True},
        )

    require_problem(send("/api/predict", 60_000), 413, "50,000", "CATDOG_MAX_REQUEST_BYTES")
    require_problem(send("/api/predict", 40_000), 415)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/secret/place"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        DiskFullError("The disk of /secret/place is full."),
    ],
    ids=repr,
)
def test_a_full_disk_is_said(bundled: Settings, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    _, client = client_of(bundled)

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(ModelStore, "promote", fail)
    problem = require_problem(client.post("/api/models/1/promote"), 507, "disk is full")
    assert problem["title"] == "Insufficient Storage"
    assert "secret" not in problem["error"]
    with monkeypatch.context() as patch:  # where it was told as something else
        patch.setattr(ModelStore, "promote", lambda *_: _chain(StoreError("not saved"), error))
        require_problem(client.post("/api/models/1/promote"), 507, "disk is full")


def _chain(error: Exception, cause: Exception) -> None:
    raise error from cause


def test_a_full_disk_is_said_of_every_route(bundled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    app, client = client_of(bundled)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("catdog.files.os.replace", fail)
    require_problem(client.post("/api/models/1/promote"), 507, "disk is full")
    for name in ("predict", "explain", "stats", "status"):
        monkeypatch.setattr(app.extensions["catdog"], name, fail)
    jpeg = {"data": b"x", "content_type": "image/jpeg"}
    for path in ("/api/predict", "/api/explain", "/"):
        require_problem(client.post(path, **jpeg), 507)
    for path in ("/api/stats", "/api/model/status"):
        require_problem(client.get(path), 507)


def test_a_full_database_is_a_full_disk(bundled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    app, client = client_of(bundled)
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE pictures (bytes BLOB)")
    database.execute("PRAGMA max_page_count = 3")
    with pytest.raises(sqlite3.OperationalError, match="full") as caught:
        database.execute("INSERT INTO pictures VALUES (zeroblob(1000000))")
    database.close()
    postgres = sqlite3.OperationalError("could not extend file")
    postgres.sqlstate = "53100"  # type: ignore[attr-defined]  # as psycopg's errors have it
    for original, status in ((caught.value, 507), (postgres, 507), (sqlite3.OperationalError("no such table"), 500)):

        def fail(original: Exception = original) -> None:
            raise OperationalError("INSERT", None, original)

        monkeypatch.setattr(app.extensions["catdog"], "stats", fail)
        response = client.get("/api/stats")
        require_problem(response, status)
        assert "Retry-After" not in response.headers  # nobody knows when there is room
