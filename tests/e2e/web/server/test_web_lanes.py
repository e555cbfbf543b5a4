"""Which requests keep which waiting."""

import http.client
import io
import json
import threading
import time
from pathlib import Path

import pytest
from access import client_of
from drawing import draw, encode
from servers import ask, serving

from catdog.settings import Settings
from catdog.web.routes import RouteTable, table_of
from catdog.web.server.lanes import lane_of

CAT = encode(draw("cat", 4032))


def infer(*shapes: str, before: int = 0) -> bytes:
    inputs = ",".join(f'{{"name": "image", "shape": {shape}, "data": ["{"x" * 9000}"]}}' for shape in shapes)
    return f'{" " * before}{{"inputs": [{inputs}]}}'.encode()


@pytest.fixture(scope="module")
def routes(bundled: Settings) -> RouteTable:
    table = table_of(client_of(bundled)[0])
    assert table is not None
    return table


@pytest.mark.parametrize(
    ("path", "body", "lane"),
    [
        ("/api/predict", b"", "predicting"),
        ("/", b"", "predicting"),
        ("/api/predict/batch", b"", "lists"),
        ("/api/predict%2Fbatch", b"", "lists"),
        ("/api/explain", b"", "explaining"),
        ("/api/feedback", b"", "uploads"),
        ("/api/retrain/upload", b"", "uploads"),
        ("/retrain/upload", b"", "uploads"),
        ("/api/retrain/trigger", b"", "other"),
        ("/v2/models/catdog/infer", infer("[1]"), "predicting"),
        ("/v2/models/catdog/versions/1/infer", infer("[ 1 ]"), "predicting"),
        ("/v2/models/catdog/infer", infer("[2]"), "lists"),
        ("/v2/models/catdog/infer", infer("[10]"), "lists"),
        ("/v2/models/catdog/infer", infer("[2]", before=5000), "lists"),
        ("/v2/models/catdog/infer", b"nonsense", "lists"),
    ],
)
def test_each_kind_of_request_has_its_lane(routes: RouteTable, path: str, body: bytes, lane: str) -> None:
    file = io.BytesIO(body)
    assert lane_of(routes, "POST", path, file).value == lane
    assert file.read() == body
    assert lane_of(routes, "GET", path, file).value == "other"


def test_probes_have_lanes_of_their_own(routes: RouteTable) -> None:
    found = [lane_of(routes, "GET", path, io.BytesIO()).value for path in ("/livez", "/readyz", "/metrics")]
    assert found == ["liveness", "readiness", "other"]
    assert lane_of(None, "GET", "/livez", io.BytesIO()).value == "other"  # an application that isn't catdog's


def batch(count: int) -> tuple[bytes, dict[str, str]]:
    part = b'--B\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n' + CAT + b"\r\n"
    return part * count + b"--B--\r\n", {"Content-Type": "multipart/form-data; boundary=B"}


@pytest.mark.slow
def test_lists_of_pictures_do_not_keep_single_ones_waiting(tmp_path: Path) -> None:
    """Two processes have 12 lists, more than all threads could take that predictions have."""
    with serving(tmp_path) as (port, _):
        body, headers = batch(64)
        done: list[int] = []

        def send() -> None:
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            client.request("POST", "/api/predict/batch", body, headers)
            response = client.getresponse()
            results = json.loads(response.read())["results"]
            assert all("class" in one for one in results)
            done.append(len(results))

        senders = [threading.Thread(target=send) for _ in range(12)]
        for sender in senders:
            sender.start()
        time.sleep(0.3)
        for _ in range(6):
            assert ask(port, "POST", "/api/predict", CAT)[0] == 200
        before = len(done)
        for sender in senders:
            sender.join(120)
        assert done == [64] * 12
        assert before <= 6, f"{before} of 12 lists were answered before 6 single pictures"
