"""Turns errors into HTTP responses, with the same JSON (RFC 9457) on every route.

    {"type": "urn:catdog:problem:image-format", "title": "Unsupported Media Type", "status": 415, "error": "…",
     "request_id": "…"}

`error` is the message for clients of the API; the page has its own for each `type`. Unexpected errors are logged and
reveal nothing.
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

from apiflask import HTTPError
from flask import Flask, Response, g, request
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import (
    ClientDisconnected,
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    TooManyRequests,
    default_exceptions,
)

from catdog import errors
from catdog.settings import Settings
from catdog.storage.contention import PASSING, why_no_database
from catdog.storage.database import driver_message
from catdog.web.requests.limits import over_the_limit

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
"""Status by error class; other classes have the status of their nearest listed base."""

_TYPE: Final = "urn:catdog:problem:"
TYPES: Final[dict[type[Exception], str]] = {
    errors.PictureFormatError: f"{_TYPE}image-format",
    errors.PictureTooLargeError: f"{_TYPE}image-too-large",
    errors.PictureError: f"{_TYPE}image-unreadable",
    errors.UploadTooLargeError: f"{_TYPE}request-too-large",
    RequestEntityTooLarge: f"{_TYPE}request-too-large",
    TooManyRequests: f"{_TYPE}too-many-requests",
    errors.KeyNeededError: f"{_TYPE}key-needed",
    errors.ForbiddenError: f"{_TYPE}forbidden",
    errors.NoModelError: f"{_TYPE}no-model",
    errors.ServerBusyError: f"{_TYPE}busy",
    errors.DatabaseBusyError: f"{_TYPE}busy",
}
"""Problem type by error class. For others that aren't about storage it is "about:blank": the status says it all."""

NO_STORAGE: Final = f"{_TYPE}storage-unavailable"
DISK_FULL: Final = f"{_TYPE}disk-full"
UNEXPECTED: Final = f"{_TYPE}server-error"

PAGE_SENTENCES: Final = {
    f"{_TYPE}image-format": "Not a supported image. Use JPEG, PNG, WebP or AVIF.",
    f"{_TYPE}image-too-large": "The image is too large. Resize it and try again.",
    f"{_TYPE}image-unreadable": "The image is damaged or incomplete. Try another copy.",
    f"{_TYPE}request-too-large": "Too large to upload. Send fewer or smaller files.",
    f"{_TYPE}key-needed": "Sign in to use this.",
    f"{_TYPE}no-model": "No model in use. Train or promote one first.",
    f"{_TYPE}busy": "The server is busy. Try again in a moment.",
    DISK_FULL: "The server's disk is full, so nothing was saved.",
    NO_STORAGE: "The server can't save anything right now. Predictions still work.",
    UNEXPECTED: "Something went wrong on the server. Try again.",
}
"""What the page says for a problem type; for all others, it shows the API's message."""

RETRY_SECONDS: Final = 10
"""When to retry if the database is locked: longer than catdog ever holds the lock."""

FAILED: Final = "Internal error. See the server's log for this request id."
"""Message for unexpected errors."""

FULL: Final = "The server's disk is full, so nothing was saved. Free some space on it, then send the request again."
_FULL_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_POSTGRES_DISK_FULL: Final = "53100"  # PostgreSQL's documentation, appendix A
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = logging.getLogger(__name__)


def install(app: Flask, settings: Settings) -> None:
    """Make every error of an app a problem response."""
    app.register_error_handler(Exception, lambda error: respond(error, settings))
    # APIFlask's own errors, for which it registers a handler that is more specific.
    app.register_error_handler(
        HTTPError, lambda error: respond(default_exceptions[error.status_code](error.message), settings)
    )


def respond(error: Exception, settings: Settings) -> Response:
    """Return the response for an error."""
    status, sentence = describe(error, settings)
    response = Response(json.dumps(problem(status, sentence, error)), status, content_type=MEDIA_TYPE)
    if isinstance(error, HTTPException):
        response.headers.extend((k, v) for k, v in error.get_headers() if k.lower() not in _OF_THE_BODY)
    passes = isinstance(error, errors.DatabaseBusyError | errors.ServerBusyError) or why_no_database(error) in PASSING
    if status == 503 and passes:
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="catdog"'
    return response


_OF_THE_BODY: Final = {"content-type", "content-length"}


def problem(status: int, sentence: str, error: Exception | None = None) -> dict[str, Any]:
    """Return the problem document for the current request."""
    return document(status, sentence, request_id(), type_of(error) if error else "about:blank")


def document(status: int, sentence: str, request_id: str, kind: str = "about:blank") -> dict[str, Any]:
    """Return the problem document for a request."""
    title = HTTPStatus(status).phrase
    return {"type": kind, "title": title, "status": status, "error": sentence, "request_id": request_id}


def type_of(error: Exception) -> str:
    """Return the problem type of an error."""
    if is_disk_full(error):
        return DISK_FULL
    for kind in type(error).__mro__:
        if kind in TYPES:
            return TYPES[kind]
    if why_not_kept(error) is not None:
        return NO_STORAGE
    expected = isinstance(error, errors.CatdogError) or (isinstance(error, HTTPException) and (error.code or 500) < 500)
    return "about:blank" if expected else UNEXPECTED


def page_sentence(error: Exception, settings: Settings) -> tuple[int, str]:
    """Return the status of an error and what the page says about it."""
    status, sentence = describe(error, settings)
    return status, PAGE_SENTENCES.get(type_of(error), sentence)


def describe(error: Exception, settings: Settings) -> tuple[int, str]:
    """Return the status and message of an error, record its class, and log it if it is unexpected."""
    if isinstance(error, HTTPException) and (error.code or 500) < 500:
        _note(error.code or 400, error)
        return error.code or 400, _sentence(error, settings)
    if is_disk_full(error):
        _log.error("Request %s failed, the disk is full: %s", request_id(), driver_message(error), extra=_log_fields())
        return 507, str(error) if isinstance(error, errors.UploadsFullError) else FULL
    if (sentence := why_not_kept(error)) is not None:
        _note(503, error)
        message = "Request %s couldn't use the database or a file: %s"
        _log.error(message, request_id(), driver_message(error), extra=_log_fields())
        return 503, without_paths(sentence, settings)
    status = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)
    _note(status, error)
    if status == 500:
        _log.error("Request %s failed", request_id(), exc_info=error, extra=_log_fields())
        return 500, FAILED
    return status, without_paths(str(error), settings)


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether an error, or its cause, means that the disk is full."""
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
    """Return why the database or the home folder can't be used, and what to do; None for other errors."""
    if (sentence := why_no_database(error)) is not None:
        return sentence
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError | TimeoutError):
        return (
            f"The server can't use its files: {os.strerror(error.errno)}. Check that its folder (CATDOG_HOME) exists, "
            "that its user can write to it, and that the disk works. Predictions still work."
        )
    return None


def without_paths(sentence: str, settings: Settings) -> str:
    """Remove the server's home folder from a message."""
    return sentence.replace(str(settings.home), "…")


def request_id() -> str:
    """Return the request's id: from X-Request-ID, or a new one."""
    if "request_id" not in g:
        given = request.headers.get("X-Request-ID", "")
        g.request_id = given if _ID.fullmatch(given) else new_request_id()
    return str(g.request_id)


def new_request_id() -> str:
    """Return a new request id."""
    return secrets.token_hex(8)


def problem_kinds() -> list[tuple[int, str]]:
    """Return status and error class of each problem in this request: its own, or one per image."""
    found: list[tuple[int, str]] = g.get("problem_kinds", [])
    return found


def _log_fields() -> dict[str, Any]:
    """Return the request id as a field of a JSON log line, as in the access log."""
    return {"fields": {"request_id": request_id()}}


def _note(status: int, error: Exception) -> None:
    g.setdefault("problem_kinds", []).append((status, type(error).__name__))


def _sentence(error: HTTPException, settings: Settings) -> str:
    if isinstance(error, ClientDisconnected):
        return "The body is shorter than its Content-Length. Send the request again."
    if isinstance(error, RequestEntityTooLarge):
        return over_the_limit(request, settings, error)
    if isinstance(error, TooManyRequests):
        return str(error.description)
    if isinstance(error, NotFound):
        return f"No route {request.path}. See /api/docs for all routes."
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        return f"{request.method} isn't allowed here; use {allowed}."
    return f"{HTTPStatus(error.code or 400).phrase}: {error.description}"
