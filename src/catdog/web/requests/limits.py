"""How much one request may bring, by what its route takes. The one place that says so."""

from dataclasses import dataclass
from typing import Final

from flask import Flask, Request, request
from werkzeug.exceptions import RequestEntityTooLarge

from catdog.settings import Settings, variable_name
from catdog.web.requests.bodies import FORMS
from catdog.web.requests.forms import FormTooLargeError
from catdog.web.requests.pictures import PictureRequest
from catdog.web.requests.spool import Spool
from catdog.web.routes import Body, route_of

SMALL_BYTES: Final = 64 * 1024
"""Most bytes for a route that takes no picture: a key, a form of the page."""

MAX_IDS: Final = 10_000
"""Most ids of uploads in a request."""

HEADER_LENGTH: Final = "Inference-Header-Content-Length"

JSON_BYTES: Final = 16 * 2**20
"""Most bytes of JSON in a request, unless one picture may be larger; a request with a binary tensor may have more."""

LIST_BYTES: Final = SMALL_BYTES + MAX_IDS * len("2147483647, ")
"""Most bytes for a route that takes the numbers of `MAX_IDS` images."""

MORE_PARTS: Final = 100
"""Parts that a form may have beside its pictures."""


@dataclass(frozen=True)
class BodyLimit:
    """The most that a request may bring, and the settings that say so (by field name), if one does."""

    bytes: int
    bytes_setting: str | None
    files: int
    files_setting: str


def limit_of(body: Body, settings: Settings) -> BodyLimit:
    """Return the limit of a route that takes a kind of body."""
    if body is Body.UPLOAD:
        return _by_settings(settings, "max_upload_total_bytes", "max_upload_files")
    usual = _by_settings(settings, "max_request_bytes", "max_batch")
    if body in (Body.IMAGES, Body.TENSORS):
        return usual
    own = LIST_BYTES if body is Body.IDS else SMALL_BYTES
    return usual if usual.bytes <= own else BodyLimit(own, None, usual.files, usual.files_setting)


def install(app: Flask, settings: Settings) -> None:
    """Hold every request to the limit of its route; one that is over it raises `RequestEntityTooLarge`."""

    def set_limit() -> None:
        limit = _limit_of_request(request, settings)
        request.max_content_length = limit.bytes
        request.max_form_parts = limit.files + MORE_PARTS
        if route_of(request).body is Body.UPLOAD and isinstance(request, PictureRequest):
            request.spool = Spool(settings.retrain_dir)
        if (request.content_length or 0) > limit.bytes:  # before anything reads it, or leaves it unread
            raise RequestEntityTooLarge

    app.before_request(set_limit)


def json_bytes(settings: Settings) -> int:
    """Return the most bytes of JSON in a request: an image of 12 MB in base64 fits in.

    While JSON is read, it is in memory up to seven times. A binary tensor is not, and has the limit of all requests.
    """
    return min(settings.max_request_bytes, JSON_BYTES)


def over_the_limit(received: Request, settings: Settings, error: RequestEntityTooLarge) -> str:
    """Say what is too much about a request that was refused with `RequestEntityTooLarge`."""
    if isinstance(error, FormTooLargeError):
        return str(error.description)
    limit = _limit_of_request(received, settings)
    length = received.content_length
    named = f" ({variable_name(limit.bytes_setting)})" if limit.bytes_setting else ""
    in_bytes = f"at most {limit.bytes:,} bytes are allowed{named}"
    parts = (
        f"a form may have {limit.files + MORE_PARTS:,} parts, {MORE_PARTS} more than pictures are allowed "
        f"({variable_name(limit.files_setting)})"
    )
    if length is None:  # sent in chunks: whichever was over first
        return f"The request is too large; {in_bytes}, and {parts}. Received: more."
    if length > limit.bytes:
        return f"The request is too large; {in_bytes}. Received: {length:,} bytes."
    return f"The form has too many parts; {parts}. Received: more."


def _by_settings(settings: Settings, in_bytes: str, files: str) -> BodyLimit:
    return BodyLimit(getattr(settings, in_bytes), in_bytes, getattr(settings, files), files)


def _limit_of_request(received: Request, settings: Settings) -> BodyLimit:
    """Return the limit of a route for the kind of body that it gets: only some kinds hold pictures."""
    body = route_of(received).body
    limit = limit_of(body, settings)
    if body is Body.TENSORS:
        most = limit.bytes if HEADER_LENGTH in received.headers else json_bytes(settings)
    elif received.is_json or received.mimetype == FORMS[0]:
        most = min(limit.bytes, LIST_BYTES if body is Body.IDS else SMALL_BYTES)
    else:
        return limit
    return limit if limit.bytes <= most else BodyLimit(most, None, limit.files, limit.files_setting)
