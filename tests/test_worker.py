"""The worker: whatever is killed and when, a job ends, once, with nothing left behind."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from drawing import add_drawings

from catdog import durable
from catdog.database import open_database
from catdog.errors import JobError
from catdog.jobs import Job, Jobs
from catdog.retraining import STEPS
from catdog.settings import Settings
from catdog.store import ModelStore
from catdog.worker import STAGES, Worker, finish_here, only_worker


@contextmanager
def working(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker in a process of its own until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "catdog", "worker"], env=os.environ | {"CATDOG_HOME": str(settings.home)}
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.005)


def children(pid: int) -> list[int]:
    """List the processes that one has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def ended(jobs: Jobs, job: Job) -> Callable[[], bool]:
    return lambda: not jobs.get(job.id).in_progress


def require_clean(settings: Settings) -> None:
    """Check that there is nothing but whole versions, and nothing of a job."""
    hidden = [path.name for path in settings.models_dir.rglob(".new-*")]
    assert hidden == []
    assert list(settings.jobs_dir.glob("*")) == []


@pytest.fixture
def jobs(home: Settings) -> Jobs:
    for animal in ("cat", "dog"):
        add_drawings(home, animal, 8)
    return Jobs(open_database(home))


def test_stages_are_the_steps_of_retraining() -> None:
    assert tuple(STAGES) == STEPS


def test_a_job_is_done_where_no_worker_runs(home: Settings, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    messages, report = [], Jobs.report

    def note(*told: Any) -> None:
        messages.append(told[4])
        report(*told)

    monkeypatch.setattr(Jobs, "report", note)
    job = finish_here(home, jobs.create().id)
    counted = [message for message in messages if message.startswith("Fitting the head. Epoch ")]
    assert counted
    assert counted[-1].endswith(" of 30.")
    assert job.state == "succeeded", job.message
    assert job.progress == 100
    assert job.result is not None
    assert (job.result["version"], job.result["decision"]) == (2, "promoted")
    assert ModelStore(home.models_dir).champion() == 2
    assert [line.split(maxsplit=1)[1] for line in job.log[1:-1]] == [f"{step} done" for step in STEPS]
    require_clean(home)
    record = home.home / "catdog-jobs.db"
    assert record.stat().st_mode & 0o077 == 0
    with sqlite3.connect(record) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        ((inputs,),) = connection.execute("SELECT inputs FROM workflow_input").fetchall()
    assert json.loads(inputs) == {"namedArgs": {}, "positionalArgs": [job.id]}


# KILL_MATRIX=3 kills at every step, three times each; otherwise at three of them, once.
REPEATED = int(os.environ.get("KILL_MATRIX", "0"))


@pytest.mark.parametrize("stage", [*STEPS, "queued"] * REPEATED if REPEATED else ["queued", "fit", "promote"])
def test_a_killed_worker_is_followed_by_one_that_ends_the_job(home: Settings, jobs: Jobs, stage: str) -> None:
    """Kill it while a step is under way, or just done; `queued` is before the first."""
    job = jobs.create()
    with working(home) as process:
        wait_for(
            lambda: (jobs.get(job.id).stage == stage and jobs.get(job.id).state == "running") or ended(jobs, job)()
        )
        process.kill()
    with working(home):
        wait_for(ended(jobs, job))
    found = jobs.get(job.id)
    assert found.state == "succeeded", found.message
    assert ModelStore(home.models_dir).numbers() == [1, 2]
    assert ModelStore(home.models_dir).champion() == 2
    done = [line.split()[1] for line in found.log if line.endswith(" done")]
    assert sorted(set(done), key=STEPS.index) == list(STEPS)
    assert len(done) - len(STEPS) <= 1  # at most the one in hand twice
    require_clean(home)


def test_a_worker_that_is_asked_to_end_leaves_its_job_to_the_next(home: Settings, jobs: Jobs) -> None:
    job = jobs.create()
    with working(home) as process:
        wait_for(lambda: jobs.get(job.id).stage in ("embed", "fit"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    assert jobs.get(job.id).state == "running"
    assert finish_here(home, job.id).state == "succeeded"


def test_a_killed_training_process_fails_the_job_and_not_the_worker(home: Settings, jobs: Jobs) -> None:
    job = jobs.create()
    with working(home) as process:
        wait_for(lambda: jobs.get(job.id).stage in ("embed", "fit"))
        (trainer,) = children(process.pid)
        assert os.getpriority(os.PRIO_PROCESS, trainer) >= 10
        os.kill(trainer, signal.SIGKILL)
        wait_for(ended(jobs, job))
        found = jobs.get(job.id)
        assert found.state == "failed"
        assert "killed, perhaps because the machine ran out of memory" in found.message
        assert process.poll() is None
        require_clean(home)
        again = jobs.create()
        wait_for(ended(jobs, again))
        assert jobs.get(again.id).state == "succeeded"
        wait_for(lambda: not children(process.pid), 20)  # its memory goes back


def test_cancelling_takes_two_seconds_at_most_and_keeps_nothing(home: Settings, jobs: Jobs) -> None:
    job = jobs.create()
    with working(home):
        wait_for(lambda: jobs.get(job.id).stage in ("embed", "fit"))
        jobs.cancel(job.id)
        asked = time.monotonic()
        wait_for(ended(jobs, job), 20)
        spent = time.monotonic() - asked
    assert jobs.get(job.id).state == "cancelled"
    assert ModelStore(home.models_dir).numbers() == [1]
    require_clean(home)
    print(f"cancelled after {spent:.2f} s")  # noqa: T201  # a benchmark's figure; no test asserts a time


def test_a_database_that_is_locked_for_a_while_only_delays(home: Settings, jobs: Jobs) -> None:
    job = jobs.create()
    with working(home):
        wait_for(lambda: jobs.get(job.id).stage in ("embed", "fit"))
        with sqlite3.connect(home.home / "catdog.db", isolation_level=None) as connection:
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(3)
            connection.execute("ROLLBACK")
        connection.close()
        wait_for(ended(jobs, job))
    assert jobs.get(job.id).state == "succeeded"


def test_a_job_of_another_catdog_fails_in_words(home: Settings, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    job = jobs.create()
    with working(home) as process:
        wait_for(lambda: jobs.get(job.id).stage in ("embed", "fit"))
        process.kill()
    monkeypatch.setattr(durable, "APPLICATION_VERSION", "catdog-retraining-next")
    found = finish_here(home, job.id)
    assert found.state == "failed"
    assert "another version of catdog" in found.message
    require_clean(home)
    assert finish_here(home, jobs.create().id).state == "succeeded"


def attempts(settings: Settings) -> int:
    """Tell how often a worker began with the job, by DBOS' record."""
    try:
        with sqlite3.connect(f"file:{settings.home / 'catdog-jobs.db'}?mode=ro", uri=True) as connection:
            rows = connection.execute("SELECT recovery_attempts FROM workflow_status").fetchall()
        connection.close()
    except sqlite3.OperationalError:  # it is not there yet
        return 0
    return sum(count for (count,) in rows)


def test_one_that_is_interrupted_again_and_again_fails_in_words(home: Settings, jobs: Jobs) -> None:
    job = jobs.create()
    for count in range(1, durable.MAX_RECOVERY_ATTEMPTS + 2):
        with working(home) as process:
            wait_for(lambda count=count: attempts(home) == count)  # type: ignore[misc]
            process.kill()
    found = finish_here(home, job.id)
    assert found.state == "failed"
    assert "interrupted more than 3 times" in found.message
    require_clean(home)


def test_there_is_one_worker_a_home(home: Settings) -> None:
    with only_worker(home), pytest.raises(JobError, match="One worker a home"), only_worker(home, timeout=0):
        pass


def test_a_worker_ends_with_its_parent(home: Settings, jobs: Jobs) -> None:
    code = (
        "import os, subprocess, sys, time\n"
        "process = subprocess.Popen([sys.executable, '-m', 'catdog', 'worker', '--parent', str(os.getpid())])\n"
        "print(process.pid, flush=True)\n"
        "time.sleep(100)\n"
    )
    environment = os.environ | {"CATDOG_HOME": str(home.home)}
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    job = jobs.create()
    wait_for(lambda: jobs.get(job.id).state == "running")
    parent.kill()
    parent.communicate()
    wait_for(lambda: not Path(f"/proc/{worker}").exists() or "Z" in Path(f"/proc/{worker}/stat").read_text(), 20)
    assert finish_here(home, job.id).state == "succeeded"


def test_pictures_that_come_in_warm_the_training_process(home: Settings) -> None:
    with only_worker(home):
        worker = Worker(home)
        worker._keep_warm()
        assert worker._trainer.pid is None
        add_drawings(home, "cat", 2)
        worker._keep_warm()
        assert worker._trainer.pid is not None
        worker.close()
        assert worker._trainer.pid is None
