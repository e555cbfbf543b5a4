"""Limits on the body of a request, by what its route takes."""

from dataclasses import dataclass
from typing import Final

from flask import Flask, Request, request
from werkzeug.exceptions import RequestEntityTooLarge

from catdog.settings import Settings, variable_name
from catdog.web.requests.bodies import FORMS
from catdog.web.requests.forms import FormTooLargeError
from catdog.web.requests.images import ImageRequest
from catdog.web.requests.spool import Spool
from catdog.web.routes import Body, route_of

SMALL_BYTES: Final = 64 * 1024
"""Maximum bytes for a route that takes no image, such as a key or a form of the page."""

MAX_IDS: Final = 10_000
"""Maximum ids of uploads in a request."""

HEADER_LENGTH: Final = "Inference-Header-Content-Length"

JSON_BYTES: Final = 16 * 2**20
"""Maximum bytes of JSON in a request; a request with a binary tensor may have more."""

LIST_BYTES: Final = SMALL_BYTES + MAX_IDS * len("2147483647, ")
"""Maximum bytes for a route that takes up to `MAX_IDS` ids."""

MORE_PARTS: Final = 100
"""Parts that a form may have in addition to its images."""


@dataclass(frozen=True)
class BodyLimit:
    """The maximum bytes and files of a request, and the fields of the settings that set them, if one does."""

    bytes: int
    bytes_setting: str | None
    files: int
    files_setting: str


def limit_of(body: Body, settings: Settings) -> BodyLimit:
    """Return the limit of a route by the kind of body it takes."""
    if body is Body.UPLOAD:
        return _by_settings(settings, "max_upload_total_bytes", "max_upload_files")
    usual = _by_settings(settings, "max_request_bytes", "max_batch")
    if body in (Body.IMAGES, Body.TENSORS):
        return usual
    own = LIST_BYTES if body is Body.IDS else SMALL_BYTES
    return usual if usual.bytes <= own else BodyLimit(own, None, usual.files, usual.files_setting)


def install(app: Flask, settings: Settings) -> None:
    """Apply the limit of its route to every request; raises `RequestEntityTooLarge` above it."""

    def set_limit() -> None:
        limit = _limit_of_request(request, settings)
        request.max_content_length = limit.bytes
        request.max_form_parts = limit.files + MORE_PARTS
        if route_of(request).body is Body.UPLOAD and isinstance(request, ImageRequest):
            request.spool = Spool(settings.retrain_dir)
        if (request.content_length or 0) > limit.bytes:  # before anything reads the body
            raise RequestEntityTooLarge

    app.before_request(set_limit)


def json_bytes(settings: Settings) -> int:
    """Return the maximum bytes of JSON in a request, which fit an image of 12 MB in base64."""
    # Parsing JSON takes up to seven times its size in memory. Binary tensors don't, so they have the general limit.
    return min(settings.max_request_bytes, JSON_BYTES)


def over_the_limit(received: Request, settings: Settings, error: RequestEntityTooLarge) -> str:
    """Return the message for a request refused with `RequestEntityTooLarge`: what is over the limit."""
    if isinstance(error, FormTooLargeError):
        return str(error.description)
    limit = _limit_of_request(received, settings)
    length = received.content_length
    named = f" ({variable_name(limit.bytes_setting)})" if limit.bytes_setting else ""
    in_bytes = f"{limit.bytes:,} bytes{named}"
    parts = (
        f"{limit.files + MORE_PARTS:,} parts, {MORE_PARTS} more than the maximum number of images "
        f"({variable_name(limit.files_setting)})"
    )
    if length is None:  # sent in chunks, so either limit may be the one exceeded
        return f"The request is too large. It may have at most {in_bytes}, and a form {parts}."
    if length > limit.bytes:
        return f"The request has {length:,} bytes; the limit is {in_bytes}."
    return f"The form has too many parts. It may have at most {parts}."


def _by_settings(settings: Settings, in_bytes: str, files: str) -> BodyLimit:
    return BodyLimit(getattr(settings, in_bytes), in_bytes, getattr(settings, files), files)


def _limit_of_request(received: Request, settings: Settings) -> BodyLimit:
    """Return the limit of a request, which is lower if its Content-Type holds no image."""
    body = route_of(received).body
    limit = limit_of(body, settings)
    if body is Body.TENSORS:
        most = limit.bytes if HEADER_LENGTH in received.headers else json_bytes(settings)
    elif received.is_json or received.mimetype == FORMS[0]:
        most = min(limit.bytes, LIST_BYTES if body is Body.IDS else SMALL_BYTES)
    else:
        return limit
    return limit if limit.bytes <= most else BodyLimit(most, None, limit.files, limit.files_setting)
