"""The load test sums locust's counts correctly. No time is asserted."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def entry(name: str, times: dict[str, int], failures: int, start: float, end: float) -> dict[str, object]:
    """Return statistics of one kind of request, as written by locust."""
    return {
        "name": name, "num_requests": sum(times.values()), "num_failures": failures, "response_times": times,
        "start_time": start, "last_request_timestamp": end,
    }  # fmt: skip


@pytest.fixture
def loadtest(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("loadtest")


def test_locusts_counts_are_summed(loadtest: ModuleType) -> None:
    counted = [
        entry("/api/predict", {"9": 1, "10": 98, "250": 1}, 0, 100.0, 110.0),
        entry("/", {"2": 100}, 3, 101.0, 120.0),
    ]
    found = loadtest.read(json.dumps(counted))
    predicted, everything = found["/api/predict"], found[loadtest.ALL]
    assert (predicted.requests, predicted.failures, predicted.rate) == (100, 0, 10.0)
    assert (predicted.p50, predicted.p95, predicted.p99) == (10, 10, 10)
    assert (everything.requests, everything.failures, everything.rate) == (200, 3, 10.0)
    assert (everything.p50, everything.p99) == (9, 10)
    assert "| one server | 10.0 | 10.0 | 10 ms | 10 ms | 10 ms | 3 of 200 |" in loadtest.table({"one": found})


def test_an_unknown_layout_is_refused() -> None:
    command = [sys.executable, str(BENCHMARKS / "loadtest.py"), "--only", "one,ten"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert "unknown in --only: ten" in finished.stderr


def test_a_missing_line_of_nginx_is_reported(
    loadtest: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fleet = importlib.import_module("fleet")
    text = fleet.nginx_configuration(1234, [5001, 5002], tmp_path)
    assert "server 127.0.0.1:5001 max_fails=2 fail_timeout=5s;" in text
    assert "web:5000" not in text
    (tmp_path / "nginx.conf").write_text("http {}", encoding="utf-8")
    monkeypatch.setattr(fleet, "NGINX", tmp_path / "nginx.conf")
    with pytest.raises(ValueError, match="must have one line like"):
        fleet.nginx_configuration(1234, [5001], tmp_path)
    assert loadtest.LAYOUTS.keys() >= {"one", "three", "compose"}
