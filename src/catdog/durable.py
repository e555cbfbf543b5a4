"""Running a job as a durable workflow: each step is recorded, and a killed worker's job goes on where it stood.

DBOS (https://docs.dbos.dev) keeps the record: in an SQLite file of its own beside catdog's, or on the same server where
the database is one. Its threads and connections are there only while a job runs, and nothing but the worker imports it.
"""

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from catdog.database import sqlite_path
from catdog.logs import write_json
from catdog.settings import Settings

APPLICATION_VERSION: Final = "catdog-retraining-1"
"""Changes with what the steps are: a job that was begun under another one cannot go on, and is told to have failed."""

EXECUTOR: Final = "catdog-worker"
MAX_RECOVERY_ATTEMPTS: Final = 3
CONNECTIONS: Final = 5
"""Most connections to a database on a server, while a job runs; DBOS' own default is 20."""

_POLL_SECONDS: Final = 0.1
_WORKFLOW: Final = "retrain"
_OTHER_CATDOG: Final = "It was begun by another version of catdog, whose steps were others; start it again."

Step = Callable[[str, str], dict[str, Any]]
"""Does one step, by (job id, step's name); gives what is to be recorded, ready for JSON, and raises nothing."""

_steps: dict[str, Any] = {}  # what DBOS runs must be registered once and by name; what it calls is set for each run


class Interrupted(Exception):  # noqa: N818  # not an error of anybody's
    """The workflow cannot go on; the message says why."""


def run_durably(
    settings: Settings, job_id: str, step: Step, names: tuple[str, ...], on_wait: Callable[[], None]
) -> None:
    """Run the steps of a job that are not recorded yet, in order, until all are or one asks for the end.

    A step's result with a key `end` is the last; that of another names the step as `done`.

    Args:
        settings: where the database is.
        job_id: names the workflow too.
        step: does a step.
        names: of the steps.
        on_wait: called several times a second meanwhile.

    Raises:
        Interrupted: the workflow was begun by another catdog, or interrupted too often.
    """
    with _launched(settings) as dbos:
        from dbos import SetWorkflowID

        _steps["step"], _steps["names"] = step, names
        known = dbos.get_workflow_status(job_id)
        if known is None:
            with SetWorkflowID(job_id):
                dbos.start_workflow(_steps["workflow"], job_id)
        elif (known.app_version, known.name) != (APPLICATION_VERSION, _WORKFLOW):  # which nobody here can go on with
            raise Interrupted(_OTHER_CATDOG)
        while (status := dbos.get_workflow_status(job_id)) is None or status.status in (
            "PENDING",
            "ENQUEUED",
            "DELAYED",
        ):
            on_wait()
            time.sleep(_POLL_SECONDS)
        if status.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
            raise Interrupted(f"Its worker was interrupted more than {MAX_RECOVERY_ATTEMPTS} times; start it again.")
        if status.status != "SUCCESS":
            raise Interrupted(f"It ended as {status.status}: {status.error or 'no reason is known'}.")


def preload() -> None:
    """Import what `run_durably` needs, ahead of its use."""
    import dbos  # noqa: F401


@contextmanager
def _launched(settings: Settings) -> Iterator[Any]:
    from dbos import DBOS, DBOSPortableJSONSerializer

    _register(DBOS)
    DBOS(
        config={
            "name": "catdog",
            "system_database_url": _system_database(settings),
            "application_version": APPLICATION_VERSION,
            "executor_id": EXECUTOR,
            "sys_db_pool_size": CONNECTIONS,
            "serializer": DBOSPortableJSONSerializer(),  # nothing is unpickled
            "log_level": "WARNING",
            "enable_otlp": False,
        }
    )
    try:
        DBOS.launch()
        logging.getLogger("dbos").setLevel(logging.WARNING)
        if settings.log == "json":
            write_json(logging.getLogger("dbos"))
        yield DBOS
    finally:
        DBOS.destroy()


def _register(dbos: Any) -> None:
    if "workflow" in _steps:
        return

    @dbos.step(name="step")  # type: ignore[untyped-decorator]
    def do(job_id: str, name: str) -> dict[str, Any]:
        result: dict[str, Any] = _steps["step"](job_id, name)
        return result

    @dbos.workflow(name=_WORKFLOW, max_recovery_attempts=MAX_RECOVERY_ATTEMPTS)  # type: ignore[untyped-decorator]
    def workflow(job_id: str) -> None:
        for name in _steps["names"]:
            recorded = do(job_id, name)
            if "end" in recorded:
                return
            if recorded.get("done") != name:  # by a catdog that had another step at this place
                raise RuntimeError(_OTHER_CATDOG)

    _steps["workflow"] = workflow


def _system_database(settings: Settings) -> str:
    """Give the URL of DBOS' tables; an SQLite file is made first, for its owner alone and in write-ahead mode.

    SQLite's own default of `synchronous=FULL` holds there: what is recorded as done survives a power cut.
    """
    path = sqlite_path(settings.resolved_database_url)
    if path is None:
        return settings.resolved_database_url
    file = path.with_name(f"{path.stem}-jobs{path.suffix}")
    _make_private(file)
    with sqlite3.connect(file, timeout=30) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    from sqlalchemy import URL

    return URL.create("sqlite", database=str(file)).render_as_string()


def _make_private(file: Path) -> None:
    """Make a file that only its owner may read; SQLite gives its companions the same rights."""
    os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    file.chmod(0o600)
