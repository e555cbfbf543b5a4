"""How much a request may bring, each limit with its name; and a disk that is full."""

import errno
import io
import re
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from access import client_of
from answers import form, require_problem
from apiflask import APIFlask
from flask import request
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError

from catdog.errors import DiskFullError, StoreError
from catdog.registry.store import ModelStore
from catdog.settings import Settings
from catdog.web.requests import limits
from catdog.web.routes import Body, seal, takes
from catdog.web.security.permissions import needs_permission
from catdog.web.server.limits_by_path import LimitByPath

UPLOAD = "api.promote"  # stands for a route that adds pictures
UPLOAD_PATH = "/api/models/1/promote"


@pytest.fixture
def uploading(bundled: Settings) -> FlaskClient:
    """A client of a server on which a route may bring more than others do."""
    sizes = {"max_request_bytes": 50_000, "max_batch": 3, "max_upload_total_bytes": 5_000_000, "max_upload_files": 40}
    app, client = client_of(bundled, **sizes)

    @needs_permission
    @takes(Body.UPLOAD)
    def count(version: int) -> dict[str, Any]:
        files = [file for _, file in request.files.items(multi=True)]
        return {"bytes": sum(len(file.read()) for file in files), "files": len(files), "version": version}

    app.view_functions[UPLOAD] = count
    seal(app)
    return client


def test_a_form_with_thousands_of_parts_gets_the_limit_in_the_error(bundled: Settings) -> None:
    _, client = client_of(bundled)
    many = {f"field{i}": "x" for i in range(2000)}
    response = client.post("/api/predict", data=many, content_type="multipart/form-data")
    require_problem(response, 413, "200 parts", "CATDOG_MAX_BATCH")
    require_problem(client.post("/api/predict/batch", data=form(*[b""] * 2000)), 413, "200 parts", "CATDOG_MAX_BATCH")


def test_a_long_text_field_gets_a_clear_error(bundled: Settings) -> None:
    _, client = client_of(bundled)
    long = {"text": "x" * 2_000_000}
    require_problem(client.post("/api/predict", data=long, content_type="multipart/form-data"), 400, "text")


def test_upload_routes_have_a_higher_limit(uploading: FlaskClient) -> None:
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
def test_a_full_disk_is_reported(bundled: Settings, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    _, client = client_of(bundled)

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(ModelStore, "promote", fail)
    problem = require_problem(client.post("/api/models/1/promote"), 507, "disk is full")
    assert problem["title"] == "Insufficient Storage"
    assert "secret" not in problem["error"]
    with monkeypatch.context() as patch:  # where it was told as something else
        patch.setattr(ModelStore, "promote", lambda *_, **__: _chain(StoreError("not saved"), error))
        require_problem(client.post("/api/models/1/promote"), 507, "disk is full")


def _chain(error: Exception, cause: Exception) -> None:
    raise error from cause


def test_a_full_disk_is_reported_on_every_route(bundled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    app, client = client_of(bundled)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("catdog.storage.files.os.replace", fail)
    require_problem(client.post("/api/models/1/promote"), 507, "disk is full")
    service = app.extensions["catdog"]
    for name in ("predict", "explain"):
        monkeypatch.setattr(service.model, name, fail)
    for name in ("statistics", "model"):
        monkeypatch.setattr(service.status, name, fail)
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

        monkeypatch.setattr(app.extensions["catdog"].status, "statistics", fail)
        response = client.get("/api/stats")
        require_problem(response, status)
        assert "Retry-After" not in response.headers  # nobody knows when there is room


def paths_by_endpoint(app: APIFlask) -> Iterator[tuple[str, str, str]]:
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            yield rule.endpoint, method, re.sub("<[^>]*>", "1", rule.rule)


IMAGES = {"api.predict", "api.predict_batch", "api.explain", "collect.feedback", "pages.predict"}
TENSORS = {"inference.infer", "inference.infer_version"}
UPLOADS = {"collect.upload", "retrain_page.upload"}
LISTS = {"collect.relabel", "collect.remove", "collect.restore", "collect.confirm"}


def test_every_route_is_small_unless_it_takes_images_or_lists(bundled: Settings) -> None:
    app, _ = client_of(bundled)
    limit_for = LimitByPath(app)
    seen = set()
    for endpoint, method, path in paths_by_endpoint(app):
        limit = limit_for(method, path)
        seen.add(endpoint)
        if endpoint in UPLOADS:
            assert limit == bundled.max_upload_total_bytes
        elif endpoint in IMAGES | TENSORS:
            assert limit == bundled.max_request_bytes
        elif endpoint in LISTS:
            assert limit == limits.LIST_BYTES < 256 * 1024
        else:
            assert limit == limits.SMALL_BYTES == 64 * 1024, (endpoint, method)
    assert seen >= IMAGES | TENSORS | UPLOADS | LISTS, "names of routes that are none"
    for method, path in (
        ("POST", "/nowhere"),
        ("POST", "/livez"),
        ("BREW", "/"),
        ("POST", "/\0\udcff"),
    ):
        assert limit_for(method, path) == limits.SMALL_BYTES


class Counted(io.BytesIO):
    """A body that counts what is read of it."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "multipart/form-data", ""])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_what_takes_no_picture_reads_no_large_body(bundled: Settings, kind: str, is_chunked: bool) -> None:
    app, client = client_of(bundled, api_key="k" * 16)
    for endpoint, method, path in paths_by_endpoint(app):
        if method != "POST" or LimitByPath(app)(method, path) > 256 * 1024:
            continue
        body = Counted(b'{"key": [' + b"[]," * 2**20)
        length = {} if is_chunked else {"content_length": len(body.getvalue())}
        environ = {"wsgi.input_terminated": True} if is_chunked else {}
        response = client.post(
            path,
            input_stream=body,
            content_type=kind,
            environ_overrides=environ,
            headers={"X-API-Key": "k" * 16},
            **length,
        )
        assert body.taken <= 256 * 1024, endpoint
        if not is_chunked:
            require_problem(response, 413, f"{len(body.getvalue()):,} bytes")


def test_a_form_of_many_fields_is_counted_before_it_is_read(bundled: Settings) -> None:
    _, client = client_of(bundled, api_key="k" * 16)
    kind = {"content_type": "application/x-www-form-urlencoded"}
    require_problem(client.post("/session", data=b"a&" * 30_000, **kind), 413, "too many fields", "100")
    require_problem(client.post("/session", data=b"a=1&" * 98 + b"key=x", **kind), 401)
    large = b"a=" + b"x" * 100_000
    for path in ("/session", "/api/predict", "/api/retrain/upload"):  # where pictures may come, text may not be larger
        require_problem(client.post(path, data=large, headers={"X-API-Key": "k" * 16}, **kind), 413, "65,536")


def part(name: str, content: bytes, headers: bytes = b"", filename: str | None = None) -> bytes:
    file = b"" if filename is None else f'; filename="{filename}"'.encode()
    disposition = b'Content-Disposition: form-data; name="' + name.encode() + b'"' + file
    return b"--x\r\n" + disposition + b"\r\n" + headers + b"\r\n" + content + b"\r\n"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (part("files[]", b"x", b"A: b\r\n" * 5_000, "a.jpg") + b"--x--\r\n", 400, "can't be read"),
        (part("category", b"x" * 70_000) + b"--x--\r\n", 413, "65,536 bytes together"),
        (b"".join(part(f"a{i}", b"x" * 700) for i in range(100)) + b"--x--\r\n", 413, "65,536 bytes together"),
        (part("a", b"") * 1_000 + b"--x--\r\n", 413, "600 parts"),
        (part("files[]", b"x", filename="a.jpg"), 400, "can't be read"),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\nx\r\n--x--\r\n", 400, "can't be read"),
        (b"--x\r\nno header\r\n\r\nx\r\n--x--\r\n", 400, "can't be read"),
        (b"x" * 100_000, 400, "can't be read"),
    ],
    ids=["headers", "long text", "much text", "parts", "no end", "no name", "no disposition", "no form"],
)
def test_a_form_over_the_wire_is_bounded_and_its_faults_are_told(
    bundled: Settings, body: bytes, status: int, words: str
) -> None:
    _, client = client_of(bundled)
    response = client.post("/api/retrain/upload", data=body, content_type="multipart/form-data; boundary=x")
    require_problem(response, status, words)


def test_json_of_tensors_has_a_limit_of_its_own(bundled: Settings) -> None:
    _, client = client_of(bundled)
    infer = "/v2/models/catdog/infer"
    document = b'{"inputs": "' + b"x" * 17 * 2**20 + b'"}'
    require_problem(client.post(infer, data=document, content_type="application/json"), 413, "16,777,216")
    headers = {"Inference-Header-Content-Length": str(len(document))}
    response = client.post(infer, data=document, content_type="application/octet-stream", headers=headers)
    require_problem(response, 413, "16,777,216", "binary tensor")
