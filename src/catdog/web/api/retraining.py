"""Routes that start, cancel and report retraining jobs, which the worker runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from apiflask import APIBlueprint
from flask import url_for
from sqlalchemy import Engine

from catdog.errors import CatdogError, DatabaseBusyError, DatabaseUnusableError
from catdog.retraining.dataset import require_new
from catdog.retraining.jobs.table import Job, Jobs
from catdog.storage.contention import PASSING
from catdog.text import counted
from catdog.web import schemas
from catdog.web.api.uploads import uploads
from catdog.web.problems import is_disk_full, why_not_kept, without_paths
from catdog.web.schemas import problems
from catdog.web.security.permissions import needs_permission, open_to_all
from catdog.web.service import current_settings, database
from catdog.web.telemetry import tracing

retrain = APIBlueprint("retrain", __name__, tag="Retraining", url_prefix="/api/retrain")


@retrain.post("/trigger")
@retrain.doc(responses=problems(400, 401, 403, 409, 413, 415, 503), security=schemas.KEYS)
@retrain.input(schemas.RetrainingOptions, location="json_or_form", arg_name="options")
@retrain.output(schemas.RetrainingAccepted, 202, description="Accepted")
@needs_permission
def trigger(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Start retraining on the uploads; one job runs at a time.

    A JSON body `{"promote": false}` keeps the new version as a challenger, even if it passes the gate.
    """
    accepted = start(options)
    return accepted, {"Location": url_for("retrain.status", job=accepted["job_id"])}


def start(options: dict[str, Any]) -> dict[str, Any]:
    """Queue a retraining, and describe it."""
    with _database() as engine:
        new = require_new(uploads())
        job = Jobs(engine).create(arguments=options | tracing.carried(), requested_by="api")
    return {"message": f"Retraining on {counted(new, 'new image')} is queued.", "job_id": job.id, "new": new}


@retrain.post("/cancel")
@retrain.doc(responses=problems(401, 403, 404, 409, 503), security=schemas.KEYS)
@retrain.input(schemas.JobQuery, location="query", arg_name="query")
@retrain.output(schemas.RetrainingStatus)
@needs_permission
def cancel(query: Mapping[str, str]) -> dict[str, Any]:
    """Cancel the current job, or the one in `?job=`; it ends within two seconds and changes nothing."""
    return cancel_job(query.get("job"))


def cancel_job(wanted: str | None) -> dict[str, Any]:
    """Cancel a retraining, by default the current one, and describe it."""
    with _database() as engine:
        return _document(Jobs(engine).cancel(wanted))


@retrain.get("/status")
@retrain.doc(responses=problems(404, 503))
@retrain.input(schemas.JobQuery, location="query", arg_name="query")
@retrain.output(schemas.RetrainingStatus)
@open_to_all
def status(query: Mapping[str, str]) -> dict[str, Any]:
    """Report the last retraining, or the one in `?job=`."""
    return find_status(query.get("job"))


def find_status(wanted: str | None = None) -> dict[str, Any]:
    """Describe a retraining, by default the last one."""
    with _database() as engine:
        jobs = Jobs(engine)
        return _document(jobs.get(wanted) if wanted else next(iter(jobs.latest()), None))


@contextmanager
def _database() -> Iterator[Engine]:
    """Yield the engine of this process; raise database errors as errors of the API."""
    try:
        yield database()
    except Exception as error:
        if isinstance(error, CatdogError) or is_disk_full(error) or (why := why_not_kept(error)) is None:
            raise
        # The tab works without the database. Only errors that may pass ask to try again.
        raise (DatabaseBusyError if why in PASSING else DatabaseUnusableError)(why) from error


def _document(job: Job | None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "in_progress": False,
        "state": None,
        "progress": 0.0,
        "message": "No retraining yet.",
        "stage": None,
        "eta_seconds": None,
        "job_id": None,
        "log": [],
        "result": None,
        "created_at": None,
        "started_at": None,
        "finished_at": None,
    }
    if job is None:
        return document
    known = {**job.as_dict(), "job_id": job.id}
    known["message"] = without_paths(job.message, current_settings())
    known["log"] = [without_paths(line, current_settings()) for line in job.log]
    return {name: known[name] for name in document}
