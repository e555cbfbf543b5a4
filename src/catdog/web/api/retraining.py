"""Routes that start, cancel and report retraining jobs, which the worker runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from apiflask import APIBlueprint
from flask import Response, jsonify, request, url_for
from sqlalchemy import Engine

from catdog.errors import CatdogError, DatabaseBusyError, DatabaseUnusableError, RequestError
from catdog.retraining.dataset import require_new
from catdog.retraining.jobs.table import Job, Jobs
from catdog.storage.contention import PASSING
from catdog.text import counted
from catdog.web import schemas
from catdog.web.api.uploads import uploads
from catdog.web.problems import is_disk_full, why_not_kept, without_paths
from catdog.web.requests.bodies import FORMS, read_document
from catdog.web.schemas import responses
from catdog.web.security.permissions import needs_permission, open_to_all
from catdog.web.security.sessions import TOKEN_FIELD
from catdog.web.service import current_settings, database
from catdog.web.telemetry import tracing

_FIELD_VALUES: Final = {"false": False, "": None}

retrain = APIBlueprint("retrain", __name__, tag="Retraining", url_prefix="/api/retrain")


@retrain.post("/trigger")
@retrain.doc(
    responses=responses(schemas.RetrainingAccepted, 400, 401, 403, 409, 413, 415, 503, success=202),
    security=schemas.KEYS,
)
@needs_permission
def trigger() -> tuple[Response, int, dict[str, str]]:
    """Start retraining on the uploads; one job runs at a time.

    A JSON body `{"promote": false}` keeps the new version as a challenger, even if it passes the gate.
    """
    arguments = _arguments()
    with _database() as engine:
        new = require_new(uploads())
        job = Jobs(engine).create(arguments=arguments | tracing.carried(), requested_by="api")
    answer = jsonify(message=f"Retraining on {counted(new, 'new image')} is queued.", job_id=job.id, new=new)
    return answer, 202, {"Location": url_for("retrain.status", job=job.id)}


@retrain.post("/cancel")
@retrain.doc(responses=responses(schemas.RetrainingStatus, 401, 403, 404, 409, 503), security=schemas.KEYS)
@needs_permission
def cancel() -> dict[str, Any]:
    """Cancel the current job, or the one in `?job=`; it ends within two seconds and changes nothing."""
    with _database() as engine:
        return _document(Jobs(engine).cancel(request.args.get("job")))


@retrain.get("/status")
@retrain.doc(responses=responses(schemas.RetrainingStatus, 404, 503))
@open_to_all
def status() -> dict[str, Any]:
    """Report the last retraining, or the one in `?job=`."""
    wanted = request.args.get("job")
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


def _arguments() -> dict[str, Any]:
    """Return the options of a retraining, from a JSON body or a form; without a body there are none."""
    if request.mimetype in FORMS:
        given = {name: _FIELD_VALUES.get(value, value) for name, value in request.form.items() if name != TOKEN_FIELD}
    else:
        given = read_document(request)
        given = {} if given is None else given
    promote = given.get("promote") if isinstance(given, dict) else given
    if not isinstance(given, dict) or not (promote is None or promote is False):
        sent = request.get_data(as_text=True)[:100]
        raise RequestError(f'The body must be empty or {{"promote": false}}, as JSON or a form, not {sent}.')
    return {"promote": promote}


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
