"""The table of jobs: requests, progress and results.

Web processes and commands only read and write rows; the worker does the work. A unique index allows one queued or
running job per kind.
"""

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from sqlalchemy import Engine, RowMapping, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from catdog.errors import ConflictError, DatabaseUnusableError, JobNotFoundError
from catdog.storage import strict_json, tables
from catdog.storage.database import is_storable
from catdog.storage.json_reader import JsonError, parse_json

RETRAIN: Final = "retrain"
LOG_LINES: Final = 200
"""Maximum lines in a job's log; the oldest are dropped."""

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
UNDER_WAY: Final = ("queued", "running")

_table = tables.jobs


@dataclass(frozen=True)
class Job:
    """One row of the table.

    Times are UTC in ISO 8601, `progress` is in [0, 100], `attempts` counts how often a worker started the job, and
    `stage` is the current step.
    """

    id: str
    kind: str
    state: State
    stage: str
    progress: float
    message: str
    eta_seconds: float | None
    arguments: dict[str, Any]
    log: tuple[str, ...]
    result: dict[str, Any] | None
    cancel_requested: bool
    requested_by: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    attempts: int

    @property
    def in_progress(self) -> bool:
        """Whether it is queued or running."""
        return self.state in UNDER_WAY

    def seconds_left(self, progress: float) -> float | None:
        """Estimate the remaining seconds; None while it is too early to tell."""
        if self.started_at is None or progress < 5:
            return None
        started = datetime.fromisoformat(self.started_at).timestamp()
        spent = max(0.0, time.time() - started)  # the clock may have been set back
        return round(spent * (100 - progress) / progress, 1)

    def as_dict(self) -> dict[str, Any]:
        """Return the job in its public form, ready for JSON."""
        public = {name: value for name, value in vars(self).items() if name != "attempts"}
        return {**public, "log": list(self.log), "in_progress": self.in_progress}


class Jobs:
    """The jobs in one database; safe for use by several processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(
        self,
        kind: str = RETRAIN,
        arguments: Mapping[str, Any] | None = None,
        requested_by: str | None = None,
        job_id: str | None = None,
    ) -> Job:
        """Queue a job, with a new ID unless one is given.

        Raises:
            ConflictError: a job of that kind is queued or running.
        """
        row: dict[str, Any] = {
            "id": job_id or str(uuid.uuid4()),
            "kind": kind,
            "state": "queued",
            "stage": "queued",
            "progress": 0.0,
            "message": "Waiting for the worker.",
            "arguments": json.dumps(dict(arguments or {})),
            "log": json.dumps([f"{_now()} queued"]),
            "cancel_requested": False,
            "requested_by": requested_by,
            "created_at": _now(),
            # Jobs are numbered, as the clock may be set back.
            "number": select(func.coalesce(func.max(_table.c.number), 0) + 1).scalar_subquery(),
        }
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(_table).values(row))
        except IntegrityError:
            running = self.under_way(kind)
            name = f"job {running.id} is {running.progress:.0f} % done" if running else "another has just finished"
            raise ConflictError(f"One job at a time: {name}. Wait for it to finish, or cancel it.") from None
        return self.get(row["id"])

    def get(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            JobNotFoundError: no job has that ID.
        """
        row = None
        if is_storable(job_id):
            with self._engine.connect() as connection:
                row = connection.execute(select(_table).where(_table.c.id == job_id)).mappings().first()
        if row is None:
            raise JobNotFoundError(f"No job {job_id[:100]!r}.")
        return _job(row)

    def under_way(self, kind: str = RETRAIN) -> Job | None:
        """Return the queued or running job of a kind."""
        query = select(_table).where(_table.c.kind == kind, _table.c.state.in_(UNDER_WAY))
        with self._engine.connect() as connection:
            row = connection.execute(query).mappings().first()
        return _job(row) if row else None

    def latest(self, kind: str = RETRAIN, limit: int = 1) -> list[Job]:
        """Return the jobs of a kind, newest first."""
        query = select(_table).where(_table.c.kind == kind).order_by(_table.c.number.desc()).limit(limit)
        with self._engine.connect() as connection:
            return [_job(row) for row in connection.execute(query).mappings()]

    def cancel(self, job_id: str | None = None, kind: str = RETRAIN) -> Job:
        """Request cancellation of a job, by default the current one; a queued job ends at once.

        Raises:
            JobNotFoundError: no job has that ID.
            ConflictError: it is neither queued nor running.
        """
        job = self.get(job_id) if job_id else self.under_way(kind)
        if job is None:
            raise ConflictError("No job to cancel: none is queued or running.")
        if not job.in_progress:
            raise ConflictError(f"Can't cancel job {job.id}: it has already ended ({job.state}).")
        self._update(job.id, cancel_requested=True)
        self.finish(job.id, "cancelled", "Cancelled before it began.", only=("queued",))
        return self.get(job.id)

    def start(self, job_id: str) -> Job:
        """Count an attempt at a job and mark it as running; a resumed job keeps its start time."""
        started_at = func.coalesce(_table.c.started_at, _now())
        self._update(job_id, only=UNDER_WAY, state="running", attempts=_table.c.attempts + 1, started_at=started_at)
        return self.get(job_id)

    def report(self, job_id: str, stage: str, progress: float, message: str, eta_seconds: float | None) -> None:
        """Update the progress of a running job."""
        self._update(
            job_id, only=("running",), stage=stage, progress=progress, message=message, eta_seconds=eta_seconds
        )

    def complete_step(self, job_id: str, step: str, following: str, result: Mapping[str, Any] | None = None) -> None:
        """Record that a step is done.

        Args:
            job_id: ID of a running job.
            step: the completed step.
            following: the next step.
            result: the result of the job, if known.
        """
        kept = {} if result is None else {"result": strict_json.dumps(dict(result))}
        self._update(job_id, only=("running",), line=f"{step} done", stage=following, **kept)

    def finish(self, job_id: str, state: State, message: str, only: tuple[str, ...] = UNDER_WAY) -> bool:
        """End a job; return False if it has already ended."""
        values: dict[str, Any] = {"progress": 100.0, "stage": "done"} if state == "succeeded" else {}
        values |= {"state": state, "message": message, "eta_seconds": None, "finished_at": _now()}
        return self._update(job_id, only=only, line=f"{state}: {message}", **values)

    def _update(self, job_id: str, only: tuple[str, ...] = (), line: str | None = None, **values: Any) -> bool:
        """Change a job in one of the states `only` and add a line to its log, in one transaction."""
        chosen = update(_table).where(_table.c.id == job_id)
        with self._engine.begin() as connection:
            # Write before reading: a SQLite transaction that starts with a read may fail to upgrade its lock.
            changed = chosen.where(_table.c.state.in_(only)) if only else chosen
            if not connection.execute(changed.values(**values)).rowcount:
                return False
            if line is not None:
                log = _parse(connection.scalar(select(_table.c.log).where(_table.c.id == job_id)) or "[]")
                connection.execute(chosen.values(log=json.dumps([*log, f"{_now()} {line}"][-LOG_LINES:])))
        return True


def _job(row: RowMapping) -> Job:
    values = {name: value for name, value in row.items() if name != "number"}
    for name in ("arguments", "log", "result"):
        values[name] = None if values[name] is None else _parse(values[name])
    return Job(**{**values, "log": tuple(values["log"])})


def _parse(text: str) -> Any:
    try:
        return parse_json(text.encode(errors="surrogatepass"))
    except JsonError as error:
        raise DatabaseUnusableError(
            f"A row in the table of jobs is damaged: {error}. Restore the database from a backup."
        ) from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
