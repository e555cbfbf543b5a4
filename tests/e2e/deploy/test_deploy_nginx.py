"""`deploy/nginx.conf` in front of three servers: routing, slow clients and kills."""

import http.client
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from drawing import draw, encode

ROOT = Path(__file__).parents[3]
CAT = encode(draw("cat", 4032))
DRIPPING = 40

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Three:
    """Three servers of one process each, by port, behind nginx."""

    port: int
    servers: dict[int, "subprocess.Popen[bytes]"]


@pytest.fixture(scope="module")
def fleet() -> Iterator[ModuleType]:
    """The module that runs nginx in front of servers, shared with the load test."""
    with pytest.MonkeyPatch.context() as path:
        path.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module("fleet")


@pytest.fixture(scope="module")
def three(fleet: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    try:
        fleet.require_nginx()
    except SystemExit as missing:
        pytest.skip(str(missing))
    folder = tmp_path_factory.mktemp("three")
    variables = {
        "WEB_CONCURRENCY": "1", "CATDOG_THREADS": "1", "CATDOG_WORKER": "external", "CATDOG_TRUSTED_PROXIES": "1",
        "CATDOG_RATE_LIMIT": "off", "CATDOG_API_KEY": "k" * 16,
    }  # fmt: skip
    ports = [fleet.free_port() for _ in range(3)]
    with (
        fleet.catdog_servers(ports, folder / "home", variables, CAT, folder) as servers,
        fleet.nginx_before(ports, folder / "nginx", CAT) as port,
    ):
        yield Three(port, dict(zip(ports, servers, strict=True)))


def ask(
    port: int, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        sent = {"Content-Type": "image/jpeg"} if body else {}
        connection.request(
            method, path, body, sent | {name.replace("_", "-"): value for name, value in headers.items()}
        )
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


def ask_or_none(port: int) -> tuple[int, bytes, http.client.HTTPMessage] | None:
    try:
        return ask(port, "GET", "/api/health")
    except OSError:
        return None


def begin(port: int) -> socket.socket:
    """Start to send an image: the head of the request, and half of its body."""
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    head = f"POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: {len(CAT)}\r\n\r\n"
    client.sendall(head.encode() + CAT[: len(CAT) // 2])
    return client


def under_way(port: int) -> int:
    """Count the requests in a server, except this one."""
    found = re.search(rb"^catdog_request_in_progress (\d+)", ask(port, "GET", "/metrics")[1], re.MULTILINE)
    assert found
    return int(found[1]) - 1


def test_requests_are_spread_over_all(three: Three) -> None:
    answered = Counter(json.loads(ask(three.port, "GET", "/api/model/status")[1])["process"] for _ in range(30))
    assert len(answered) == 3
    assert min(answered.values()) >= 5


def test_request_ids_and_client_addresses_reach_the_servers(three: Three) -> None:
    status, body, headers = ask(three.port, "POST", "/api/predict", b"no picture", X_Request_ID="mine-1")
    assert (status, json.loads(body)["request_id"], headers["X-Request-ID"]) == (415, "mine-1", "mine-1")
    key = json.dumps({"key": "k" * 16}).encode()
    secure = ask(three.port, "POST", "/session", key, Content_Type="application/json", X_Forwarded_Proto="https")
    assert secure[0] == 200
    assert "; Secure" not in secure[2]["Set-Cookie"], "nginx had no TLS, whatever the client says"


def test_metrics_stay_inside(three: Three) -> None:
    assert ask(three.port, "GET", "/metrics")[0] == 404
    assert all(ask(port, "GET", "/metrics")[0] == 200 for port in three.servers)


@pytest.mark.parametrize(("path", "length"), [("/api/predict", 37 * 2**20), ("/api/retrain/upload", 261 * 2**20)])
def test_far_too_large_bodies_are_refused_like_catdog_does(three: Three, path: str, length: int) -> None:
    with socket.create_connection(("127.0.0.1", three.port), timeout=20) as client:
        client.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
        response = http.client.HTTPResponse(client)
        response.begin()
        problem = json.loads(response.read())
    assert (response.status, problem["status"]) == (413, 413)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert str(length) in problem["error"]


def test_slightly_too_large_bodies_are_refused_by_catdog(three: Three) -> None:
    status, body, _ = ask(three.port, "POST", "/api/predict", CAT + bytes(33 * 2**20))
    assert status == 413
    assert "CATDOG_MAX_" in json.loads(body)["error"]


def test_forty_slow_clients_keep_nobody_waiting(three: Three) -> None:
    """More clients than the twelve threads of all servers, which they would block."""
    slow = [begin(three.port) for _ in range(DRIPPING)]
    try:
        time.sleep(0.3)
        assert [under_way(port) for port in three.servers] == [0, 0, 0]
        answers = [ask(three.port, "POST", "/api/predict", CAT)[0] for _ in range(20)]
        assert set(answers) == {200}
        for client in slow:
            client.sendall(CAT[len(CAT) // 2 :])
        assert {client.recv(12) for client in slow} == {b"HTTP/1.1 200"}
    finally:
        for client in slow:
            client.close()


def test_slow_clients_delay_nobody_without_nginx_either(three: Three) -> None:
    """A server reads slow requests completely before a thread handles them."""
    port = next(iter(three.servers))
    slow = [begin(port) for _ in range(DRIPPING)]
    try:
        time.sleep(0.3)
        assert under_way(port) == 0
        assert {ask(port, "POST", "/api/predict", CAT)[0] for _ in range(5)} == {200}
    finally:
        for client in slow:
            client.close()


def test_the_load_test_finds_no_failure(three: Three, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "locust", "--locustfile", str(ROOT / "locustfile.py"), "--headless", "--users", "10",
        "--spawn-rate", "10", "--run-time", "5s", "--host", f"http://127.0.0.1:{three.port}", "--max-wait", "0.3",
        "--min-wait", "0.1", "--json-file", str(tmp_path / "found"), "--only-summary",
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "CATDOG_SHARED"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 images, drawn" in done.stdout
    found = {entry["name"]: entry for entry in json.loads((tmp_path / "found.json").read_text())}
    assert {name: entry["num_failures"] for name, entry in found.items() if entry["num_failures"]} == {}
    assert found.keys() == {
        "/", "/api/predict", "/api/model/status", "/api/stats", "/api/health", "/api/retrain/status",
    }  # fmt: skip


def test_a_killed_server_fails_no_request(three: Three) -> None:
    """Except a response in progress: gunicorn sends head and body separately."""
    statuses: list[int] = []
    failures: list[BaseException] = []
    stopped = threading.Event()

    def load() -> None:
        while not stopped.is_set():
            try:
                statuses.append(ask(three.port, "POST", "/api/predict", CAT)[0])
            except BaseException as error:
                failures.append(error)

    clients = [threading.Thread(target=load) for _ in range(4)]
    for thread in clients:
        thread.start()
    try:
        time.sleep(0.5)
        _, killed = three.servers.popitem()
        os.killpg(killed.pid, signal.SIGKILL)
        before, deadline = len(statuses), time.monotonic() + 30
        while len(statuses) < before + 100 and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        stopped.set()
        for thread in clients:
            thread.join()
    assert [type(error) for error in failures] in ([], [http.client.IncompleteRead])
    assert set(statuses) == {200}
    assert len(statuses) >= before + 100
    assert len({json.loads(ask(three.port, "GET", "/api/model/status")[1])["process"] for _ in range(20)}) == 2


def test_without_a_server_nginx_says_so(fleet: ModuleType, tmp_path: Path) -> None:
    port = fleet.free_port()
    try:
        command = fleet.nginx_command(port, [fleet.free_port()], tmp_path)
    except SystemExit as missing:
        pytest.skip(str(missing))
    with fleet.running(command, {}, tmp_path / "log") as nginx:
        deadline = time.monotonic() + 20
        while (answer := ask_or_none(port)) is None:
            assert nginx.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    status, body, headers = answer
    assert (status, json.loads(body)["status"], headers["Retry-After"]) == (503, 503, "5")
