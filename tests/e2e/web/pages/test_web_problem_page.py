"""What a browser without scripts gets when a form of the page is refused: a page in words, and programs still JSON."""

import errno
import io
import os
from typing import Any

import pytest
from access import KEY, client_of
from answers import require_problem
from browsing import OpenPage, serving
from drawing import draw, encode
from flask.testing import FlaskClient

from catdog.settings import Settings, load_settings
from catdog.web.pages.pages import show_problem
from catdog.web.problems import problem

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"}
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def keyed(bundled: Settings) -> FlaskClient:
    """A client of a server with a key, on which three wrong ones a minute may be tried."""
    return client_of(bundled, api_key=KEY, host="0.0.0.0", rate_limit_keys="3/minute")[1]


def require_page(response: Any, status: int, *words: str) -> None:
    assert (response.status_code, response.content_type) == (status, "text/html; charset=utf-8")
    assert int(response.headers["Content-Length"]) == len(response.data)
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    for word in ("<nav", "Back to ", response.headers["X-Request-ID"], *words):
        assert word in response.text


def test_a_wrong_key_and_then_the_limit_are_reported_on_the_page(keyed: FlaskClient) -> None:
    for _ in range(3):
        refused = keyed.post("/session", data={"key": "another"}, headers=BROWSER)
        require_page(refused, 401, "Unauthorized", "Invalid API key", 'href="/?tab=predict"', 'name="key"')
    limited = keyed.post("/session", data={"key": "another"}, headers=BROWSER)
    require_page(limited, 429, "Too many wrong keys", "Try again in")
    assert int(limited.headers["Retry-After"]) > 0


def test_missing_fields_are_reported_on_the_page(keyed: FlaskClient) -> None:
    def start() -> Any:
        return keyed.post("/retrain/start", data=b"", headers=BROWSER, content_type=FORM)

    require_page(
        start(),
        401,
        "Sign in to use this.",
        'href="/?tab=retrain"',
    )
    assert keyed.post("/session", data={"key": KEY}).status_code == 303
    require_page(start(), 403, "session&#39;s token")


def test_page_text_is_escaped(keyed: FlaskClient) -> None:
    with keyed.application.test_request_context("/"):
        page = show_problem("retrain", problem(400, "Received: <script>alert(1)</script>"))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/session", {"data": {"key": "x"}}),
        ("/session", {"data": {"key": "x"}, "headers": {"Accept": "*/*"}}),
        ("/session", {"json": {"key": "x"}, "headers": BROWSER}),
        ("/api/retrain/trigger", {"data": {"a": "b"}, "headers": BROWSER}),
        ("/retrain/start", {"data": {"a": "b"}, "headers": {**BROWSER, "Accept": "application/json, text/html;q=0.5"}}),
    ],
)
def test_api_clients_get_the_problem(keyed: FlaskClient, path: str, more: dict[str, Any]) -> None:
    require_problem(keyed.post(path, **more), 401)


def test_another_sites_form_gets_the_problem(keyed: FlaskClient) -> None:
    headers = {**BROWSER, "Origin": "https://evil.example"}
    require_problem(keyed.post("/session", data={"key": KEY}, headers=headers), 403)


def test_a_form_that_is_too_large_is_reported_on_the_page(bundled: Settings) -> None:
    _, client = client_of(bundled, max_request_bytes=1000, max_upload_bytes=1000)
    form = {"image": (io.BytesIO(b"x" * 2000), "cat.jpg")}
    refused = client.post("/", data=form, headers=BROWSER, content_type="multipart/form-data")
    require_page(refused, 413, "Too large to upload", 'href="/?tab=predict"')


def test_a_full_disk_during_an_upload_is_reported_on_the_page(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        form = {"category": "cats", "files[]": (io.BytesIO(encode(draw("cat", 1))), "cat.jpg")}
        refused = client.post("/retrain/upload", data=form, headers=BROWSER)
    assert (refused.status_code, refused.mimetype) == (507, "text/html")
    assert "disk is full" in refused.text


def test_a_page_that_fails_to_render_keeps_the_problem(keyed: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> str:
        raise RuntimeError("no such template")

    monkeypatch.setattr("catdog.web.pages.problems.show_problem", broken)
    require_problem(keyed.post("/session", data={"key": "another"}, headers=BROWSER), 401, "Invalid API key")


@pytest.mark.browser
def test_a_browser_without_scripts_shows_it_and_leads_back(home: Settings, open_page: OpenPage) -> None:
    with serving(load_settings(home=home.home, tracking=False, api_key=KEY)) as address:
        page = open_page("/", address=address, javascript=False, expected={401})
        page.get_by_text("Sign in", exact=True).first.click()
        page.get_by_label("API key").fill("another")
        page.get_by_role("button", name="Sign in").click()
        alert = page.get_by_role("alert").filter(has_text="Unauthorized")
        assert "Invalid API key." in alert.inner_text()
        assert page.title() == "Unauthorized · catdog"
        alert.get_by_role("link", name="Back to Predict").click()
        assert page.get_by_role("button", name="Classify").is_visible()
        page.get_by_text("Sign in", exact=True).first.click()
        page.get_by_label("API key").fill(KEY)
        page.get_by_role("button", name="Sign in").click()
        assert page.get_by_text("Signed in").is_visible()
