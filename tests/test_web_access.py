"""Who may change something, on every route that changes something."""

import re

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from test_web_api import require_problem

from catdog.settings import Settings, load_settings
from catdog.web.access import HEADERS, OPEN_ENDPOINTS, SAFE_METHODS, is_loopback
from catdog.web.application import create_app

KEY = "k" * 16


def changing(app: APIFlask) -> list[tuple[str, str]]:
    """List method and path of each route that needs permission."""
    found = [
        (method, re.sub(r"<[^>]+>", "99", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.endpoint not in OPEN_ENDPOINTS
        for method in sorted((rule.methods or set()) - SAFE_METHODS)
    ]
    assert len(found) >= 2
    return found


def client_of(home: Settings, **settings: object) -> tuple[APIFlask, FlaskClient]:
    app = create_app(load_settings(home=home.home, **settings))
    app.extensions["catdog"].stop()
    return app, app.test_client()


def test_with_a_key_the_key_is_needed(home: Settings) -> None:
    app, client = client_of(home, api_key=KEY, host="0.0.0.0")
    for method, path in changing(app):
        response = client.open(path, method=method)
        require_problem(response, 401, "X-API-Key")
        assert "Bearer" in response.headers["WWW-Authenticate"]
        for headers in ({"X-API-Key": "wrong"}, {"Authorization": "Bearer ü"}, {"Authorization": f"Basic {KEY}"}):
            require_problem(client.open(path, method=method, headers=headers), 401)
        for headers in ({"X-API-Key": KEY}, {"Authorization": f"bearer {KEY}"}):
            assert client.open(path, method=method, headers=headers).status_code in (400, 404, 409)


def test_without_a_key_nobody_outside_may(home: Settings) -> None:
    for settings in ({"host": "0.0.0.0"}, {"port": 8000}, {"host": "192.0.2.1"}, {"host": "::"}):
        app, client = client_of(home, **settings)
        for method, path in changing(app):
            for headers in ({}, {"X-API-Key": KEY}):
                require_problem(client.open(path, method=method, headers=headers), 403, "CATDOG_API_KEY")


@pytest.mark.parametrize(
    "outside",
    [
        {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}},
        {"environ_overrides": {"SERVER_NAME": "0.0.0.0"}},
        {"headers": {"X-Forwarded-For": "192.0.2.7"}},
        {"headers": {"Host": "rebound.example"}},
        {"headers": {"Host": "[broken"}},
        {"headers": {"Origin": "https://elsewhere.example"}},
        {"headers": {"Origin": "null"}},
    ],
    ids=str,
)
def test_whoever_comes_from_elsewhere_is_outside(home: Settings, outside: dict[str, object]) -> None:
    app, client = client_of(home)
    for method, path in changing(app):
        assert client.open(path, method=method).status_code in (400, 404, 409)
        response = client.open(path, method=method, **outside)
        assert response.status_code in (400, 403), response.text


def test_predicting_and_looking_is_open_to_all(home: Settings) -> None:
    _, client = client_of(home, host="0.0.0.0")
    assert client.post("/api/predict").status_code == 400
    assert client.get("/api/models").status_code == 200


def test_every_answer_has_the_headers(client: FlaskClient) -> None:
    for response in (client.get("/"), client.get("/api/health"), client.get("/nope"), client.post("/api/predict")):
        assert HEADERS.items() <= dict(response.headers).items()
        assert "Access-Control-Allow-Origin" not in response.headers
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy


def test_a_request_keeps_the_name_it_brings(client: FlaskClient) -> None:
    assert client.get("/nope", headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"] == "abc-1"
    assert client.get("/nope", headers={"X-Request-ID": "<b>"}).headers["X-Request-ID"] != "<b>"


def test_which_addresses_are_this_machine() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "", None, "192.0.2.1", "example.org", "127.0.0.1.example.org")))
