"""Which other sites' pages may read what the API answers."""

import pytest
from access import KEY, client_of
from answers import require_problem
from flask.testing import FlaskClient

from catdog.errors import SettingsError
from catdog.settings import Settings, load_settings

SITE = "https://pets.example"
OTHER = "https://elsewhere.example"


def allowed(client: FlaskClient, path: str, origin: str) -> str | None:
    return client.get(path, headers={"Origin": origin}).headers.get("Access-Control-Allow-Origin")


def preflight(client: FlaskClient, path: str, origin: str) -> dict[str, str]:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type, x-api-key"}
    response = client.options(path, headers={"Origin": origin, **asked})
    assert response.status_code == 200
    return {name: value for name, value in response.headers.items() if name.startswith("Access-Control")}


def test_no_site_may_unless_set(bundled: Settings) -> None:
    _, client = client_of(bundled)
    for path in ("/api/health", "/", "/nope", "/api/nope"):
        assert allowed(client, path, SITE) is None
    assert preflight(client, "/api/predict", SITE) == {}


def test_the_sites_that_are_set_may_use_the_api(bundled: Settings) -> None:
    _, client = client_of(bundled, api_key=KEY, cors_origins=f"{SITE}, http://localhost:3000")
    for path in ("/api/health", "/api/nope", "/api/session"):
        assert allowed(client, path, SITE) == SITE
        assert allowed(client, path, "http://localhost:3000") == "http://localhost:3000"
        for other in (OTHER, f"{SITE}.elsewhere.example", f"{SITE}:8443", "null", "http://localhost:30001"):
            assert allowed(client, path, other) is None
    assert allowed(client, "/", SITE) is None
    found = preflight(client, "/api/models/rollback", SITE)
    assert found["Access-Control-Allow-Origin"] == SITE
    assert "POST" in found["Access-Control-Allow-Methods"]
    assert {"content-type", "x-api-key"} <= set(found["Access-Control-Allow-Headers"].casefold().split(", "))
    assert "Access-Control-Allow-Credentials" not in found
    assert preflight(client, "/api/models/rollback", OTHER) == {}
    # Its pages need the key like everybody else, and a cookie does not count for them.
    require_problem(client.post("/api/models/rollback", headers={"Origin": SITE}), 401)
    response = client.post("/api/models/99/promote", headers={"Origin": SITE, "X-API-Key": KEY})
    require_problem(response, 404)
    assert response.headers["Access-Control-Allow-Origin"] == SITE


def test_all_sites_may_never_with_cookies(bundled: Settings) -> None:
    _, client = client_of(bundled, cors_origins="*")
    response = client.get("/api/health", headers={"Origin": OTHER})
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in response.headers
    require_problem(client.post("/api/models/rollback", headers={"Origin": OTHER}), 403)


@pytest.mark.parametrize("value", ["pets.example", "https://*.example", f"{SITE}/path", f"{SITE}, *", "https://a.b:x"])
def test_an_invalid_origin_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="CATDOG_CORS_ORIGINS"):
        load_settings(cors_origins=value)
