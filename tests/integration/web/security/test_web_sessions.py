"""Signing in on the page: the cookie, what ends it, and what it does not do."""

import itsdangerous
import pytest
from access import KEY, OWN, client_of, is_reached, sign_in
from access import changing as changing_routes
from answers import require_problem
from flask.testing import FlaskClient

from catdog.settings import Settings

HOUR = 3600


@pytest.fixture
def keyed(bundled: Settings) -> FlaskClient:
    """A client of a server with a key, whose changing routes are harmless."""
    app, client = client_of(bundled, api_key=KEY, host="0.0.0.0", session_hours=2)
    changing_routes(app)
    return client


def cookie_of(client: FlaskClient, **more: object) -> str:
    response = client.post("/session", data={"key": KEY}, **more)
    assert (response.status_code, response.headers["Location"]) == (303, "/")
    return response.headers["Set-Cookie"]


def may_change(client: FlaskClient, token: str) -> bool:
    response = client.post("/api/models/rollback", headers={"X-CSRF-Token": token})
    assert response.status_code in (200, 401)
    return is_reached(response)


def test_the_cookie_is_for_this_site_and_no_script(keyed: FlaskClient) -> None:
    cookie = cookie_of(keyed)
    assert cookie.startswith("catdog_session=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert "Expires=" in cookie
    assert KEY not in cookie


@pytest.mark.parametrize(
    ("trusted", "request_like", "secure"),
    [
        (0, {}, False),
        (0, {"base_url": "https://localhost"}, True),
        (0, {"headers": {"X-Forwarded-Proto": "https"}}, False),
        (1, {"headers": {"X-Forwarded-Proto": "https"}}, True),
        (1, {"headers": {"X-Forwarded-Proto": "https,http"}}, False),
        (2, {"headers": {"X-Forwarded-Proto": "https,http"}}, True),
    ],
)
def test_the_cookie_is_secure_under_tls(
    bundled: Settings, trusted: int, request_like: dict[str, object], secure: bool
) -> None:
    _, client = client_of(bundled, api_key=KEY, trusted_proxies=trusted)
    assert ("Secure" in cookie_of(client, **request_like).split("; ")) is secure


def test_under_tls_a_page_without_it_is_another_site(keyed: FlaskClient) -> None:
    tls = {"base_url": "https://localhost"}
    require_problem(keyed.post("/session", json={"key": KEY}, headers={"Origin": OWN}, **tls), 403, "another site")
    assert keyed.post("/session", json={"key": KEY}, headers={"Origin": "https://localhost"}, **tls).status_code == 200


def test_signing_in_and_out(keyed: FlaskClient) -> None:
    assert keyed.get("/api/session").json == {"key_needed": True, "signed_in": False, "csrf_token": None}
    token = sign_in(keyed)
    assert keyed.get("/api/session").json == {"key_needed": True, "signed_in": True, "csrf_token": token}
    assert may_change(keyed, token)
    assert sign_in(keyed) != token


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_signing_out_takes_the_cookie(bundled: Settings, method: str) -> None:
    _, client = client_of(bundled, api_key=KEY)
    token = sign_in(client)
    require_problem(client.open("/session/end", method=method), 403, "X-CSRF-Token")
    ended = client.open("/session/end", method=method, headers={"X-CSRF-Token": token})
    assert ended.json == {"key_needed": True, "signed_in": False, "csrf_token": None}
    assert client.get("/api/session").json["signed_in"] is False
    token = sign_in(client)
    form = client.open("/session/end", method=method, data={"csrf_token": token})
    assert (form.status_code, client.get("/api/session").json["signed_in"]) == (303, False)


@pytest.mark.parametrize(
    ("send", "status"),
    [
        ({"json": {"key": "wrong"}}, 401),
        ({"data": {"key": "wrong"}}, 401),
        ({"json": {"key": "\ud800"}}, 400),
        ({"json": {"key": 5}}, 400),
        ({"json": [KEY]}, 400),
        ({"json": {}}, 400),
        ({"data": {"key": ""}}, 400),
        ({"data": b"{", "content_type": "application/json"}, 400),
        ({"data": KEY.encode(), "content_type": "text/plain"}, 415),
        ({}, 415),
        ({"json": {"key": KEY}, "headers": {"Origin": "https://elsewhere.example"}}, 403),
        ({"json": {"key": KEY}, "headers": {"Referer": "https://elsewhere.example/x"}}, 403),
    ],
    ids=str,
)
def test_without_the_key_nobody_is_signed_in(keyed: FlaskClient, send: dict[str, object], status: int) -> None:
    response = keyed.post("/session", **send)
    require_problem(response, status)
    assert "Set-Cookie" not in response.headers
    assert KEY not in response.text


def test_a_session_ends_with_its_hours(keyed: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    now = itsdangerous.TimestampSigner.get_timestamp
    for hours, is_good in ((1, True), (3, False)):
        with monkeypatch.context() as patch:
            patch.setattr(itsdangerous.TimestampSigner, "get_timestamp", lambda s, h=hours: now(s) - h * HOUR)
            token = sign_in(keyed)
        assert may_change(keyed, token) is is_good


def test_a_session_lives_in_every_process_and_ends_with_the_key(bundled: Settings) -> None:
    _, first = client_of(bundled, api_key=KEY)
    token = sign_in(first)
    cookie = first.get_cookie("catdog_session")
    assert cookie
    for key, is_good in ((KEY, True), (KEY + "2", False)):
        app, other = client_of(bundled, api_key=key)  # another process, or this one after a restart
        changing_routes(app)
        other.set_cookie("catdog_session", cookie.value)
        assert other.get("/api/session").json["signed_in"] is is_good
        assert may_change(other, token) is is_good
    payload, _, signature = cookie.value.rpartition(".")
    changed = ("A" if signature[0] != "A" else "B") + signature[1:]
    for forged in (f"{payload}.{changed}", f"A{payload}.{signature}", signature, "rubbish"):
        first.set_cookie("catdog_session", forged)
        assert first.get("/api/session").json["signed_in"] is False


def test_without_a_key_there_is_nothing_to_sign_in_with(bundled: Settings) -> None:
    _, client = client_of(bundled)
    assert client.get("/api/session").json == {"key_needed": False, "signed_in": False, "csrf_token": None}
    require_problem(client.post("/session", json={"key": KEY}), 403, "CATDOG_API_KEY")
    assert client.post("/session/end").json["signed_in"] is False
