"""Each route with what no honest client sends: never a failure of the server's, and a sentence for each refusal."""

import re
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from access import client_of
from apiflask import APIFlask
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from catdog.settings import Settings

KEY = "k" * 32
IN_WORDS = {503, 507}
"""Statuses from 500 on that say what to do."""

DEEP = b"[" * 30_000 + b"]" * 30_000
BODIES = {
    "nothing": b"",
    "null": b"null",
    "deep": DEEP,
    "deeper than may be sent": DEEP * 4,
    "deep objects": b'{"ids":' * 8_000 + b"1" + b"}" * 8_000,
    "byte order mark": b'\xef\xbb\xbf{"ids": [1]}',
    "UTF-16": '{"ids": [1], "key": "x"}'.encode("utf-16"),
    "half characters": rb'{"key": "\ud800", "ids": [1], "category": "\ud800", "id": "\ud800", "promote": "\ud800"}',
    "NUL": rb'{"key": "\u0000", "ids": [1], "category": "\u0000", "id": "\u0000"}',
    "a key twice": b'{"key": "a", "key": "b", "ids": [1], "ids": [2], "promote": false, "promote": true}',
    "a huge integer": b'{"ids": [' + b"9" * 4_000 + b'], "category": "cats"}',
    "a huger integer": b'{"ids": [' + b"9" * 9_000 + b"]}",
    "no numbers": b'{"ids": [NaN, Infinity, 1e999, -1]}',
    "Latin-1": b'{"key": "\xff"}',
    "a string": b'"x"',
    "many fields": b"a&" * 30_000,
    "NUL in a form": b"key=%00&category=%ff&class=%00&promote=%00",
    "a part without a name": b"--x\r\nContent-Disposition: form-data\r\n\r\nx\r\n--x--\r\n",
    "a file without a name": b"--x\r\nContent-Disposition: form-data; filename=a\r\n\r\nx\r\n--x--\r\n",
    "NUL in a part": b'--x\r\nContent-Disposition: form-data; name="category"\r\n\r\n\0\xff\r\n--x\r\n'
    b'Content-Disposition: form-data; name="files[]"; filename="\0"\r\n\r\nx\r\n--x--\r\n',
    "a part that does not end": b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n',
    "a part of headers": b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n'
    + b"A: b\r\n" * 8_000
    + b"\r\nx\r\n--x--\r\n",
    "many parts": b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 1_200 + b"--x--\r\n",
    "a length that is none": struct.pack("<I", 2**32 - 1),
}
KINDS = (
    "application/json",
    "application/json; charset=utf-7",
    "application/vnd.api+json; charset=none-such",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    'multipart/form-data; boundary="\xe9"',
    "image/jpeg",
    "\xff/\x80",
    "",
)
ARGUMENTS = ("99999999999999999999", "9" * 300, "9" * 5_000, "%00", "..%2f..", "%ED%A0%80", "%ff", "a" * 5_000, "-1")
QUERIES = (
    "page=-1&tab=%00&v=%00&right=%00&compare=999999999&true=%00&answered=x&class=%00&job=%00",
    "page=1e9&per_page=1000000000&job=" + "x" * 10_000 + "&class=" + "a" * 10_000,
    "ids=" + ",".join(["1"] * 20_000),
    "ids=99999999999999999999&compare=%D9%A1",
    "batch=%00",
    "uploader=%ED%A0%80&category=%ff",
    "&" * 10_000,
    "a=1&" * 5_000 + "%",
)
HEADERS: tuple[dict[str, str], ...] = (
    {"Range": "bytes=-", "If-Modified-Since": "never", "If-None-Match": "\xff", "Cookie": "catdog_session=\xff.\0"},
    {"Range": "bytes=99999999999999999999-", "Accept": "*/*;q=\xff", "Accept-Encoding": "gzip;q=nan"},
    {"Cookie": "catdog_session=" + "a." * 2_000, "Origin": "http://[::1", "Host": "[::1", "traceparent": "00-x"},
    {"Origin": "http://a:99999999", "Referer": "http://[x", "Host": "a:b:c", "X-Forwarded-For": "x" * 5_000},
    {"X-API-Key": "\xff", "Authorization": "Bearer \xff", "X-CSRF-Token": "\xff", "Host": "\xff"},
    {"Inference-Header-Content-Length": "9" * 5_000, "Content-Encoding": "gzip", "Transfer-Encoding": "gzip"},
    {"Content-Length": "9" * 30},
    {"Content-Length": "-1"},
)


@pytest.fixture(scope="module")
def hostile(bundled: Settings) -> tuple[APIFlask, FlaskClient]:
    return client_of(bundled, api_key=KEY)


def routes(app: APIFlask) -> Iterator[tuple[Rule, str]]:
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield rule, method


def address(rule: Rule, argument: str = "") -> str:
    return re.sub("<[^>]*>", argument or "1", rule.rule)


def _own_kind(body: bytes) -> str:
    """Name the kind under which a body is read by most."""
    if body.startswith(b"--x"):
        return "multipart/form-data; boundary=x"
    return "application/x-www-form-urlencoded" if b"&" in body else "application/json"


def require_words(response: TestResponse, *asked: object) -> None:
    status = response.status_code
    assert status < 500 or status in IN_WORDS, (status, *(repr(part)[:200] for part in asked), response.text[:500])
    if status >= 400 and response.mimetype != "text/html":
        assert response.content_type == "application/problem+json", asked
        assert len(response.json["error"]) > 10


@pytest.mark.slow
def test_bodies(hostile: tuple[APIFlask, FlaskClient]) -> None:
    app, client = hostile
    for rule, method in routes(app):
        if method == "GET":
            continue
        for number, (name, body) in enumerate(BODIES.items()):
            for kind in (_own_kind(body), KINDS[number % len(KINDS)]):
                sent: dict[str, Any] = {"data": body, "content_type": kind, "headers": {"X-API-Key": KEY}}
                require_words(client.open(address(rule), method=method, **sent), method, rule.rule, name, kind)


@pytest.mark.slow
def test_addresses_and_queries(hostile: tuple[APIFlask, FlaskClient]) -> None:
    app, client = hostile
    for rule, method in routes(app):
        addresses = [address(rule, argument) for argument in ARGUMENTS if "<" in rule.rule]
        for path in (*addresses, *(f"{address(rule)}?{query}" for query in QUERIES)):
            with client.open(path, method=method, headers={"X-API-Key": KEY}) as response:
                require_words(response, method, path)


@pytest.mark.slow
def test_headers(hostile: tuple[APIFlask, FlaskClient]) -> None:
    app, client = hostile
    for rule, method in routes(app):
        for headers in HEADERS:
            with client.open(address(rule), method=method, headers={"X-API-Key": KEY} | headers) as response:
                require_words(response, method, rule.rule, headers)


@pytest.mark.parametrize("path", ["/api/models/99999999999999999999/promote", f"/api/models/{'9' * 5000}/promote"])
def test_an_impossible_number_is_not_found(hostile: tuple[APIFlask, FlaskClient], path: str) -> None:
    response = hostile[1].post(path, headers={"X-API-Key": KEY})
    assert response.status_code == 404, response.text


EMPTY = [
    {"content_type": "application/json"},
    {"content_type": "application/json", "headers": {"Content-Length": "0"}},
    {"content_type": "application/json", "data": b"null"},
    {"content_type": "application/json", "data": b" \r\n"},
    {"content_type": "application/x-www-form-urlencoded"},
    {"content_type": "text/plain"},
    {"content_type": "image/jpeg"},
    {},
]


@pytest.mark.parametrize("sent", EMPTY, ids=repr)
def test_an_empty_body_is_no_body(hostile: tuple[APIFlask, FlaskClient], sent: dict[str, Any]) -> None:
    _, client = hostile
    sent = {**sent, "headers": {"X-API-Key": KEY, **sent.get("headers", {})}}
    for path in ("/api/retrain/trigger", "/api/retrain/cancel", "/api/models/rollback", "/session/end"):
        response = client.post(path, **sent)
        assert response.status_code in (200, 303, 409), response.text  # as without anything: there is nothing to do


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"data": b'{"promote": false}', "content_type": "text/plain"}, 415),
        ({"data": b'{"promote": false}'}, 415),
        ({"data": {"promote": "false"}}, 409),
        ({"data": {"promote": ""}}, 409),
        ({"data": {"promote": "maybe"}}, 400),
        ({"json": {"promote": False}}, 409),
        ({"json": {"promote": "false"}}, 400),
    ],
    ids=repr,
)
def test_a_request_not_to_promote_is_never_ignored(
    hostile: tuple[APIFlask, FlaskClient], sent: dict[str, Any], status: int
) -> None:
    response = hostile[1].post("/api/retrain/trigger", headers={"X-API-Key": KEY}, **sent)
    assert response.status_code == status, response.text
