"""Bodies in chunks that break HTTP/1.1, on every kind of route of a real server: the client's fault, and said."""

import json
import socket

import pytest
from servers import CAT, ask, serving

from catdog.settings import Settings

HEAD = b"HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nContent-Type: "
ROUTES = {
    b"POST /api/predict ": b"image/jpeg",
    b"POST /api/predict/batch ": b"multipart/form-data; boundary=x",
    b"POST /v2/models/catdog/infer ": b"application/json",
    b"POST /api/retrain/upload ": b"multipart/form-data; boundary=x",
    b"POST /api/feedback ": b"image/jpeg",
    b"POST /api/retrain/trigger ": b"application/json",
    b"POST /api/retrain/images/remove ": b"application/json",
}
BROKEN = {
    "no number": b"xyz\r\nabc\r\n0\r\n\r\n",
    "a sign": b"-5\r\nabcde\r\n0\r\n\r\n",
    "a prefix": b"0x5\r\nabcde\r\n0\r\n\r\n",
    "an underscore": b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "nothing": b"\r\nabc\r\n0\r\n\r\n",
    "no line end behind": b"5\r\nabcdeXX0\r\n\r\n",
    "longer than it says": b"2\r\nabcde\r\n0\r\n\r\n",
    "cut off in a chunk": b"ff\r\nabc",
    "cut off before the last": b"3\r\nabc\r\n",
    "cut off behind the last": b"3\r\nabc\r\n0\r\n",
    "thousands of digits": b"f" * 5_000 + b"\r\nabc\r\n0\r\n\r\n",
    "a huge size": b"f" * 16 + b"\r\nabc",
    "a broken extension": b"3;=\"\r\nabc\r\n0\r\n\r\n",
    "a broken trailer": b"3\r\nabc\r\n0\r\nno colon\r\n\r\n",
}  # fmt: skip


def send(port: int, request: bytes) -> tuple[int, dict[str, object]]:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.mark.databases("sqlite")
def test_broken_chunks_are_the_clients_fault(home: Settings) -> None:
    with serving(home.home) as (port, _):
        for route, kind in ROUTES.items():
            for name, body in BROKEN.items():
                status, document = send(port, route + HEAD + kind + b"\r\n\r\n" + body)
                assert 400 <= status < 500, (route, name, status, document)
                assert document["error"], (route, name)
        whole = (
            b"".join(b"%x;a=b\r\n%s\r\n" % (len(part), part) for part in (CAT[:1000], CAT[1000:]))
            + b"0\r\nA: b\r\n\r\n"
        )
        assert send(port, b"POST /api/predict " + HEAD + b"image/jpeg\r\n\r\n" + whole)[0] == 200
        assert ask(port, "GET", "/livez")[0] == 200
