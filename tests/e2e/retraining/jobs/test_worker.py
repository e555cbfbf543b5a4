"""The worker: a job ends exactly once and leaves nothing behind, whatever is killed."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from drawing import add_drawings
from postgres import PostgresServer, move_rows
from waiting import wait_for
from workers import require_clean, working

from catdog.errors import JobCancelledError, JobError
from catdog.registry.store import ModelStore
from catdog.retraining.jobs import trainer
from catdog.retraining.jobs.foreground import finish_here
from catdog.retraining.jobs.lock import only_worker
from catdog.retraining.jobs.table import Job, Jobs
from catdog.retraining.jobs.worker import MAX_INTERRUPTIONS, Worker
from catdog.retraining.stages import STEPS
from catdog.retraining.steps import Retraining
from catdog.settings import Settings, load_settings
from catdog.storage import database
from catdog.storage.database import open_database

pytestmark = pytest.mark.databases
of_the_file = pytest.mark.databases("sqlite")

EARLY = ("collect", "embed", "fit")


def children(pid: int) -> list[int]:
    """List the child processes of a process."""
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


@pytest.fixture(scope="module")
def prepared(trained: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a home with one version and new images. Not to be changed; `home` gives a copy."""
    folder = Path(shutil.copytree(trained.home, tmp_path_factory.mktemp("prepared") / "home"))
    settings = load_settings(home=folder, tracking=False)
    for animal in ("cat", "dog"):
        add_drawings(settings, animal, 8)
    return settings


@pytest.fixture
def home(prepared: Settings, tmp_path: Path, database_url: str | None) -> Settings:
    shutil.copytree(prepared.home, tmp_path / "home")
    move_rows(tmp_path / "home", database_url)
    return load_settings(home=tmp_path / "home", tracking=False)


@pytest.fixture
def jobs(home: Settings) -> Jobs:
    return Jobs(open_database(home))


@pytest.fixture(scope="module")
def busy_workers(
    prepared: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[PostgresServer | None], tuple[Settings, int]]]:
    """Start a worker on each database, once, in its own home folder."""
    running: dict[bool, tuple[Settings, int]] = {}

    def start(server: PostgresServer | None) -> tuple[Settings, int]:
        if bool(server) not in running:
            folder = Path(shutil.copytree(prepared.home, tmp_path_factory.mktemp("busy") / "home"))
            url = server.create() if server else None
            move_rows(folder, url)
            settings = load_settings(home=folder, tracking=False, database_url=url)
            process = workers.enter_context(working(settings))
            running[bool(server)] = settings, process.pid
        return running[bool(server)]

    with ExitStack() as workers:
        yield start


@pytest.fixture
def busy(
    busy_workers: Callable[[PostgresServer | None], tuple[Settings, int]],
    request: pytest.FixtureRequest,
    database_url: str | None,
) -> tuple[Settings, int]:
    """A home folder with a running worker, for tests that don't change the champion."""
    settings, process = busy_workers(request.getfixturevalue("postgres") if database_url else None)
    if settings.database_url:
        os.environ["CATDOG_DATABASE_URL"] = settings.database_url
    return settings, process


def begin(jobs: Jobs, **arguments: bool) -> Job:
    """Queue a job, and wait until its training process is busy."""
    job = jobs.create(arguments=arguments)
    wait_for(lambda: jobs.get(job.id).stage in EARLY, pause=0.005)
    return job


def test_a_job_runs_in_the_foreground_without_a_worker(
    home: Settings, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def kill_at(home: Settings, jobs: Jobs, job: Job, stage: str, pause: float = 0) -> None:
    """Kill a worker during a step, after `pause` seconds, or just after it."""
    with working(home) as process:
        wait_for(
            lambda: (jobs.get(job.id).stage == stage and jobs.get(job.id).state == "running") or ended(jobs, job)(),
            pause=0.005,  # some steps are short
        )
        time.sleep(pause)
        process.kill()


def require_done_once(home: Settings, found: Job, kills: int) -> None:
    assert found.state == "succeeded", found.message
    assert ModelStore(home.models_dir).numbers() == [1, 2]
    assert ModelStore(home.models_dir).champion() == 2
    done = [line.split()[1] for line in found.log if line.endswith(" done")]
    assert sorted(set(done), key=STEPS.index) == list(STEPS)
    assert sorted(done, key=STEPS.index) == done  # none again but the one in hand
    assert len(done) - len(STEPS) <= kills
    require_clean(home)


@pytest.mark.slow
def test_a_job_whose_workers_are_killed_is_finished_by_the_next(home: Settings, jobs: Jobs) -> None:
    """Kill workers before the first step, in the middle, and at the end."""
    job = jobs.create()
    for stage in ("queued", "fit", "promote"):
        kill_at(home, jobs, job, stage)
    require_done_once(home, finish_here(home, job.id), kills=3)


# KILL_MATRIX=3 kills before the first step and in each, three times at each of these seconds: at its begin, inside,
# and at the end of the longer ones or in the next.
MATRIX = [(s, p) for s in ("queued", *STEPS) for p in (0.0, 0.1, 0.4)] * int(os.environ.get("KILL_MATRIX", "0"))


@of_the_file
@pytest.mark.parametrize(("stage", "pause"), MATRIX)
def test_kill_matrix(home: Settings, jobs: Jobs, stage: str, pause: float) -> None:
    job = jobs.create()
    kill_at(home, jobs, job, stage, pause)
    require_done_once(home, finish_here(home, job.id), kills=1)


def hold(settings: Settings, seconds: float, kind: str = "IMMEDIATE") -> threading.Thread:
    """Lock the database against writes for some seconds."""
    held = threading.Event()

    def run() -> None:
        connection = sqlite3.connect(settings.home / "catdog.db", isolation_level=None, timeout=30)
        connection.execute(f"BEGIN {kind}")
        held.set()
        time.sleep(seconds)
        connection.execute("ROLLBACK")
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    held.wait()
    return thread


@pytest.mark.slow
@of_the_file
def test_a_stopped_worker_leaves_its_job_to_the_next(
    home: Settings, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next worker finds the database locked for longer than SQLite waits, which only delays it."""
    with working(home) as process:
        job = begin(jobs)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    assert jobs.get(job.id).state == "running"
    opened = open_database(home, lock_seconds=0.05)
    monkeypatch.setattr("catdog.retraining.jobs.worker.open_database", lambda _: opened)
    holder = hold(home, 2)
    assert finish_here(home, job.id).state == "succeeded"
    holder.join()


@pytest.mark.slow
@of_the_file
def test_a_step_waits_for_a_locked_database(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    configure = database._configure_sqlite
    monkeypatch.setattr(database, "_configure_sqlite", lambda _, *its: configure(0.05, *its))
    work = trainer._prepare(home)
    order = {"job": "one", "step": "collect"}
    holder = hold(home, 1.5)
    assert work(order, lambda *_: None)["uploads"] > 8
    holder.join()
    monkeypatch.setattr(trainer, "LOCKED_SECONDS", 0.5)
    holder = hold(home, 3)
    with pytest.raises(JobError, match="database is locked"):
        work({"job": "two", "step": "collect"}, lambda *_: None)
    holder.join()


@of_the_file
def test_a_full_database_fails_a_step_at_once(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    configure = database._configure_sqlite

    def without_room(lock_seconds: float, connection: sqlite3.Connection, record: object) -> None:
        configure(lock_seconds, connection, record)
        connection.execute("PRAGMA max_page_count=1")  # as many as there are

    monkeypatch.setattr(database, "_configure_sqlite", without_room)
    work, begun = trainer._prepare(home), time.monotonic()
    with pytest.raises(JobError, match="disk is full"):
        work({"job": "one", "step": "collect"}, lambda *_: None)
    assert time.monotonic() - begun < trainer.LOCKED_SECONDS


@pytest.mark.slow
def test_a_killed_training_process_fails_the_job_and_not_the_worker(busy: tuple[Settings, int]) -> None:
    home, worker = busy
    jobs = Jobs(open_database(home))
    job = begin(jobs)
    (trainer,) = wait_for(lambda: children(worker))
    wait_for(lambda: os.getpriority(os.PRIO_PROCESS, trainer) >= 10)
    assert os.getsid(trainer) == os.getsid(worker)  # else niceness may mean nothing between them
    assert os.getpgid(trainer) != os.getpgid(worker)  # or Ctrl-C would end it before the worker can
    os.kill(trainer, signal.SIGKILL)
    wait_for(ended(jobs, job))
    found = jobs.get(job.id)
    assert found.state == "failed"
    assert "killed, perhaps because the machine ran out of memory" in found.message
    require_clean(home)
    again = jobs.create(arguments={"promote": False})
    wait_for(ended(jobs, again))
    assert jobs.get(again.id).state == "succeeded", jobs.get(again.id).message
    wait_for(lambda: not children(worker), 20)  # its memory goes back


@pytest.mark.slow
@pytest.mark.parametrize("running", [True, False], ids=["with a worker", "without a worker"])
def test_ctrl_c_cancels_within_two_seconds_and_keeps_nothing(
    home: Settings, running: bool, request: pytest.FixtureRequest
) -> None:
    if running:  # not asked for otherwise: its database would be used, where that is a server's
        home, _ = request.getfixturevalue("busy")
    jobs, before = Jobs(open_database(home)), ModelStore(home.models_dir).numbers()
    command = subprocess.Popen(
        [sys.executable, "-m", "catdog", "retrain", "--wait"],
        env=os.environ | {"CATDOG_HOME": str(home.home)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: (job := jobs.under_way()) is not None and job.stage in EARLY, pause=0.005)
    (job,) = jobs.latest()
    command.send_signal(signal.SIGINT)
    asked = time.monotonic()
    wait_for(ended(jobs, job), 20)
    print(f"cancelled after {time.monotonic() - asked:.2f} s")  # noqa: T201  # no test asserts a time
    output, errors = command.communicate(timeout=20)
    assert command.returncode == 130, errors
    assert output == ""
    assert errors.split() == f"Error: Job {job.id} was cancelled; nothing was changed.".split()
    assert jobs.get(job.id).state == "cancelled"
    assert ModelStore(home.models_dir).numbers() == before
    require_clean(home)


def test_a_job_that_ended_before_ctrl_c_is_reported(
    home: Settings, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs.create()

    def interrupted(*_: object) -> None:
        jobs.finish(job.id, "succeeded", "Done.")
        raise KeyboardInterrupt

    monkeypatch.setattr("catdog.retraining.jobs.foreground._run_worker", interrupted)
    with pytest.raises(JobCancelledError, match="before it could be cancelled: it succeeded"):
        finish_here(home, job.id)


TAKEN = """
import os, sys
from catdog.settings import load_settings
from catdog.retraining.jobs.worker import Worker
from catdog.retraining.jobs.lock import only_worker
import catdog.retraining.jobs.worker
catdog.retraining.jobs.worker.Trainer.run = lambda *_: os._exit(9)
for _ in range(int(sys.argv[1])):
    if not (child := os.fork()):
        settings = load_settings()
        with only_worker(settings) as lock:
            Worker(settings, lock).run_once()
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
"""


def interrupt(home: Settings, times: int) -> None:
    """Let several workers take the job, each of which dies in its first step."""
    command = [sys.executable, "-W", "ignore", "-c", TAKEN, str(times)]
    subprocess.run(command, env=os.environ | {"CATDOG_HOME": str(home.home)}, check=True)


def test_a_job_that_kills_its_workers_is_given_up(home: Settings, jobs: Jobs) -> None:
    job = jobs.create()
    interrupt(home, times=MAX_INTERRUPTIONS + 1)
    assert jobs.get(job.id).state == "running"
    found = finish_here(home, job.id)
    assert found.state == "failed"
    assert "interrupted more than 3 times" in found.message
    require_clean(home)
    assert jobs.create().in_progress  # nothing is in the way of the next


def stop_in(home: Settings, jobs: Jobs, step: str) -> Job:
    """Leave a job like the first release after a kill: the step in the row, results in the folder."""
    job = jobs.start(jobs.create().id)
    retraining = Retraining(job.id, home, open_database(home))
    for name in STEPS[: STEPS.index(step)]:
        retraining.run(name, lambda *_: None)
    jobs.report(job.id, step, 50, "Under way.", None)
    return job


def steps_done(job: Job) -> list[str]:
    return [line.split()[1] for line in job.log if line.endswith(" done")]


@pytest.mark.slow
def test_a_job_resumes_at_the_step_in_its_row(home: Settings, jobs: Jobs) -> None:
    found = finish_here(home, stop_in(home, jobs, "evaluate").id)
    assert (found.state, found.message.startswith("Version 2 is promoted")) == ("succeeded", True), found.message
    assert steps_done(found) == ["evaluate", "save", "promote"]
    require_clean(home)


@pytest.mark.slow
@pytest.mark.parametrize("lost", [True, False], ids=["results lost", "unknown step"])
def test_a_job_with_missing_results_starts_again(home: Settings, jobs: Jobs, lost: bool) -> None:
    job = stop_in(home, jobs, "fit")
    if lost:
        shutil.rmtree(home.jobs_dir / job.id)
    else:
        jobs.report(job.id, "learn", 50, "A step of another release.", None)
    found = finish_here(home, job.id)
    assert found.state == "succeeded", found.message
    assert steps_done(found) == list(STEPS)
    require_clean(home)


def test_a_job_with_a_result_only_ends(home: Settings, jobs: Jobs) -> None:
    job = jobs.start(jobs.create().id)
    jobs.complete_step(job.id, "promote", "promote", {"version": 1, "decision": "promoted", "reason": "better"})
    found = finish_here(home, job.id)
    assert (found.state, found.message) == ("succeeded", "Version 1 is promoted: better")
    assert steps_done(found) == ["promote"]


def test_there_is_one_worker_per_home(home: Settings) -> None:
    with (
        only_worker(home),
        pytest.raises(JobError, match="A worker is already running for"),
        only_worker(home, timeout=0),
    ):
        pass


def test_a_worker_exits_with_its_parent(home: Settings, jobs: Jobs) -> None:
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
    assert jobs.get(job.id).state == "running"  # left to the next


def test_uploads_warm_the_training_process(home: Settings) -> None:
    with only_worker(home) as lock:
        worker = Worker(home, lock)
        worker._keep_trainer_warm()
        assert worker._trainer.pid is None
        add_drawings(home, "cat", 2, first=30_000)
        worker._keep_trainer_warm()
        assert worker._trainer.pid is not None
        worker.close()
        assert worker._trainer.pid is None
