"""What the server says it takes of the machine's memory."""

import os
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient

from catdog.web.memory import PROC, release_memory, server_memory

needs_proc = pytest.mark.skipif(not Path(PROC, "self", "smaps_rollup").exists(), reason="no /proc/self/smaps_rollup")


@needs_proc
def test_it_grows_with_what_is_held() -> None:
    before = server_memory()
    held = np.ones(8_000_000, np.float64)  # 64 MB
    after = server_memory()
    assert before is not None
    assert after is not None
    assert 0.8 < (after - before) / held.nbytes < 1.2


@needs_proc
def test_what_is_not_needed_any_more_goes_back_to_the_system() -> None:
    class Ring:
        def __init__(self) -> None:
            self.held, self.itself = [bytes(1000) for _ in range(100_000)], self

    before = server_memory()
    Ring()  # 100 MB in small pieces, which only the collector finds
    held = server_memory()
    release_memory()
    after = server_memory()
    assert before is not None
    assert held is not None
    assert after is not None
    assert held - before > 90_000_000
    assert after - before < 20_000_000


@needs_proc
def test_all_processes_of_the_server_count(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = server_memory()
    monkeypatch.setenv("CATDOG_STARTED_AT", "0")  # as gunicorn's first process sets it for those that it starts
    together = server_memory()
    assert alone is not None
    assert together is not None
    assert together > alone
    monkeypatch.setattr(os, "getppid", lambda: 2**22 + 1)  # there is no such process
    assert server_memory() is None


def test_the_status_says_it(trained_client: FlaskClient) -> None:
    said = trained_client.get("/api/model/status").json["memory_bytes"]
    assert said is None or said > 10_000_000
