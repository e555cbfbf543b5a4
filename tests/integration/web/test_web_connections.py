"""Clients that send or read nothing: whom they keep waiting, and when they are ended."""

import hashlib
import json
import os
import resource
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import pytest
from servers import ROOT, converse

HEAD_SECONDS, PROGRESS_SECONDS = 1.0, 1.5
APP = """
import hashlib, time
def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/large":
        answer = b"x" * 20_000_000
    elif path == "/file":
        file = open(__file__, "rb")
        start_response("200 OK", [("Content-Length", str(len(file.read())))])
        file.seek(0)
        return environ["wsgi.file_wrapper"](file)
    elif path == "/parts":
        start_response("200 OK", [])
        return (b"y" * 100_000 for _ in range(100))
    else:
        if path == "/sleep":
            time.sleep(3)
        if path == "/moment":
            time.sleep(0.02)
        body = environ["wsgi.input"].read()
        answer = f"{path} {len(body)} {hashlib.sha256(body).hexdigest()}".encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
"""
CONFIG = f"""
from catdog.web.server import connection
from catdog.web.server.gunicorn_config import *
connection.HEAD_SECONDS, connection.PROGRESS_SECONDS, keepalive = {HEAD_SECONDS}, {PROGRESS_SECONDS}, 1
"""
POST = b"POST /body HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def small_server(
    folder: Path, files: int | None = None, log: int | IO[bytes] = subprocess.DEVNULL
) -> Iterator[tuple[int, int]]:
    """Run an application that tells what it was sent, with one process; gives the port and gunicorn's process id."""
    (folder / "small.py").write_text(APP)
    (folder / "conf.py").write_text(CONFIG)

    def few_files() -> None:
        if files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", "conf.py", "--workers", "1",
             "--bind", f"fd://{listener.fileno()}", "small:app"],
            cwd=folder, env=os.environ | {"CATDOG_WORKER": "external"}, pass_fds=[listener.fileno()],
            stderr=log, preexec_fn=few_files,
        )  # fmt: skip
        try:
            port = listener.getsockname()[1]
            assert ask(port, timeout=30) == "/quick 0"
            yield port, process.pid
            process.terminate()
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with small_server(tmp_path_factory.mktemp("small")) as (port, _):
        yield port


def ask(port: int, path: str = "/quick", timeout: float = 5) -> str:
    """Ask on a new connection; gives the answer without the hash."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as client:
        client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return read_all(client).partition(b"\r\n\r\n")[2].decode().rpartition(" ")[0]


def read_all(client: socket.socket) -> bytes:
    """Read until the other side closes."""
    received = b""
    while piece := client.recv(2**16):
        received += piece
    return received


def said(body: bytes, path: str = "/body") -> str:
    return f"{path} {len(body)} {hashlib.sha256(body).hexdigest()}"


@contextmanager
def connected(port: int, count: int, first: bytes, buffer: int | None = None) -> Iterator[list[socket.socket]]:
    """Open connections that have sent `first`."""
    with ExitStack() as stack:
        clients = []
        for _ in range(count):
            client = stack.enter_context(socket.socket())
            if buffer:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            client.settimeout(20)
            client.connect(("127.0.0.1", port))
            client.sendall(first)
            clients.append(client)
        yield clients


SLOW: Sequence[tuple[str, bytes]] = [
    ("silent", b""),
    ("head", b"GET /quick HTTP/1.1\r\nX-Long: a"),
    ("body", POST + b"Content-Length: 100000\r\n\r\na"),
    ("chunks", CHUNKED + b"1\r\na\r\n"),
    ("no last chunk", CHUNKED + b"1\r\na\r\n0\r\nX-Trailer: a"),
    ("continue", POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"),
    ("reader", b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("parts", b"GET /parts HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("pipeline", b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 20),
    ("idle", GET),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "first"), SLOW, ids=[name for name, _ in SLOW])
def test_slow_clients_keep_nobody_waiting_and_are_ended(server: int, name: str, first: bytes) -> None:
    with connected(server, 40, first, buffer=4096) as clients:
        for _ in range(10):
            assert ask(server) == "/quick 0"
        assert ask(server, "/livez") == "/livez 0"
        until = time.monotonic() + 30
        for client in clients:
            while not has_ended(client, reads=name not in ("reader", "parts", "pipeline")):
                assert time.monotonic() < until, "the connection was not ended"


def has_ended(client: socket.socket, *, reads: bool) -> bool:
    """Send one byte, which must not put the end off, and look whether the server has ended the connection."""
    client.settimeout(0.1)
    try:
        client.send(b"a")
        if reads:
            return not client.recv(2**16)
        time.sleep(0.1)
    except TimeoutError:
        return False
    except OSError:
        return True
    return False


def test_all_kinds_of_slow_clients_at_once(server: int) -> None:
    with ExitStack() as stack:
        for _, first in SLOW:
            stack.enter_context(connected(server, 30, first))
        for _ in range(5):
            assert ask(server) == "/quick 0"


def test_a_slow_request_gets_an_error(server: int) -> None:
    status, headers, body = converse(server, POST + b"Content-Length: 100\r\n\r\na")
    assert (status, headers["content-type"]) == (408, "application/problem+json")
    assert "too long to arrive" in json.loads(body)["error"]


def test_a_client_that_sends_steadily_may_take_its_time(server: int) -> None:
    with connected(server, 1, POST + b"Content-Length: 60000\r\nConnection: close\r\n\r\n") as (client,):
        for _ in range(6):
            client.sendall(b"z" * 10_000)
            time.sleep(0.5)
        assert said(b"z" * 60_000).encode() in read_all(client)


def test_busy_threads_do_not_keep_probes_waiting(server: int) -> None:
    with connected(server, 4, b"GET /sleep HTTP/1.1\r\nHost: x\r\n\r\n"):
        time.sleep(0.3)
        assert ask(server, "/livez") == "/livez 0"
        assert ask(server, "/readyz") == "/readyz 0"
        assert ask(server, "/api/predict") == "/api/predict 0"


def test_pipelined_requests_are_answered_in_order(server: int) -> None:
    requests = b"".join(f"GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for number in range(201))
    with connected(server, 1, requests + b"GET /last HTTP/1.0\r\n\r\n") as (client,):
        received = read_all(client).decode()
    assert received.count("HTTP/1.1 200") == 201
    places = [received.index(f"\r\n\r\n/{number} 0 ") for number in (*range(201), "last")]
    assert places == sorted(places)


@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_bodies_arrive_complete_in_any_pieces(server: int, piece: int) -> None:
    chunked = b"5;name=value\r\nhello\r\n0a\r\n, world!!!\r\n0\r\nX-Trailer: a\r\n\r\n"
    sent = (
        CHUNKED
        + chunked
        + POST
        + b"Content-Length: 3\r\n\r\nabc"
        + CHUNKED
        + b"0\r\n\r\n"
        + b"GET /end HTTP/1.0\r\n\r\n"
    )
    with connected(server, 1, b"") as (client,):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(sent), piece):
            client.sendall(sent[start : start + piece])
        received = read_all(client).decode()
    for body in (b"hello, world!!!", b"abc", b""):
        assert said(body) in received
    assert "/end 0" in received


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n", b"\r\n", b"-1\r\n", b"1\r\nabc\r\n0\r\n\r\n", b"5\r\nhel", b"0\r\nnonsense\r\n\r\n",
        b"f" * 2000, b"f" * 17 + b"\r\n", b"1\r\na\r\n" * 5000, b"5\nhello\r\n0\r\n\r\n", b"1" * 30 + b"\r\nx",
    ],
    ids=lambda given: repr(given[:12]),
)  # fmt: skip
def test_invalid_chunks_are_refused(server: int, body: bytes) -> None:
    with connected(server, 1, CHUNKED + body) as (client,):
        client.shutdown(socket.SHUT_WR)
        received = read_all(client)
    assert received.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413"))


def test_large_bodies_go_over_the_disk(tmp_path: Path) -> None:
    body = os.urandom(2**20) * 10
    head = POST + f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
    with small_server(tmp_path) as (port, pid), connected(port, 4, head) as clients:
        senders = [threading.Thread(target=client.sendall, args=(body[:-1],)) for client in clients]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        time.sleep(0.5)
        (worker,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        files = [str(file.readlink()) for file in Path(f"/proc/{worker}/fd").iterdir()]
        assert sum("(deleted)" in file and "wgunicorn" not in file for file in files) >= 2
        for client in clients:
            client.sendall(body[-1:])
            assert said(body).encode() in read_all(client)


def test_an_expectation_is_met_before_the_body(server: int) -> None:
    with connected(server, 1, POST + b"Content-Length: 5\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n") as (
        client,
    ):
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hello")
        received = read_all(client)
    assert received.startswith(b"HTTP/1.1 200")
    assert said(b"hello").encode() in received


def test_a_half_closed_connection_gets_its_response(server: int) -> None:
    with connected(server, 1, POST + b"Content-Length: 5\r\n\r\nhello" + GET) as (client,):
        client.shutdown(socket.SHUT_WR)
        received = read_all(client)
    assert received.count(b"HTTP/1.1 200") == 2
    with connected(server, 1, POST + b"Content-Length: 9\r\n\r\nhello") as (client,):
        client.shutdown(socket.SHUT_WR)
        assert b"body is incomplete" in read_all(client)


@pytest.mark.parametrize(("path", "size"), [("/large", 20_000_000), ("/parts", 10_000_000), ("/file", len(APP))])
def test_a_large_answer_arrives_whole_at_a_slow_reader(server: int, path: str, size: int) -> None:
    with connected(server, 1, f"GET {path} HTTP/1.0\r\n\r\n".encode(), buffer=2**16) as (client,):
        time.sleep(0.5)
        _, _, body = read_all(client).partition(b"\r\n\r\n")
    assert len(body) == size


RESET = struct.pack("ii", 1, 0)
MOMENT = b"POST /moment HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"


def test_clients_that_reset_while_they_are_answered_leave_nothing_behind(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log, small_server(tmp_path, log=log) as (port, pid):
        (worker,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        descriptors = Path(f"/proc/{worker}/fd")
        before = len(list(descriptors.iterdir()))
        body = os.urandom(300_000)
        head = f"POST /moment HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        for _ in range(3):
            with connected(port, 50, MOMENT) as gone, connected(port, 5, head + body) as waiting:
                for client in gone:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    client.close()
                for client in waiting:
                    client.shutdown(socket.SHUT_WR)
                    assert said(body, "/moment").encode() in read_all(client)
        until = time.monotonic() + 10
        while len(list(descriptors.iterdir())) > before + 2:
            assert time.monotonic() < until, "descriptors are left open"
            time.sleep(0.1)
    said_of_it = (tmp_path / "log").read_text()
    assert "Traceback" not in said_of_it
    assert "was refused" not in said_of_it


def test_running_out_of_files_ends_nothing(tmp_path: Path) -> None:
    with small_server(tmp_path, files=100) as (port, _), connected(port, 200, b"GET /quick HTTP/1.1\r\n"):
        for _ in range(5):
            assert ask(port) == "/quick 0"


def test_tls_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(textwrap.dedent(APP))
    command = [
        "-m",
        "gunicorn",
        "--config",
        str(ROOT / "src/catdog/web/server/gunicorn_config.py"),
        "--certfile",
        __file__,
    ]
    finished = subprocess.run(
        [sys.executable, *command, "--bind", "127.0.0.1:0", "small:app"], cwd=tmp_path, capture_output=True, text=True,
        timeout=60, env=os.environ | {"CATDOG_WORKER": "external"}, check=False,
    )  # fmt: skip
    assert finished.returncode == 1
    assert "terminate TLS in a proxy" in finished.stderr
