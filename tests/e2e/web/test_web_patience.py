"""A database that another program holds, and more uploads than the server has threads: predictions go on."""

import http.client
import json
import sqlite3
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from drawing import draw, encode
from servers import CAT, ask, serving

from catdog.settings import Settings

UPLOADS = 16
"""Twice the threads of two processes."""


def upload(port: int, number: int) -> tuple[int, Any, dict[str, Any]]:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="category"\r\n\r\ncats\r\n'
        b'--x\r\nContent-Disposition: form-data; name="files[]"; filename="a.jpg"\r\n\r\n'
        + encode(draw("cat", 88_000 + number))
        + b"\r\n--x--\r\n"
    )
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        connection.request("POST", "/api/retrain/upload", body, headers)
        response = connection.getresponse()
        return response.status, response.headers, json.loads(response.read())
    finally:
        connection.close()


@pytest.mark.slow
def test_waiting_uploads_leave_threads_for_predictions(home: Settings) -> None:
    with serving(home.home) as (port, _):
        # Each process opens the pictures for retraining at its first upload.
        kept = [upload(port, number)[0] for number in range(4)]
        holder = sqlite3.connect(home.home / "catdog.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        refused: list[tuple[int, Any, dict[str, Any]]] = []
        threads = [
            threading.Thread(target=lambda number=number: refused.append(upload(port, 100 + number)))
            for number in range(UPLOADS)
        ]
        try:
            for thread in threads:
                thread.start()
            answered = 0
            while any(thread.is_alive() for thread in threads):
                assert ask(port, "POST", "/api/predict", CAT)[0] == 200
                answered += 1
        finally:
            holder.execute("ROLLBACK")
            holder.close()
        for thread in threads:
            thread.join()
        files = list(home.retrain_dir.rglob("*.jpg"))
        assert kept == [200] * 4
        assert [status for status, _, _ in refused] == [503] * UPLOADS
        assert all(int(headers["Retry-After"]) > 0 for _, headers, _ in refused)
        assert all("Try again" in document["error"] for _, _, document in refused)
        assert len(files) == 4, "what was refused is not half kept"
        assert answered > 1, "answers came while uploads were waiting"
        assert upload(port, 100)[2]["accepted"] == 1


@pytest.mark.slow
def test_two_servers_that_start_on_one_new_home_refuse_no_upload(tmp_path: Path) -> None:
    with ExitStack() as running:
        ports = [running.enter_context(serving(tmp_path / "home"))[0] for _ in range(2)]
        answers: list[tuple[int, Any, dict[str, Any]]] = []
        together = threading.Barrier(32)

        def send(number: int) -> None:
            together.wait()
            answers.append(upload(ports[number % 2], 200 + number))

        threads = [threading.Thread(target=send, args=(number,)) for number in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [status for status, _, _ in answers] == [200] * 32, [document for _, _, document in answers]
    assert sum(document["accepted"] for _, _, document in answers) == 32
