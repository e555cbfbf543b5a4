"""Who may change something, on every route that changes something."""

import re

import pytest
from access import KEY, OWN, changing, client_of, is_reached, require_refusal, routes, sign_in
from answers import require_problem
from apiflask import APIFlask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from catdog.settings import Settings
from catdog.web.routes import seal
from catdog.web.security.access import HEADERS
from catdog.web.security.origins import is_loopback
from catdog.web.security.permissions import needs_permission, open_to_all


def test_with_a_key_the_key_is_needed(bundled: Settings) -> None:
    app, client = client_of(bundled, api_key=KEY, host="0.0.0.0")
    for method, path in routes(app)["closed"]:
        response = client.open(path, method=method)
        require_refusal(response, 401, "X-API-Key")
        assert "Bearer" in response.headers["WWW-Authenticate"]
        for headers in ({"X-API-Key": "wrong"}, {"Authorization": "Bearer ü"}, {"Authorization": f"Basic {KEY}"}):
            require_refusal(client.open(path, method=method, headers=headers), 401)
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

        require_problem(ask(), 403, "X-CSRF-Token", "missing")
        require_problem(ask(Origin=OWN), 403, "X-CSRF-Token")
        require_problem(ask(X_CSRF_Token="another"), 403, "wrong")
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
        require_problem(client.open(path, method=method, data={"csrf_token": "ü"}), 403, "wrong")


def test_without_a_key_nobody_outside_may(bundled: Settings) -> None:
    for settings in ({"host": "0.0.0.0"}, {"port": 8000}, {"host": "192.0.2.1"}, {"host": "::"}):
        app, client = client_of(bundled, **settings)
        for method, path in routes(app)["closed"]:
            for headers in ({}, {"X-API-Key": KEY}):
                require_refusal(client.open(path, method=method, headers=headers), 403, "CATDOG_API_KEY")


@pytest.mark.parametrize(
    "outside",
    [
        {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}},
        {"environ_overrides": {"SERVER_NAME": "0.0.0.0"}},
        {"headers": {"X-Forwarded-For": "192.0.2.7"}},
        {"headers": {"X-Forwarded-For": "127.0.0.1"}},
        {"headers": {"X-Forwarded-Proto": "https"}},
        {"headers": {"Via": "1.1 proxy"}},
        {"environ_overrides": {"SERVER_PROTOCOL": "HTTP/1.0"}},
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
    for method, path in routes(app)["closed"]:
        assert is_reached(client.open(path, method=method))
        assert is_reached(client.open(path, method=method, headers={"Origin": OWN}))
        response = client.open(path, method=method, **outside)
        assert response.status_code in (400, 403), response.text


@pytest.fixture(scope="module")
def local_apps(bundled: Settings) -> dict[int, tuple[APIFlask, FlaskClient]]:
    """Apps without a key on the own machine, by how many proxies they trust."""
    return {trusted: client_of(bundled, trusted_proxies=trusted) for trusted in (0, 1, 2)}


def test_predicting_and_viewing_is_open_to_all(bundled: Settings) -> None:
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


def test_a_request_keeps_its_id(bundled: Settings) -> None:
    _, client = client_of(bundled)
    assert client.get("/nope", headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"] == "abc-1"
    assert client.get("/nope", headers={"X-Request-ID": "<b>"}).headers["X-Request-ID"] != "<b>"


def test_loopback_addresses() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "", None, "192.0.2.1", "example.org", "127.0.0.1.example.org")))


NAMES = """
    Forwarded Via X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Ssl X-Forwarded-Scheme X-Forwarded-Uri
    X-Forwarded-Client-Cert X-Forwarded-By X-Forwarded-Anything X-Forwarded X-Forward-For Forwarded-For Forwarded-Proto
    X-Original-For X-Original-Forwarded-For X-Original-Host X-Original-URL X-Original-URI X-Originating-IP X-Rewrite-URL
    X-Real-IP X-Real-Port True-Client-IP X-True-Client-IP Client-IP X-Client-IP X-Client-Cert Client-Cert
    X-Cluster-Client-IP X-Remote-Addr X-Remote-IP Remote-User X-ProxyUser-Ip X-Proxy-ID X-Coming-From
    CF-Connecting-IP CF-Ray CF-Visitor CF-IPCountry CF-Worker CDN-Loop X-CDN-Src-IP Akamai-Origin-Hop
    X-Akamai-Edgescape Fastly-Client-IP Fastly-FF X-Varnish Surrogate-Capability CloudFront-Viewer-Country X-Amz-Cf-Id
    X-Amzn-Trace-Id X-Cloud-Trace-Context X-GFE-Request-Trace X-Appengine-Country X-Goog-IAP-JWT-Assertion
    X-Azure-ClientIP X-Azure-FDID X-Azure-Ref X-ARR-LOG-ID X-ARR-SSL X-WAWS-Unencoded-URL Disguised-Host
    X-MS-Client-Principal Fly-Client-IP Fly-Forwarded-Port Fly-Region X-Vercel-Id X-Vercel-Forwarded-For
    X-NF-Client-Connection-IP Rndr-Id X-Railway-Edge Ngrok-Agent-Ips Tailscale-User-Login X-Envoy-External-Address
    X-Envoy-Internal X-Envoy-Expected-Rq-Timeout-Ms X-Request-Start X-Queue-Start X-Scheme X-Host X-Port X-Proto
    X-Forwarded-Port X-Url-Scheme X-SSL-Client-Verify SSL-Client-Cert Front-End-Https WL-Proxy-Client-IP
    WL-Proxy-SSL Proxy-Client-IP Proxy-Connection X-Sendfile-Type X-Accel-Mapping X-Nginx-Proxy X-Auth-Request-User
    DO-Connecting-IP X-Bluecoat-Via X-GitHub-Request-Id X-Replaced-Path X-Traefik X-Traefik-Router Max-Forwards
    X-IMForwards Acme-Connecting-IP Acme-Client-IP Acme-Real-IP X-Acme-Client-IP-Country X-Acme-ClientIP X-Acme-IPs
    X-Acme-Forwarded-For Acme-Forwarded X-AcmeForwarded-For X-Acme-Via X-Acme-Via-Host X-Acme-Original-URI
    Acme-Original-Host X-Acme-Replaced-Query X-Acme-Remote-Addr X-Acme-Proxy X-Acme-Proxied X-Kong-Request-Id
    X-Consumer-Username X-Gateway-Id
    Ali-Cdn-Real-Ip EagleEye-TraceId Incap-Client-IP X-Sucuri-ClientIP Early-Data X-Haproxy-Current-Date
"""
"""What proxies, content networks, balancers and tunnels add to a request, by their documentation."""

CLIENTS = [
    {"User-Agent": "curl/8.5.0", "Accept": "*/*"},
    {"User-Agent": "python-requests/2.32", "Accept-Encoding": "gzip", "Accept": "*/*", "Connection": "keep-alive"},
    {"User-Agent": "python-urllib3/2.5.0", "Accept-Encoding": "identity", "Inference-Header-Content-Length": "90"},
    {
        "User-Agent": "Mozilla/5.0", "Accept": "text/html", "Accept-Language": "en", "Accept-Encoding": "gzip, br",
        "Pragma": "no-cache", "Sec-GPC": "1", "Upgrade-Insecure-Requests": "1", "Priority": "u=0, i",
        "Sec-CH-UA": '"Chromium";v="130"', "Sec-CH-UA-Mobile": "?0", "Sec-CH-UA-Platform": '"Linux"', "Save-Data": "on",
        "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin", "DNT": "1",
        "Sec-Fetch-User": "?1", "If-None-Match": "x", "Cookie": "a=b", "Referer": f"{OWN}/", "X-Requested-With": "x",
    },
    {"User-Agent": "kiosk/1", "X-Requested-By": "kiosk", "X-Correlation-ID": "1", "X-Trip": "1", "X-Device-Id": "1",
     "X-Viability": "1", "Equip": "1", "Device-Memory": "8", "Sec-WebSocket-Key": "x"},
    {"User-Agent": "okhttp/4.12", "traceparent": "00-1-2-01", "X-B3-TraceId": "1", "X-Request-ID": "1", "Expect": ""},
]  # fmt: skip
"""What clients send of themselves, directly."""


def test_the_marks_of_proxies_and_tunnels_are_known(local_apps: dict[int, tuple[APIFlask, FlaskClient]]) -> None:
    app, client = local_apps[0]
    routes(app)
    for mark in NAMES.split():
        response = client.post("/api/models/rollback", headers={mark: "1"})
        assert response.status_code == 403, mark
        require_problem(response, 403, "came through a proxy", "CATDOG_API_KEY")


def test_direct_clients_are_never_taken_for_a_proxy(local_apps: dict[int, tuple[APIFlask, FlaskClient]]) -> None:
    app, client = local_apps[0]
    routes(app)
    for headers in CLIENTS:
        assert is_reached(client.post("/api/models/rollback", headers=headers)), headers


def test_an_exposed_server_says_why_its_own_machine_may_not_change_it(bundled: Settings) -> None:
    for settings, setting in (({"host": "0.0.0.0"}, "CATDOG_HOST"), ({"port": 8000}, "PORT without CATDOG_HOST")):
        _, client = client_of(bundled, **settings)
        response = client.post("/api/models/rollback")
        problem = require_problem(response, 403, "isn't allowed from any machine", setting, "CATDOG_HOST=127.0.0.1")
        assert "only its own machine" not in problem["error"]
        for tab in ("retrain", "status"):
            assert "CATDOG_HOST" in client.get(f"/tabs/{tab}").text


def test_a_route_that_does_not_say_who_may_call_it_stops_the_start(bundled: Settings) -> None:
    app, client = client_of(bundled, api_key=KEY)
    app.add_url_rule("/added", "added", lambda: {"reached": True})
    with pytest.raises(RuntimeError, match=r"Missing on: \['added'\]"):
        seal(app)
    require_problem(client.get("/added"), 401)  # until then it's closed
    app.view_functions["added"] = needs_permission(lambda: {"reached": True})
    seal(app)
    require_problem(client.get("/added"), 401)
    app.view_functions["added"] = open_to_all(lambda: {"reached": True})
    seal(app)
    assert is_reached(client.get("/added"))


def test_the_description_of_the_api_says_which_routes_need_permission(bundled: Settings) -> None:
    app, client = client_of(bundled)
    found = {
        (method.upper(), re.sub("{[^}]*}", "x", path.replace("{version}", "99").replace("{number}", "99")))
        for path, operations in client.get("/api/openapi.json").json["paths"].items()
        for method, operation in operations.items()
        if operation.get("security")
    }
    closed = {(m, p) for m, p in routes(app)["closed"] if m != "HEAD" and not p.startswith("/retrain/")}
    assert found == closed
