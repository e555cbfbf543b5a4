"""A real server with two processes: swaps, counts, restarts, and what it loads."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers import CAT, ask, processes_of, serving, wait_for_version
from waiting import wait_until_counted

from catdog.registry import starter
from catdog.registry.store import ModelStore
from catdog.settings import Settings


@pytest.mark.parametrize("swaps", [6, pytest.param(50, marks=pytest.mark.slow)])
def test_swaps_under_load_lose_nothing(
    home: Settings, add_constant: Callable[[Settings, int], int], swaps: int
) -> None:
    store = ModelStore(home.models_dir)
    expected = {"Cat": add_constant(home, 0), "Dog": add_constant(home, 1)}
    store.promote(expected["Dog"], "test")
    answers: list[tuple[int, dict[str, Any]]] = []
    failures: list[BaseException] = []
    stopped = threading.Event()

    def load(port: int) -> None:
        while not stopped.is_set():
            try:
                answers.append(ask(port, "POST", "/api/predict", CAT))
            except BaseException as error:
                failures.append(error)

    with serving(home.home) as (port, _):
        processes = processes_of(port)
        clients = [threading.Thread(target=load, args=(port,)) for _ in range(3)]
        for thread in clients:
            thread.start()
        try:
            for swap in range(swaps):
                version = expected["Cat" if swap % 2 == 0 else "Dog"]
                store.promote(version, "test")
                before = len(answers)
                wait_for_version(port, version, processes)
                while len(answers) < before + 3 and not failures:  # some of them by what was promoted
                    time.sleep(0.01)
        finally:
            stopped.set()
            for thread in clients:
                thread.join()
        assert failures == []
        assert len(store.history()) == swaps + 2  # with the one that was trained, and the first constant one
        assert {status for status, _ in answers} == {200}
        assert all(expected[answer["class"]] == answer["model_version"] for _, answer in answers)
        assert min(Counter(answer["class"] for _, answer in answers)[name] for name in expected) >= swaps // 2
        wait_until_counted(home, len(answers))
        assert ask(port, "GET", "/api/health")[1]["total_predictions"] == len(answers)
    with serving(home.home) as (port, _):  # and after a restart
        predictions = ask(port, "GET", "/api/stats")[1]["predictions"]
        assert predictions["total"] == len(answers)
        assert predictions["by_version"].keys() == {str(version) for version in expected.values()}


@pytest.mark.slow
def test_processes_that_loaded_another_backbone_exit_cleanly(home: Settings, tmp_path: Path) -> None:
    store = ModelStore(home.models_dir)
    starter.install_backbone(home.models_dir)
    other = store.adopt(starter.BUNDLE / "version").number
    log = tmp_path / "log"
    with log.open("wb") as file, serving(home.home, log=file) as (port, _):
        processes = processes_of(port)
        store.promote(other, "another backbone")
        wait_for_version(port, other, processes)
        assert ask(port, "POST", "/api/predict", CAT)[1]["model_version"] == other
    assert "SIGSEGV" not in log.read_text()


@pytest.mark.slow
def test_sigterm_lets_requests_end(home: Settings) -> None:
    """A request whose picture is half sent when the server is told to end is answered all the same, and counted."""
    with serving(home.home, "-m", "gunicorn", "app:app") as (port, process):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            head = (
                f"POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: {len(CAT)}\r\n"
            )
            client.sendall(head.encode() + b"\r\n" + CAT[:1000])
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            client.sendall(CAT[1000:])
            assert client.recv(12) == b"HTTP/1.1 200"
        assert process.wait(timeout=30) == 0
    with serving(home.home, "app.py") as (port, _):
        assert ask(port, "GET", "/api/health")[1]["total_predictions"] == 1


@pytest.mark.parametrize(("trusted", "secure"), [("0", False), ("1", True)])
def test_only_a_trusted_proxy_says_that_there_is_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: str, secure: bool
) -> None:
    monkeypatch.setenv("CATDOG_API_KEY", "k" * 16)
    monkeypatch.setenv("CATDOG_TRUSTED_PROXIES", trusted)
    with serving(tmp_path / "home", "-m", "gunicorn", "app:app") as (port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        headers = {"Content-Type": "application/json", "X-Forwarded-Proto": "https"}
        connection.request("POST", "/session", json.dumps({"key": "k" * 16}), headers)
        cookie = connection.getresponse().getheader("Set-Cookie") or ""
        connection.close()
    assert cookie.startswith("catdog_session=")
    assert ("; Secure" in cookie) is secure


def test_a_body_whose_length_is_wrong_is_refused(tmp_path: Path) -> None:
    head = b"POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
    form = b"POST /api/predict/batch HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=X\r\n"
    picture = b'--X\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n' + CAT + b"\r\n--X--\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"

    def chunks(body: bytes) -> bytes:
        return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:1000], body[1000:])) + b"0\r\n\r\n"

    def long(number: object) -> bytes:
        return f"Content-Length: {number}\r\n\r\n".encode()

    requests = [
        (head + long(len(CAT)) + CAT, 200),
        (head + chunked + chunks(CAT), 200),
        (form + chunked + chunks(picture), 200),
        (head + chunked + b"zz\r\n" + CAT, 400),
        (form + chunked + b"zz\r\n" + picture, 400),
        (head + chunked + chunks(CAT)[:2000], 400),
        (form + chunked + chunks(picture)[:2000], 400),
        (head + b"\r\n", 400),
        (form + b"\r\n", 400),
        (head + long(-1) + CAT, 400),
        (head + long("many") + CAT, 400),
        (head + long(len(CAT) + 10) + CAT, 400),
        (head + long(len(CAT) // 2) + CAT, 422),
        (head + long(99_999_999_999) + CAT, 413),
        (form + long(99_999_999_999) + picture, 413),
        (head + b"Content-Length: 5\r\n" + long(len(CAT)) + CAT, 400),
        (head + b"Content-Length: 5\r\n" + chunked + chunks(CAT), 400),
        (head + b"X-Long: " + b"a" * 70_000 + b"\r\n\r\n", 431),
    ]
    with serving(tmp_path / "fresh") as (port, _):
        for request, status in requests:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                client.sendall(request)
                client.shutdown(socket.SHUT_WR)
                assert client.recv(13) == f"HTTP/1.1 {status} ".encode(), request[:200]


def test_a_web_process_never_loads_tensorflow(tmp_path: Path) -> None:
    code = (
        "import io, sys, pathlib\n"
        "from catdog.settings import load_settings\n"
        "from catdog.web.app import create_app\n"
        "app = create_app(load_settings(home=pathlib.Path('home')))\n"
        "client = app.test_client()\n"
        "picture = sys.stdin.buffer.read()\n"
        "for path in ('/api/predict', '/api/explain'):\n"
        "    assert client.post(path, data=picture, content_type='image/jpeg').status_code == 200\n"
        "assert client.get('/api/stats').json['predictions']['total'] == 1\n"
        "print(sorted({'tensorflow', 'keras', 'mlflow'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", code], input=CAT, capture_output=True, check=True, cwd=tmp_path)
    assert finished.stdout.strip() == b"[]"  # and the bundled model answered, on a machine that never trained


def test_a_port_in_use_is_reported() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        command = [sys.executable, "-m", "catdog", "serve", "--port", str(listener.getsockname()[1])]
        finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 2
    assert "--port" in finished.stderr


@pytest.mark.parametrize(("variables", "bind"), [({}, "127.0.0.1:5000"), ({"PORT": "8000"}, "0.0.0.0:8000")])
def test_it_serves_only_this_machine_by_default(variables: dict[str, str], bind: str) -> None:
    code = "from catdog.web.server import gunicorn_config; print(gunicorn_config.bind)"
    finished = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True, check=True
    )
    assert finished.stdout.strip() == bind


@pytest.mark.parametrize("command", [("-m", "catdog", "serve"), ("app.py",), ("-m", "gunicorn", "app:app")])
def test_two_processes_start_on_a_machine_that_never_trained(command: tuple[str, ...], tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file, serving(tmp_path / "fresh", *command, log=file) as (port, _):
        status, answer = ask(port, "POST", "/api/predict", CAT)
        assert (status, answer["model_version"]) == (200, 1)
    (line,) = [line for line in log.read_text().splitlines() if "has no API key" in line]  # once for both processes
    assert "WARNING" in line
    assert "Don't put it behind a proxy" in line
    assert ModelStore(tmp_path / "fresh" / "models").numbers() == [1]
