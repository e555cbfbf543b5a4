"""How often an address may ask, what is not counted, and what happens without Redis."""

import logging
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from access import KEY, changing, require_refusal, routes, sign_in
from answers import require_problem
from apiflask import APIFlask
from flask.testing import FlaskClient
from servers import free_port

from catdog.settings import Settings, load_settings
from catdog.web.app import create_app

OUTSIDE = {"REMOTE_ADDR": "192.0.2.7"}
PROXIED = {"X-Forwarded-For": "192.0.2.7"}


def limited(settings: Settings, **changes: object) -> tuple[APIFlask, FlaskClient]:
    app = create_app(load_settings(home=settings.home, **changes))
    app.extensions["catdog"].stop()
    return app, app.test_client()


def statuses(client: FlaskClient, times: int, path: str = "/api/session", **more: object) -> list[int]:
    method = str(more.pop("method", "GET"))
    return [client.open(path, method=method, **more).status_code for _ in range(times)]


def test_over_the_limit_is_told_when_to_come_again(bundled: Settings) -> None:
    _, client = limited(bundled, rate_limit="3/minute", host="0.0.0.0")
    assert statuses(client, 3, "/api/predict", method="POST", environ_base=OUTSIDE) == [400] * 3
    for path in ("/api/predict", "/api/stats", "/"):  # counted together
        response = (
            client.get(path, environ_base=OUTSIDE)
            if path != "/api/predict"
            else client.post(path, environ_base=OUTSIDE)
        )
        problem = require_problem(response, 429, "CATDOG_RATE_LIMIT", "3 in 60 seconds")
        wait = int(response.headers["Retry-After"])
        assert 1 <= wait <= 61
        assert f"{wait} seconds" in problem["error"]
    assert client.get("/api/session", environ_base={"REMOTE_ADDR": "192.0.2.8"}).status_code == 200


def test_after_the_wait_it_answers_again(bundled: Settings) -> None:
    _, client = limited(bundled, rate_limit="2/second", host="0.0.0.0")
    found = statuses(client, 40, environ_base=OUTSIDE)
    assert {200, 429} == set(found)
    time.sleep(1.1)
    assert statuses(client, 1, environ_base=OUTSIDE) == [200]


def test_monitoring_requests_are_not_counted(bundled: Settings) -> None:
    _, client = limited(bundled, rate_limit="1/day", host="0.0.0.0")
    assert statuses(client, 2, environ_base=OUTSIDE) == [200, 429]
    for path in ("/livez", "/readyz", "/api/health", "/static/x/css/base.css"):
        assert statuses(client, 3, path, environ_base=OUTSIDE) == [200] * 3
    assert statuses(client, 3, "/nope", environ_base=OUTSIDE) == [404] * 3


def test_clients_on_this_machine_are_limited_only_if_set(bundled: Settings) -> None:
    _, client = limited(bundled, rate_limit="1/day")
    assert statuses(client, 3) == [200] * 3
    assert statuses(client, 3, headers=PROXIED) == [200, 429, 429]  # that is not one of this machine
    _, client = limited(bundled, rate_limit="1/day", rate_limit_changes="2/day", rate_limit_local=True)
    assert statuses(client, 3) == [200, 429, 429]
    assert statuses(client, 3, "/api/models/99/promote", method="POST") == [404, 404, 429]


def test_what_a_client_says_of_itself_is_believed_from_trusted_proxies_only(bundled: Settings) -> None:
    def ask(client: FlaskClient, forwarded: str) -> int:
        return client.get("/api/session", headers={"X-Forwarded-For": forwarded}).status_code

    _, client = limited(bundled, rate_limit="1/day")
    assert [ask(client, f"192.0.2.{i}") for i in (1, 2, 3)] == [200, 429, 429]
    require_problem(client.get("/api/session", headers=PROXIED), 429, "CATDOG_TRUSTED_PROXIES")
    _, client = limited(bundled, rate_limit="1/day", trusted_proxies=1)
    # The last address is the one that the proxy saw; those before it are what the client wrote.
    assert [ask(client, f"198.51.100.{i}, 192.0.2.1") for i in (1, 2)] == [200, 429]
    assert ask(client, "192.0.2.2") == 200
    _, client = limited(bundled, rate_limit="1/day", trusted_proxies=2)
    assert [ask(client, f"10.9.9.9, 198.51.100.{i}, 192.0.2.1") for i in (1, 2, 1)] == [200, 200, 429]


def test_all_addresses_of_one_ipv6_network_are_one_client(bundled: Settings) -> None:
    _, client = limited(bundled, rate_limit="1/day", host="::")
    found = [
        client.get("/api/session", environ_base={"REMOTE_ADDR": address}).status_code
        for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "::ffff:192.0.2.1", "::ffff:192.0.2.2", "")
    ]
    assert found == [200, 429, 200, 200, 200, 200]


def test_changes_have_a_limit_of_their_own(bundled: Settings) -> None:
    app, client = limited(bundled, rate_limit="9/day", rate_limit_changes="4/day", api_key=KEY, host="0.0.0.0")
    routes = changing(app)
    right = {"headers": {"X-API-Key": KEY}, "environ_base": OUTSIDE}
    for i in range(4):
        method, path = routes[i % len(routes)]
        assert client.open(path, method=method, **right).status_code == 200
    for method, path in routes:
        require_problem(client.open(path, method=method, **right), 429, "CATDOG_RATE_LIMIT_CHANGES")
    assert statuses(client, 1, environ_base=OUTSIDE) == [200]


def test_a_key_cannot_be_tried_out(bundled: Settings) -> None:
    app, client = limited(bundled, rate_limit_keys="4/hour", api_key=KEY)
    routes = changing(app)
    for method, path in routes:  # no key is no try
        assert statuses(client, 5, path, method=method) == [401] * 5
    for send in ({"headers": {"X-API-Key": "wrong"}}, {"headers": {"Authorization": "Bearer wrong"}}):
        require_problem(client.post("/api/models/rollback", **send), 401)
    assert sign_in(client)
    for send in ({"json": {"key": "wrong"}}, {"data": {"key": "wrong"}}):
        require_problem(client.post("/session", **send), 401)
    response = client.post("/session", json={"key": KEY})  # the right one comes too late, or it could be told apart
    require_problem(response, 429, "wrong keys", "CATDOG_RATE_LIMIT_KEYS")
    for method, path in routes:
        require_problem(client.open(path, method=method, headers={"X-API-Key": KEY}), 429)
    assert statuses(client, 1) == [200]
    elsewhere = {"environ_base": {"REMOTE_ADDR": "192.0.2.9"}, "headers": {"X-API-Key": KEY}}
    assert client.post("/api/models/rollback", **elsewhere).status_code == 200


def answered(client: FlaskClient, method: str, path: str, **more: object) -> tuple[int, bytes]:
    """Give status and body of an answer, without what differs from request to request."""
    response = client.open(path, method=method, headers={"X-Request-ID": "same", **more.pop("headers", {})}, **more)
    return response.status_code, re.sub(rb"Try again in [\d,]+ \w+", b"", response.data)


def wrong(client: FlaskClient, index: int) -> None:
    """Try a wrong key in one of the ways there are: a header, or a cookie that another key signed."""
    sends = (
        {"headers": {"X-API-Key": f"wrong{index}"}},
        {"headers": {"Authorization": f"Bearer wrong{index}"}},
        {"headers": {"Cookie": f"catdog_session=eyJ{index}.x.y"}},
    )
    assert client.get("/api/retrain/images", **sends[index % 3]).status_code == 401


@pytest.mark.parametrize("kind", ["closed", "key"])
def test_wrong_keys_are_limited_on_every_route_that_needs_permission(bundled: Settings, kind: str) -> None:
    app, client = limited(bundled, rate_limit_keys="2/hour", api_key=KEY)
    for number, (method, path) in enumerate(routes(app)[kind], start=1):
        own = {"REMOTE_ADDR": f"192.0.2.{number}"}
        send = {"json": {"key": "wrong"}} if kind == "key" else {"headers": {"X-API-Key": "wrong"}}
        for _ in range(2):
            require_refusal(client.open(path, method=method, environ_base=own, **send), 401)
        require_refusal(client.open(path, method=method, environ_base=own, **send), 429, "CATDOG_RATE_LIMIT_KEYS")


def test_while_wrong_keys_are_refused_a_right_one_is_told_on_no_route(bundled: Settings) -> None:
    app, client = limited(bundled, rate_limit_keys="4/hour", api_key=KEY, rate_limit="off", rate_limit_changes="off")
    every = routes(app)
    sign_in(client)
    good = client.get_cookie("catdog_session").value
    client = app.test_client(use_cookies=False)
    assert client.get("/api/session", headers={"Cookie": f"catdog_session={good}"}).json["signed_in"]
    for index in range(4):
        wrong(client, index)
    bad = f"{good[:-3]}AAA"
    right = [{"headers": {"X-API-Key": KEY}}, {"headers": {"Authorization": f"Bearer {KEY}"}}, {"json": {"key": KEY}},
             {"data": {"key": KEY}}, {"headers": {"Cookie": f"catdog_session={good}"}}]  # fmt: skip
    false = [{"headers": {"X-API-Key": "k" * 17}}, {"headers": {"Authorization": "Bearer x"}}, {"json": {"key": "x"}},
             {"data": {"key": "x"}}, {"headers": {"Cookie": f"catdog_session={bad}"}}]  # fmt: skip
    steady = {"/metrics", "/api/stats", "/api/model/status", "/api/health"}  # they count and time
    for method, path in [
        *every["closed"],
        *every["key"],
        *every["open"],
        ("GET", "/tabs/retrain"),
        ("GET", "/?tab=retrain"),
    ]:
        for one, other in zip(right, false, strict=True):
            told = answered(client, method, path, **one)
            assert (told[0] == 429) is ((method, path) not in every["open"] and "tab" not in path), (method, path)
            if path not in steady:
                assert told == answered(client, method, path, **other), (method, path, one)
    page = {
        "Accept": "text/html",
        "Origin": "http://localhost",
    }  # a form's refusal is a page, which says who is signed in
    shown = [
        answered(
            client, "POST", "/retrain/start", data={"x": "y"}, headers={**page, "Cookie": f"catdog_session={cookie}"}
        )
        for cookie in (good, bad)
    ]
    assert shown[0] == shown[1]
    assert (shown[0][0], b"<html" in shown[0][1]) == (429, True)


def test_a_cookie_signed_with_another_key_counts_as_a_wrong_key_once(bundled: Settings) -> None:
    app, client = limited(bundled, rate_limit_keys="3/hour", api_key=KEY)
    client.set_cookie("catdog_session", "eyJjc3JmX3Rva2VuIjoieCJ9.aaaaaa.bbbb")
    for _ in range(5):  # the first answer has the browser drop it
        assert client.get("/").status_code == 200
    assert client.get_cookie("catdog_session") is None
    assert sign_in(client)
    for forged in range(3):
        fresh = {"headers": {"Cookie": f"catdog_session=eyJ{forged}.a.b"}}
        assert app.test_client(use_cookies=False).get("/api/session", **fresh).json["signed_in"] is False
    require_problem(client.post("/api/models/rollback", headers={"X-API-Key": KEY}), 429, "wrong keys")
    assert client.get("/api/session").json["signed_in"] is False  # also for a good cookie, until the limit is over


def test_a_wrong_token_is_a_wrong_key(bundled: Settings) -> None:
    app, client = limited(bundled, rate_limit_keys="2/hour", api_key=KEY)
    changing(app)
    token = sign_in(client)
    for _ in range(2):
        require_problem(client.post("/api/models/rollback", headers={"X-CSRF-Token": "x"}), 403, "token is wrong")
    require_problem(client.post("/api/models/rollback", headers={"X-CSRF-Token": token}), 429)


def test_an_open_route_does_not_look_at_a_key(bundled: Settings) -> None:
    app, client = limited(bundled, rate_limit_keys="1/hour", api_key=KEY)
    for method, path in routes(app)["open"]:
        found = {
            answered(client, method, path, headers=headers)[0]
            for headers in ({}, {"X-API-Key": "wrong"}, {"X-API-Key": KEY}, {"Authorization": "Bearer wrong"})
        }
        assert len(found) == 1, (method, path)
        assert found.isdisjoint({401, 403, 429})
    assert client.get("/api/retrain/images", headers={"X-API-Key": KEY}).status_code == 200


def test_limits_can_be_off(bundled: Settings) -> None:
    off = {"rate_limit": "off", "rate_limit_changes": "off", "rate_limit_keys": "off"}
    _, client = limited(bundled, **off, host="0.0.0.0", api_key=KEY)
    assert statuses(client, 30, "/session", method="POST", json={"key": "wrong"}, environ_base=OUTSIDE) == [401] * 30


@pytest.fixture
def redis() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Give the URL of a Redis server of its own, and its process."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server on this machine")
    port = free_port()
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL,
    )
    try:
        for _ in range(200):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0", process
    finally:
        process.kill()
        process.wait()


def test_redis_counts_for_all_processes_and_is_not_needed(
    bundled: Settings, redis: tuple[str, subprocess.Popen[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    url, process = redis
    options = {"rate_limit": "3/day", "rate_limit_keys": "1/day", "rate_limit_storage": url, "api_key": KEY}
    _, first = limited(bundled, **options)
    _, second = limited(bundled, **options)
    assert statuses(first, 2, headers=PROXIED) == [200, 200]
    assert statuses(second, 2, headers=PROXIED) == [200, 429]
    assert "Retry-After" in first.get("/api/session", headers=PROXIED).headers
    assert first.post("/session", json={"key": "wrong"}).status_code == 401
    assert second.post("/session", json={"key": KEY}).status_code == 429
    with caplog.at_level(logging.WARNING):
        process.kill()
        process.wait()
        assert statuses(first, 5, headers=PROXIED) == [200, 200, 200, 429, 429]  # counted in memory, anew
    assert len([record for record in caplog.records if "unreachable" in record.message]) == 1


def test_an_unreachable_redis_stops_nothing(bundled: Settings, caplog: pytest.LogCaptureFixture) -> None:
    url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    started = time.monotonic()
    app, client = limited(bundled, rate_limit="30/day", rate_limit_storage=url, api_key=KEY)
    changing(app)
    with caplog.at_level(logging.WARNING):
        assert statuses(client, 31, headers=PROXIED) == [200] * 30 + [429]
        right = {"X-API-Key": KEY}
        assert statuses(client, 3, "/api/models/rollback", method="POST", headers=right) == [200] * 3
        wrong = {"X-API-Key": "wrong"}
        assert 429 in statuses(client, 11, "/api/models/rollback", method="POST", headers=wrong)
    assert len([record for record in caplog.records if record.name == "flask-limiter"]) == 1
    assert "secret" not in caplog.text
    assert time.monotonic() - started < 60  # nothing waits for it again and again
