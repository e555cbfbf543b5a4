"""What the server says it takes of the machine's memory."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient

from catdog.web.memory import PROC, server_memory

needs_proc = pytest.mark.skipif(not Path(PROC, "self", "smaps_rollup").exists(), reason="no /proc/self/smaps_rollup")


@needs_proc
def test_memory_grows_with_use() -> None:
    before = server_memory()
    held = np.ones(8_000_000, np.float64)  # 64 MB
    after = server_memory()
    assert before is not None
    assert after is not None
    assert 0.8 < (after - before) / held.nbytes < 1.2


RELEASE = """
from catdog.web.memory import release_memory

def own():
    with open("/proc/self/smaps_rollup") as lines:
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private"))

class Ring:
    def __init__(self):
        self.held, self.itself = [bytes(1000) for _ in range(100_000)], self

before = own()
Ring()
held = own()
release_memory()
print(held - before, own() - before)
"""


@needs_proc
def test_unused_memory_is_returned_to_the_system() -> None:
    """100 MB in small pieces, which only the collector finds; in a process of its own, since others' memory moves."""
    done = subprocess.run([sys.executable, "-c", RELEASE], capture_output=True, text=True, check=True)
    held, after = map(int, done.stdout.split())
    assert held > 90_000
    assert after < 20_000


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


def test_the_status_reports_the_memory(trained_client: FlaskClient) -> None:
    said = trained_client.get("/api/model/status").json["memory_bytes"]
    assert said is None or said > 10_000_000
