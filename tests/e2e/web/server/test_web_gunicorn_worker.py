"""What gunicorn refuses by itself, before the application sees it: in the form of all other problems."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from drawing import draw, encode
from servers import ROOT, ask, converse, serving

CAT = encode(draw("cat", 4032))
SECRET = b"secretsecretsecret"
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
REFUSED = [
    (SECRET + b"\r\n\r\n", 400, "Not a valid HTTP"),
    (b"GET /livez HTTP/3.0\r\nHost: x\r\n\r\n", 400, "Not a valid HTTP"),
    (b"g" + GET + b"\r\n", 400, "Not a valid HTTP"),
    (GET + b"X-API-Key " + SECRET + b"\r\n\r\n", 400, "Not a valid HTTP"),
    (GET + b"X-API Key: " + SECRET + b"\r\n\r\n", 400, "Not a valid HTTP"),
    (POST + b"Content-Length: many\r\n\r\n" + CAT, 400, "Not a valid HTTP"),
    (POST + b"Content-Length: -1\r\n\r\n" + CAT, 400, "Not a valid HTTP"),
    (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + CAT, 400, "Not a valid HTTP"),
    (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + CAT, 400, "Not a valid HTTP"),
    (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "4,094"),
    (GET + b"Expect: " + SECRET + b"\r\n\r\n", 417, "100-continue"),
    (GET + b"X-Long: " + SECRET * 4000 + b"\r\n\r\n", 431, "8,190"),
    (GET + b"".join(b"X-%d: 1\r\n" % number for number in range(120)) + b"\r\n", 431, "100 of"),
    (POST + b"Transfer-Encoding: " + SECRET + b"\r\n\r\n", 501, "chunked"),
    (CAT, 400, "Not a valid HTTP"),
    (b"GET /livez HTTP/1.1\r\n\r\n", 400, "`Host`"),
    (GET + b"Host: y\r\n\r\n", 400, "Not a valid HTTP"),
    (b"GET /livez HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n", 400, "Not a valid HTTP"),
    (b"GET /livez HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "`Host`"),
    (b"GET /livez HTTP/1.1\r\nHost: \xff\r\n\r\n", 400, "`Host`"),
    (CHUNKED + b"f" * 17 + b"\r\nabc", 400, "Not a valid HTTP"),
    (CHUNKED + b"8" + b"0" * 15 + b"\r\nabc", 400, "Not a valid HTTP"),
    (CHUNKED + b"7" + b"f" * 15 + b"\r\nabc", 413, "too large"),
    (CHUNKED + b"3\r\nabc\r\n40000000\r\nabc", 413, "too large"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The port of a server, and the file that it logs to."""
    folder = tmp_path_factory.mktemp("refusing")
    before = dict(os.environ)
    # gunicorn's parser in C, where it is installed, tells some of these errors apart less well.
    parser = {"GUNICORN_CMD_ARGS": "--http-parser python"}
    os.environ |= {"CATDOG_WORKER": "external", "CATDOG_LOG": "json", **parser}
    with (folder / "log").open("wb") as log, serving(folder / "home", log=log) as (port, _):
        os.environ.clear()
        os.environ.update(before)
        yield port, folder / "log"


@pytest.mark.parametrize(("request_bytes", "status", "says"), REFUSED, ids=lambda given: str(given)[:40])
def test_a_refusal_is_a_problem(server: tuple[int, Path], request_bytes: bytes, status: int, says: str) -> None:
    port, log = server
    received, headers, body = converse(port, request_bytes)
    problem = json.loads(body)
    assert (received, headers["content-type"], headers["connection"]) == (status, "application/problem+json", "close")
    assert int(headers["content-length"]) == len(body)
    assert headers["x-content-type-options"] == "nosniff"
    assert problem.keys() == {"type", "title", "status", "error", "request_id"}
    assert (problem["status"], problem["request_id"]) == (status, headers["x-request-id"])
    assert says in problem["error"]
    assert ask(port, "GET", "/livez") == (200, {"status": "alive"})
    (line,) = [one for one in map(json.loads, log.read_text().splitlines()) if problem["request_id"] in str(one)]
    assert (line["request_id"], line["status"]) == (problem["request_id"], status)
    assert SECRET.decode() not in log.read_text() + body.decode()


def test_the_rest_of_an_image_is_not_parsed_as_a_request(server: tuple[int, Path]) -> None:
    """A length that is too short leaves half a picture behind, where the next request is expected."""
    port, log = server
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(POST + b"Content-Length: 600\r\n\r\n" + CAT[:600] + SECRET + b"\r\n\r\n" + CAT[600:])
        received = b""
        while chunk := client.recv(65536):
            received += chunk
    assert received.startswith(b"HTTP/1.1 4")
    assert SECRET.decode() not in log.read_text()
    assert "InvalidRequestLine" in log.read_text()


HOSTS = ["x", "", "localhost:8000", "127.0.0.1", "[::1]:80", "a_b.example", "xn--ktzchen-5wa.example:"]


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_may_be_any_name_or_address(server: tuple[int, Path], host: str) -> None:
    asked = f"GET /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    assert converse(server[0], asked)[0] == 200


def test_http_1_0_needs_no_host(server: tuple[int, Path]) -> None:
    assert converse(server[0], b"GET /livez HTTP/1.0\r\n\r\n")[0] == 200


def test_an_application_that_fails_is_a_problem_too(tmp_path: Path) -> None:
    """Outside of Flask's own handling of errors: here as its answer is handed on."""
    (tmp_path / "failing.py").write_text(
        "def app(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/header':\n"
        "        start_response('200 OK', [('X-Bad', 'a\\r\\nb')])\n"
        "    raise ZeroDivisionError\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        command = [
            "-m",
            "gunicorn",
            "--config",
            str(ROOT / "src/catdog/web/server/gunicorn_config.py"),
            "--workers",
            "1",
        ]
        process = subprocess.Popen(
            [sys.executable, *command, "--bind", f"fd://{listener.fileno()}", "failing:app"],
            cwd=tmp_path, env=os.environ | {"CATDOG_WORKER": "external"}, stderr=subprocess.PIPE,
            pass_fds=[listener.fileno()],
        )  # fmt: skip
        try:
            for path in ("/header", "/"):
                asked = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
                status, headers, body = converse(listener.getsockname()[1], asked)
                assert (status, headers["content-type"]) == (500, "application/problem+json")
                assert "See the server's log" in json.loads(body)["error"]
        finally:
            process.terminate()
            _, log = process.communicate(timeout=30)
    assert b"ZeroDivisionError" in log
    assert json.loads(body)["request_id"].encode() in log
