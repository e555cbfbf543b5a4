"""The serving benchmark starts, parses wrk's output and computes ratios. No time is asserted."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from drawing import write_dataset

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"

WRK_OUTPUT = """\
Running 1s test @ http://127.0.0.1:55539/api/predict
  1 threads and 2 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     4.53ms    8.28ms  59.37ms   89.67%
    Req/Sec     1.02k   558.17     1.94k    70.00%
  Latency Distribution
     50%  839.00us
     75%    4.36ms
     90%   13.06ms
     99%   41.54ms
  1023 requests in 1.01s, 554.46KB read
  Non-2xx or 3xx responses: 1023
Requests/sec:   1010.49
Transfer/sec:    547.68KB
{"answers": 1023, "microseconds": 1012380, "p50": 839, "p95": 22395, "p99": 41543, "statuses": 1023, "sockets": 0, "late": 0}
"""  # noqa: E501  # as wrk and load.lua print it


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """A function that imports a module of the benchmarks."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.fixture
def load(benchmark: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark("load")


@pytest.fixture
def comparison(benchmark: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark("comparison")


def run_serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "serve.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"}, check=False)


def test_the_output_of_wrk_is_parsed(load: ModuleType) -> None:
    measured = load.measured_from(load.parse(WRK_OUTPUT), load_cores=0.5)
    assert (measured.answers, measured.failed, measured.rate) == (0, 1023, 0)
    assert measured.seconds == pytest.approx(1.01238)
    assert (measured.p50, measured.p95, measured.p99) == pytest.approx((0.839, 22.395, 41.543))


def test_failed_responses_do_not_count_in_the_rate(load: ModuleType) -> None:
    found = load.parse(WRK_OUTPUT) | {
        "answers": 100,
        "microseconds": 2_000_000,
        "statuses": 10,
        "sockets": 5,
        "late": 5,
    }
    measured = load.measured_from(found)
    assert (measured.failed, measured.rate) == (20, 42.5), "wrk counts a broken connection as no answer"


def test_wrk_without_counts_is_an_error(load: ModuleType) -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        load.parse("unable to connect to 127.0.0.1:55538 Connection refused\n")


def test_ratios_are_taken_within_a_round(comparison: ModuleType, load: ModuleType) -> None:
    def row(number: int, server: str, answers: int, p95: float, connections: int = 100) -> object:
        return comparison.Row(number, server, connections, load.Measured(answers, 1.0, 5.0, p95, 9.0))

    rows = [
        row(1, "catdog", 300, 10), row(1, "usual", 10, 200), row(1, "fastapi", 150, 20), row(1, "bare", 400, 4),
        row(2, "catdog", 100, 30), row(2, "usual", 5, 300), row(2, "bentoml", 200, 15), row(2, "bare", 100, 4),
    ]  # fmt: skip
    found = {(one.rival, one.figure): (one.median, one.least, one.greatest) for one in comparison.compare(rows)}
    assert found["usual", "rate"] == (25, 20, 30)
    assert found["usual", "p95"] == pytest.approx((0.075, 0.05, 0.1))
    assert found["best framework", "rate"] == (1.25, 0.5, 2)
    assert found["bare", "rate"] == (0.875, 0.75, 1)
    assert ("bare", "p95") not in found, "a loop has no queue in which requests wait"
    alone = comparison.compare([row(1, "catdog", 90, 12, connections=1), row(1, "bare", 100, 10, connections=1)])
    assert {one.figure: one.median for one in alone} == pytest.approx({"rate": 0.9, "p50": 1, "p95": 1.2})


def test_it_prints_its_usage() -> None:
    finished = run_serve("--help")
    assert finished.returncode == 0, finished.stderr
    assert {"--pictures", "--only", "--rounds", "--seconds", "--body", "--json", "--environment"} <= set(
        finished.stdout.replace(",", " ").split()
    )


@pytest.mark.parametrize(
    ("arguments", "received"),
    [
        (["--only", "catdog,nginx"], "unknown in --only: nginx"),
        (["--only", "catdog,usual", "--body", "raw"], "--body raw doesn't work with usual"),
    ],
)
def test_unknown_servers_are_refused(arguments: list[str], received: str) -> None:
    finished = run_serve("--pictures", ".", *arguments)
    assert finished.returncode == 2
    assert received in finished.stderr


def test_only_requests_in_progress_at_a_kill_are_explained(
    benchmark: Callable[[str], ModuleType],
) -> None:
    witness = benchmark("witness")
    kills = [witness.Kill(10.0, "web"), witness.Kill(20.0, "worker")]

    def broken(began: float, ended: float, status: int | None = None) -> object:
        return witness.Request("/api/predict", began, ended, status, "reset")

    under_way, after, at_the_worker, refused = (
        broken(9.5, 10.1),
        broken(11, 11.2),
        broken(19.9, 20.1),
        broken(9, 11, 503),
    )
    assert witness.unexplained([under_way, after, at_the_worker, refused], kills) == [after, at_the_worker, refused]


def test_a_soak_reports_losses_and_growth(benchmark: Callable[[str], ModuleType]) -> None:
    processes, soak, witness = map(benchmark, ("processes", "soak", "witness"))
    record = witness.Record(jobs=["a", "b"], pictures=20)
    assert soak.complaints(record, {"a": "succeeded", "b": "succeeded"}, kept=20) == []
    assert len(soak.complaints(record, {"a": "failed"}, kept=19)) == 3
    before = {"web": processes.Usage(200, 40, 20), "worker": processes.Usage(100, 8, 1)}
    assert soak.grown(before, before) == []
    grown = {"web": processes.Usage(231, 40, 21), "worker": processes.Usage(100, 20, 1)}
    assert len(soak.grown(before, grown)) == 3


@pytest.mark.slow
def test_a_short_soak_loses_nothing(tmp_path: Path) -> None:
    write_dataset(tmp_path / "pets", train=150, test=0)
    options = ["--data", str(tmp_path / "pets"), "--seconds", "8", "--least", "2", "--most", "4", "--warm-up", "1"]
    done = subprocess.run([sys.executable, str(BENCHMARKS / "soak.py"), *options], capture_output=True, text=True)
    # Its memory isn't judged here: so short a run says little, and other tests run beside it.
    lost = [line for line in done.stderr.splitlines() if not line.startswith(("Memory", "Files or threads"))]
    assert lost == [], done.stdout
    assert "unexplained: 0" in done.stdout
