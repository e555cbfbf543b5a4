"""Who may change something, on every route that changes something."""

import re

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from test_web_api import require_problem
from werkzeug.test import TestResponse

from catdog.settings import Settings, load_settings
from catdog.web.access import HEADERS, OPEN_ENDPOINTS, SAFE_METHODS, SIGN_IN
from catdog.web.application import create_app
from catdog.web.origins import is_loopback

KEY = "k" * 16
OWN = "http://localhost"


def changing(app: APIFlask) -> list[tuple[str, str]]:
    """List method and path of each route that needs permission; what they do is made harmless.

    Signing in is not among them: it is how one gets permission.
    """
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint not in OPEN_ENDPOINTS | {SIGN_IN}]
    found = [
        (method, re.sub("<[^>]*>", "x", re.sub("<int:[^>]*>", "99", rule.rule)))
        for rule in rules
        for method in sorted((rule.methods or set()) - SAFE_METHODS)
    ]
    assert {("POST", "/api/models/99/promote"), ("POST", "/api/models/rollback")} <= set(found)
    for rule in rules:
        if (rule.methods or set()) - SAFE_METHODS:
            app.view_functions[rule.endpoint] = lambda **_: {"reached": True}
    return found


def client_of(settings: Settings, **changes: object) -> tuple[APIFlask, FlaskClient]:
    """Make an app on the home of `settings` that counts nothing, and a client on the same machine."""
    changes = {"rate_limit_keys": "off", "rate_limit_changes": "off", **changes}
    app = create_app(load_settings(home=settings.home, **changes))
    app.extensions["catdog"].stop()
    return app, app.test_client()


def sign_in(client: FlaskClient, key: str = KEY, **more: object) -> str:
    """Sign in as a script does; gives the token."""
    response = client.post("/session", json={"key": key}, **more)
    assert response.status_code == 200, response.text
    assert response.json["signed_in"] is True
    return str(response.json["csrf_token"])


def is_reached(response: TestResponse) -> bool:
    return response.status_code == 200 and response.json == {"reached": True}


def test_with_a_key_the_key_is_needed(bundled: Settings) -> None:
    app, client = client_of(bundled, api_key=KEY, host="0.0.0.0")
    for method, path in changing(app):
        response = client.open(path, method=method)
        require_problem(response, 401, "X-API-Key")
        assert "Bearer" in response.headers["WWW-Authenticate"]
        for headers in ({"X-API-Key": "wrong"}, {"Authorization": "Bearer ü"}, {"Authorization": f"Basic {KEY}"}):
            require_problem(client.open(path, method=method, headers=headers), 401)
        for headers in ({"X-API-Key": KEY}, {"Authorization": f"bearer {KEY}"}):
            assert is_reached(client.open(path, method=method, headers=headers))
            foreign = headers | {"Origin": "https://elsewhere.example"}  # whoever has the key may be anywhere
            assert is_reached(client.open(path, method=method, headers=foreign))


def test_with_a_cookie_the_token_and_the_own_site_are_needed(bundled: Settings) -> None:
    app, client = client_of(bundled, api_key=KEY, host="0.0.0.0")
    routes = changing(app)
    token = {"X-CSRF-Token": sign_in(client)}
    for method, path in routes:

        def ask(method: str = method, path: str = path, **headers: str) -> TestResponse:
            return client.open(path, method=method, headers={n.replace("_", "-"): v for n, v in headers.items()})

        require_problem(ask(), 403, "X-CSRF-Token", "no token")
        require_problem(ask(Origin=OWN), 403, "X-CSRF-Token")
        require_problem(ask(X_CSRF_Token="another"), 403, "another one")
        assert is_reached(ask(**token))
        assert is_reached(ask(**token, Origin=OWN))
        assert is_reached(ask(**token, Referer=f"{OWN}/page?x=1"))
        assert is_reached(ask(**token, Origin="null", Sec_Fetch_Site="same-origin"))
        for wrong in ("https://elsewhere.example", f"{OWN}:81", f"{OWN}.elsewhere.example", "null", "http://[broken"):
            require_problem(ask(**token, Origin=wrong), 403, "another site", wrong)
            require_problem(ask(**token, Referer=wrong), 403, "another site", wrong)
        require_problem(ask(**token, Origin="null", Sec_Fetch_Site="cross-site"), 403, "another site")
        require_problem(ask(**token, X_API_Key="wrong"), 401)
        form = {"csrf_token": token["X-CSRF-Token"]}
        assert is_reached(client.open(path, method=method, data=form))
        require_problem(client.open(path, method=method, data={"csrf_token": "ü"}), 403, "another one")


def test_without_a_key_nobody_outside_may(bundled: Settings) -> None:
    for settings in ({"host": "0.0.0.0"}, {"port": 8000}, {"host": "192.0.2.1"}, {"host": "::"}):
        app, client = client_of(bundled, **settings)
        for method, path in changing(app):
            for headers in ({}, {"X-API-Key": KEY}):
                require_problem(client.open(path, method=method, headers=headers), 403, "CATDOG_API_KEY")


@pytest.mark.parametrize(
    "outside",
    [
        {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}},
        {"environ_overrides": {"SERVER_NAME": "0.0.0.0"}},
        {"headers": {"X-Forwarded-For": "192.0.2.7"}},
        {"headers": {"X-Forwarded-For": "127.0.0.1"}},
        {"headers": {"X-Forwarded-Proto": "https"}},
        {"headers": {"Via": "1.1 proxy"}},
        {"headers": {"Host": "rebound.example"}},
        {"headers": {"Host": "[broken"}},
        {"headers": {"Origin": "https://elsewhere.example"}},
        {"headers": {"Origin": "null"}},
        {"headers": {"Referer": "https://elsewhere.example/page"}},
        {"headers": {"Sec-Fetch-Site": "cross-site"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("trusted", [0, 1, 2])
def test_whoever_comes_from_elsewhere_is_outside(
    local_apps: dict[int, tuple[APIFlask, FlaskClient]], outside: dict[str, object], trusted: int
) -> None:
    app, client = local_apps[trusted]
    for method, path in changing(app):
        assert is_reached(client.open(path, method=method))
        assert is_reached(client.open(path, method=method, headers={"Origin": OWN}))
        response = client.open(path, method=method, **outside)
        assert response.status_code in (400, 403), response.text


@pytest.fixture(scope="module")
def local_apps(bundled: Settings) -> dict[int, tuple[APIFlask, FlaskClient]]:
    """Apps without a key on the own machine, by how many proxies they trust."""
    return {trusted: client_of(bundled, trusted_proxies=trusted) for trusted in (0, 1, 2)}


def test_predicting_and_looking_is_open_to_all(bundled: Settings) -> None:
    _, client = client_of(bundled, host="0.0.0.0")
    assert client.post("/api/predict").status_code == 400
    assert client.get("/api/models").status_code == 200


def test_every_answer_has_the_headers(bundled: Settings) -> None:
    _, client = client_of(bundled)
    for response in (client.get("/"), client.get("/api/health"), client.get("/nope"), client.post("/api/predict")):
        assert HEADERS.items() <= dict(response.headers).items()
        assert "Access-Control-Allow-Origin" not in response.headers
        assert "Set-Cookie" not in response.headers
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy


def test_a_request_keeps_the_name_it_brings(bundled: Settings) -> None:
    _, client = client_of(bundled)
    assert client.get("/nope", headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"] == "abc-1"
    assert client.get("/nope", headers={"X-Request-ID": "<b>"}).headers["X-Request-ID"] != "<b>"


def test_which_addresses_are_this_machine() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "", None, "192.0.2.1", "example.org", "127.0.0.1.example.org")))
