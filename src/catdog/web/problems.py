"""The one place where errors become HTTP: one shape, RFC 9457, on every route.

    {"type": "about:blank", "title": "Unsupported Media Type", "status": 415, "error": "The file is …", "request_id": …}

`error` is the sentence for people. An error that was not raised on purpose is logged, and tells nothing of itself.
"""

import errno
import json
import logging
import os
import re
import secrets
import sqlite3
from http import HTTPStatus
from typing import Any, Final

from flask import Flask, Response, g, request
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import (
    ClientDisconnected,
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    TooManyRequests,
)

from catdog import errors
from catdog.database import own_words
from catdog.patience import PASSING, why_no_database
from catdog.settings import Settings
from catdog.web.body_limits import over_the_limit

MEDIA_TYPE: Final = "application/problem+json"

STATUSES: Final[dict[type[errors.CatdogError], int]] = {
    errors.RequestError: 400,
    errors.KeyNeededError: 401,
    errors.ForbiddenError: 403,
    errors.VersionNotFoundError: 404,
    errors.UploadNotFoundError: 404,
    errors.PictureNotFoundError: 404,
    errors.JobNotFoundError: 404,
    errors.ConflictError: 409,
    errors.StoreError: 409,
    errors.UploadConflictError: 409,
    errors.UploadTooLargeError: 413,
    errors.MediaTypeError: 415,
    errors.PictureFormatError: 415,
    errors.PictureError: 422,
    errors.NoModelError: 503,
    errors.ChartError: 503,
    errors.DatabaseBusyError: 503,
    errors.ServerBusyError: 503,
    errors.DatabaseTooNewError: 503,
    errors.DatabaseUnusableError: 503,
    errors.DiskFullError: 507,
}
"""The status of each class of error; a class that is not listed has that of the nearest one above it."""

RETRY_SECONDS: Final = 10
"""When to ask again where the database is held: longer than anything of catdog's own holds it."""

FAILED: Final = "The server failed. Its log says more under this request id."
"""The sentence for an error that was not raised on purpose."""

FULL: Final = "The server's disk is full, so that nothing was kept. Make room there, and send the request again."
_FULL_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_POSTGRES_DISK_FULL: Final = "53100"  # PostgreSQL's documentation, appendix A
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = logging.getLogger(__name__)


def install(app: Flask, settings: Settings) -> None:
    """Let every error of an app become a problem."""

    app.register_error_handler(Exception, lambda error: respond(error, settings))


def respond(error: Exception, settings: Settings) -> Response:
    """Make the response for an error."""
    status, sentence = describe(error, settings)
    response = Response(json.dumps(problem(status, sentence)), status, content_type=MEDIA_TYPE)
    if isinstance(error, HTTPException):
        response.headers.extend((k, v) for k, v in error.get_headers() if k.lower() not in _OF_THE_BODY)
    passes = isinstance(error, errors.DatabaseBusyError | errors.ServerBusyError) or why_no_database(error) in PASSING
    if status == 503 and passes:
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="catdog"'
    return response


_OF_THE_BODY: Final = {"content-type", "content-length"}


def problem(status: int, sentence: str) -> dict[str, Any]:
    """Make the document of a problem with the request under way."""
    return document(status, sentence, request_id())


def document(status: int, sentence: str, request_id: str) -> dict[str, Any]:
    """Make the document of a problem with a request of that id."""
    title = HTTPStatus(status).phrase
    return {"type": "about:blank", "title": title, "status": status, "error": sentence, "request_id": request_id}


def describe(error: Exception, settings: Settings) -> tuple[int, str]:
    """Give the status and the sentence of an error, note its kind, and log it where it was not raised on purpose."""
    if isinstance(error, HTTPException) and (error.code or 500) < 500:
        _note(error.code or 400, error)
        return error.code or 400, _sentence(error, settings)
    if is_disk_full(error):
        _log.error("Request %s found the disk full: %s", request_id(), own_words(error), extra=_named())
        return 507, str(error) if isinstance(error, errors.UploadsFullError) else FULL
    if (sentence := why_not_kept(error)) is not None:
        _note(503, error)
        told = "Request %s could not use the database or a file: %s"
        _log.error(told, request_id(), own_words(error), extra=_named())
        return 503, without_paths(sentence, settings)
    status = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)
    _note(status, error)
    if status == 500:
        _log.error("Request %s failed", request_id(), exc_info=error, extra=_named())
        return 500, FAILED
    return status, without_paths(str(error), settings)


def is_disk_full(error: BaseException | None) -> bool:
    """Tell whether an error, or one that it was raised from, says that there is no room left."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # an error may have been raised from itself
        seen.add(id(error))
        if isinstance(error, errors.DiskFullError) or (isinstance(error, OSError) and error.errno in _FULL_ERRNOS):
            return True
        if isinstance(error, OperationalError):
            original = error.orig
            return (
                getattr(original, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
                or getattr(original, "sqlstate", None) == _POSTGRES_DISK_FULL
            )
        error = error.__cause__
    return False


def why_not_kept(error: BaseException) -> str | None:
    """Say that the database, or the server's folder, cannot be used, and what to do; None for any other error."""
    if (sentence := why_no_database(error)) is not None:
        return sentence
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError | TimeoutError):
        return (
            f"The server cannot use its files: {os.strerror(error.errno)}. Make sure that its folder (CATDOG_HOME) is "
            "there, that its user may write in it, and that the disk works. Predictions go on meanwhile."
        )
    return None


def without_paths(sentence: str, settings: Settings) -> str:
    """Take out of a sentence where on this machine things lie."""
    return sentence.replace(str(settings.home), "…")


def request_id() -> str:
    """Name the request: as the client or a proxy named it, else anew."""
    if "request_id" not in g:
        given = request.headers.get("X-Request-ID", "")
        g.request_id = given if _ID.fullmatch(given) else new_request_id()
    return str(g.request_id)


def new_request_id() -> str:
    """Make up a name for a request."""
    return secrets.token_hex(8)


def problem_kinds() -> list[tuple[int, str]]:
    """List status and class of each problem that this request met: one of its own, or several of its pictures."""
    found: list[tuple[int, str]] = g.get("problem_kinds", [])
    return found


def _named() -> dict[str, Any]:
    """Let a line of JSON in the log name the request by a field, as the line that tells how it ended does."""
    return {"fields": {"request_id": request_id()}}


def _note(status: int, error: Exception) -> None:
    g.setdefault("problem_kinds", []).append((status, type(error).__name__))


def _sentence(error: HTTPException, settings: Settings) -> str:
    if isinstance(error, ClientDisconnected):
        return "The body ends before its Content-Length. Send the request again."
    if isinstance(error, RequestEntityTooLarge):
        return over_the_limit(request, settings, error)
    if isinstance(error, TooManyRequests):
        return str(error.description)
    if isinstance(error, NotFound):
        return f"There is nothing at this address; /api/docs lists what there is. Received: {request.path}"
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        return f"This address does not take that method; allowed are {allowed}. Received: {request.method}"
    return f"{HTTPStatus(error.code or 400).phrase}: {error.description}"
