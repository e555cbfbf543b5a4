"""The table of jobs: one job at a time, and none loses its state."""

import os
import subprocess
import sys

import pytest
from sqlalchemy import Engine, insert, text, update
from sqlalchemy.exc import IntegrityError

from catdog.errors import ConflictError, JobNotFoundError
from catdog.retraining.jobs.table import LOG_LINES, Jobs
from catdog.settings import Settings
from catdog.storage import tables
from catdog.storage.database import open_database

pytestmark = pytest.mark.databases


@pytest.fixture
def engine(settings: Settings) -> Engine:
    return open_database(settings)


@pytest.fixture
def jobs(engine: Engine) -> Jobs:
    return Jobs(engine)


def test_a_job_goes_from_queued_to_its_end(jobs: Jobs) -> None:
    job = jobs.create(arguments={"promote": False}, requested_by="me")
    assert (job.state, job.progress, job.arguments, job.requested_by) == ("queued", 0, {"promote": False}, "me")
    assert job.in_progress
    assert jobs.start(job.id).state == "running"
    jobs.report(job.id, "fit", 50, "Fitting.", 3.5)
    jobs.complete_step(job.id, "collect", "fit", {"version": 2})
    found = jobs.get(job.id)
    assert (found.stage, found.progress, found.message, found.eta_seconds) == ("fit", 50, "Fitting.", 3.5)
    jobs.finish(job.id, "succeeded", "Done.")
    found = jobs.get(job.id)
    assert (found.state, found.progress, found.eta_seconds, found.result) == ("succeeded", 100, None, {"version": 2})
    assert found.started_at is not None
    assert found.finished_at is not None
    assert found.started_at <= found.finished_at
    assert [line.split(maxsplit=1)[1] for line in found.log] == ["queued", "collect done", "succeeded: Done."]
    assert not found.in_progress


def test_an_ended_job_does_not_change(jobs: Jobs) -> None:
    job = jobs.create()
    jobs.finish(job.id, "failed", "No.")
    jobs.start(job.id)
    jobs.report(job.id, "fit", 50, "Fitting.", None)
    jobs.finish(job.id, "succeeded", "Yes.")
    assert (jobs.get(job.id).state, jobs.get(job.id).message, jobs.get(job.id).progress) == ("failed", "No.", 0)


def test_a_second_job_is_refused_and_the_first_is_named(jobs: Jobs) -> None:
    first = jobs.create()
    with pytest.raises(ConflictError, match=first.id):
        jobs.create()
    jobs.finish(first.id, "failed", "No.")
    assert jobs.create().id != first.id


def test_the_database_itself_refuses_a_second_job(jobs: Jobs, engine: Engine) -> None:
    job = jobs.create()
    row = {**vars(job), "id": "other", "arguments": "{}", "log": "[]", "result": None}
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(insert(tables.jobs), row)
    with engine.begin() as connection:
        connection.execute(insert(tables.jobs), {**row, "state": "failed"})


def test_only_one_of_many_processes_gets_its_job(settings: Settings, jobs: Jobs) -> None:
    code = (
        "import sys, threading\n"
        "from catdog.storage import database; from catdog.retraining.jobs import table as jobs\n"
        "from catdog import settings\n"
        "from catdog.errors import ConflictError\n"
        "table = jobs.Jobs(database.open_database(settings.load_settings()))\n"
        "def ask():\n"
        "    try: line = table.create().id\n"
        "    except ConflictError as error: line = f'refused {error}'\n"
        "    sys.stdout.write(line + '\\n')\n"
        "threads = [threading.Thread(target=ask) for _ in range(5)]\n"
        "sys.stdin.read()\n"
        "for t in threads: t.start()\n"
        "for t in threads: t.join()\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "CATDOG_HOME": str(settings.home)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    lines = [line for process in processes for line in process.communicate(timeout=60)[0].splitlines()]
    accepted = [line for line in lines if not line.startswith("refused")]
    assert len(lines) == 20
    assert len(accepted) == 1
    assert all(accepted[0] in line for line in lines)
    assert [job.id for job in jobs.latest(limit=50)] == accepted


def test_cancelling_ends_a_queued_job_at_once_and_asks_a_running_one(jobs: Jobs) -> None:
    queued = jobs.cancel(jobs.create().id)
    assert (queued.state, queued.in_progress) == ("cancelled", False)
    running = jobs.start(jobs.create().id)
    asked = jobs.cancel()
    assert (asked.id, asked.state, asked.cancel_requested) == (running.id, "running", True)
    jobs.finish(running.id, "cancelled", "Done.")
    with pytest.raises(ConflictError, match=f"{running.id}: it has already ended .cancelled."):
        jobs.cancel(running.id)
    with pytest.raises(ConflictError, match="No job"):
        jobs.cancel()


def test_an_unknown_job(jobs: Jobs) -> None:
    for ask in (jobs.get, jobs.cancel):
        for unknown in ("nothing like it", "nothing like it\0"):
            with pytest.raises(JobNotFoundError, match="nothing like it"):
                ask(unknown)
    assert jobs.under_way() is None
    assert jobs.latest() == []


def test_a_log_keeps_its_last_lines(jobs: Jobs) -> None:
    job = jobs.start(jobs.create().id)
    for number in range(LOG_LINES + 5):
        jobs.complete_step(job.id, f"line {number}", "fit")
    log = jobs.get(job.id).log
    assert len(log) == LOG_LINES
    assert log[-1].endswith(f"line {LOG_LINES + 4} done")


def test_jobs_are_listed_the_newest_first_and_survive_a_restart(settings: Settings, jobs: Jobs) -> None:
    made = []
    for _ in range(3):
        made.append(jobs.create().id)
        jobs.finish(made[-1], "failed", "No.")
    again = Jobs(open_database(settings))
    assert sorted(job.id for job in again.latest(limit=10)) == sorted(made)
    assert len(again.latest(limit=2)) == 2


def test_the_newest_job_is_the_last_queued_one_even_if_the_clock_goes_back(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = jobs.create()
    jobs.finish(old.id, "failed", "No.")
    monkeypatch.setattr("catdog.retraining.jobs.table._now", lambda: "1999-12-31T00:00:00.000+00:00")
    new = jobs.create()
    assert [job.id for job in jobs.latest(limit=2)] == [new.id, old.id]


def test_jobs_from_before_they_were_numbered_keep_their_order(engine: Engine, settings: Settings) -> None:
    made = []
    for hour in range(3):
        made.append(Jobs(engine).create().id)
        Jobs(engine).finish(made[-1], "failed", "No.")
        with engine.begin() as connection:
            values = {"created_at": f"2026-01-01T0{3 - hour}:00:00.000+00:00"}  # as a clock tells that is set back
            connection.execute(update(tables.jobs).where(tables.jobs.c.id == made[-1]).values(values))
    under_way = Jobs(engine).create().id
    with engine.begin() as connection:
        connection.execute(update(tables.jobs).where(tables.jobs.c.id == under_way).values(created_at="1999"))
        connection.execute(text("ALTER TABLE jobs DROP COLUMN number"))
        connection.execute(text("ALTER TABLE jobs DROP COLUMN attempts"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0005'"))
    engine.dispose()
    again = Jobs(open_database(settings))
    assert [job.id for job in again.latest(limit=10)] == [under_way, *made]
    again.finish(under_way, "failed", "No.")
    assert again.latest()[0].id == under_way
    assert again.create().id == again.latest()[0].id


def test_attempts_are_counted_and_a_job_from_before_has_none(engine: Engine, settings: Settings) -> None:
    job = Jobs(engine).start(Jobs(engine).create().id)
    again = Jobs(engine).start(job.id)
    assert (again.attempts, again.started_at) == (2, job.started_at)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE jobs DROP COLUMN attempts"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0006'"))
    engine.dispose()
    found = Jobs(open_database(settings)).get(job.id)
    assert (found.state, found.attempts) == ("running", 0)
