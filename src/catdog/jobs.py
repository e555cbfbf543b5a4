"""The table of jobs: what was asked for, how far it is, what came out.

Web processes and commands only read and write rows here; `worker` does the work. That one job of a kind is under way is
kept by the database (a unique index on the rows that are queued or running), not by whoever asks.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from sqlalchemy import Engine, RowMapping, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from catdog import strict_json, tables
from catdog.database import is_storable
from catdog.errors import ConflictError, DatabaseUnusableError, JobNotFoundError
from catdog.json_reader import JsonError, parse_json

RETRAIN: Final = "retrain"
LOG_LINES: Final = 200
"""Lines of a job's log that are kept, the last ones."""

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
UNDER_WAY: Final = ("queued", "running")

_table = tables.jobs


@dataclass(frozen=True)
class Job:
    """One job as its row tells; times are UTC in ISO 8601, `progress` is in [0, 100]."""

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

    @property
    def in_progress(self) -> bool:
        """Whether it is queued or running."""
        return self.state in UNDER_WAY

    def as_dict(self) -> dict[str, Any]:
        """Give the job in its public form, ready for JSON."""
        return {**vars(self), "log": list(self.log), "in_progress": self.in_progress}


class Jobs:
    """The jobs of one database. Any number of processes may use it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(
        self, kind: str = RETRAIN, arguments: Mapping[str, Any] | None = None, requested_by: str | None = None
    ) -> Job:
        """Queue a job.

        Raises:
            ConflictError: one of that kind is under way; names it.
        """
        row: dict[str, Any] = {
            "id": str(uuid.uuid4()),
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
            # Not the time tells which came last: a clock may be set back.
            "number": select(func.coalesce(func.max(_table.c.number), 0) + 1).scalar_subquery(),
        }
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(_table).values(row))
        except IntegrityError:
            running = self.under_way(kind)
            name = f"job {running.id}, {running.progress:.0f} % done" if running else "a job that ended just now"
            raise ConflictError(
                f"One job at a time: wait for its end, or cancel it. Received: another, beside {name}."
            ) from None
        return self.get(row["id"])

    def get(self, job_id: str) -> Job:
        """Find a job.

        Raises:
            JobNotFoundError: there is none of that id.
        """
        row = None
        if is_storable(job_id):
            with self._engine.connect() as connection:
                row = connection.execute(select(_table).where(_table.c.id == job_id)).mappings().first()
        if row is None:
            raise JobNotFoundError(f"There is no such job. Received: {job_id[:100]!r}")
        return _job(row)

    def under_way(self, kind: str = RETRAIN) -> Job | None:
        """Find the job of a kind that is queued or running."""
        query = select(_table).where(_table.c.kind == kind, _table.c.state.in_(UNDER_WAY))
        with self._engine.connect() as connection:
            row = connection.execute(query).mappings().first()
        return _job(row) if row else None

    def latest(self, kind: str = RETRAIN, limit: int = 1) -> list[Job]:
        """List the jobs of a kind, the newest first."""
        query = select(_table).where(_table.c.kind == kind).order_by(_table.c.number.desc()).limit(limit)
        with self._engine.connect() as connection:
            return [_job(row) for row in connection.execute(query).mappings()]

    def cancel(self, job_id: str | None = None, kind: str = RETRAIN) -> Job:
        """Ask for the end of a job, the one under way where none is named; a queued one ends at once.

        Raises:
            JobNotFoundError: there is none of that id.
            ConflictError: it is not under way.
        """
        job = self.get(job_id) if job_id else self.under_way(kind)
        if job is None or not job.in_progress:
            name = f"job {job.id}, which is {job.state}" if job else "no job"
            raise ConflictError(f"Only a job that is queued or running can be cancelled. Received: {name}.")
        self._update(job.id, cancel_requested=True)
        self.finish(job.id, "cancelled", "Cancelled before it began.", only=("queued",))
        return self.get(job.id)

    def start(self, job_id: str) -> Job:
        """Mark a queued job as running; one that runs already, after its worker was killed, stays so."""
        self._update(job_id, only=("queued",), state="running", started_at=_now())
        return self.get(job_id)

    def report(self, job_id: str, stage: str, progress: float, message: str, eta_seconds: float | None) -> None:
        """Say how far a running job is."""
        self._update(
            job_id, only=("running",), stage=stage, progress=progress, message=message, eta_seconds=eta_seconds
        )

    def log(self, job_id: str, line: str) -> None:
        """Add a line to a job's log."""
        lines = [*self.get(job_id).log, f"{_now()} {line}"][-LOG_LINES:]
        self._update(job_id, log=json.dumps(lines))

    def keep_result(self, job_id: str, result: Mapping[str, Any]) -> None:
        """Keep what a running job found, ahead of its end."""
        self._update(job_id, result=strict_json.dumps(dict(result)))

    def finish(self, job_id: str, state: State, message: str, only: tuple[str, ...] = UNDER_WAY) -> bool:
        """End a job; one that has ended stays as it is. Tells whether it was under way."""
        values: dict[str, Any] = {"progress": 100.0, "stage": "done"} if state == "succeeded" else {}
        values |= {"state": state, "message": message, "eta_seconds": None, "finished_at": _now()}
        if ended := self._update(job_id, only=only, **values):
            self.log(job_id, f"{state}: {message}")
        return ended

    def _update(self, job_id: str, only: tuple[str, ...] = (), **values: Any) -> bool:
        statement = update(_table).where(_table.c.id == job_id).values(**values)
        if only:
            statement = statement.where(_table.c.state.in_(only))
        with self._engine.begin() as connection:
            return connection.execute(statement).rowcount > 0


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
            f"A row of the table of jobs is damaged: {error}. Put back a backup of the database."
        ) from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
