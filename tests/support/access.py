"""Routes by who may call them, and clients that sign in."""

import re

from answers import require_problem
from apiflask import APIFlask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from catdog.settings import Settings, load_settings
from catdog.web.app import create_app
from catdog.web.routes import Access, table_of
from catdog.web.security.permissions import SAFE_METHODS

KEY = "k" * 16
OWN = "http://localhost"


def routes(app: APIFlask) -> dict[str, list[tuple[str, str]]]:
    """List method and path of each route, by who may call it; what the closed ones do is made harmless."""
    found: dict[str, list[tuple[str, str]]] = {access.value: [] for access in Access}
    table = table_of(app)
    assert table is not None
    for rule in app.url_map.iter_rules():
        path = re.sub("<[^>]*>", "x", re.sub("<int:[^>]*>", "99", rule.rule))
        methods = sorted((rule.methods or set()) - {"OPTIONS"})
        access = table.of(rule.endpoint).access
        assert access is not None
        found[access.value] += [(method, path) for method in methods]
        if access is Access.CLOSED:
            app.view_functions[rule.endpoint] = lambda **_: {"reached": True}
    assert {("POST", "/api/models/99/promote"), ("GET", "/api/models/99/download")} <= set(found["closed"])
    return found


def changing(app: APIFlask) -> list[tuple[str, str]]:
    """List method and path of each route that changes something; what they do is made harmless.

    Signing in is not among them: it is how one gets permission.
    """
    return [(method, path) for method, path in routes(app)["closed"] if method not in SAFE_METHODS]


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
    is_head = response.request.environ["REQUEST_METHOD"] == "HEAD"
    return response.status_code == 200 and (is_head or response.json == {"reached": True})


def require_refusal(response: TestResponse, status: int, *parts: str) -> None:
    """Check a refusal; the answer to HEAD has no body."""
    if response.request.environ["REQUEST_METHOD"] == "HEAD":
        assert (response.status_code, response.data) == (status, b"")
    else:
        require_problem(response, status, *parts)
