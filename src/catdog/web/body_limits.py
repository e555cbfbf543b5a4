"""How much one request may bring, by what it is for. The one place that says so."""

from dataclasses import dataclass
from typing import Final

from flask import Flask, Request, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.routing import Map

from catdog.settings import Settings, variable_name
from catdog.web.bodies import FORMS
from catdog.web.collect_schemas import MAX_IDS
from catdog.web.forms import FormTooLargeError
from catdog.web.spool import Spool
from catdog.web.tensors import HEADER_LENGTH, json_bytes
from catdog.web.uploads import PictureRequest

PICTURE_ENDPOINTS: Final = frozenset(
    {"api.predict", "api.predict_batch", "api.explain", "collect.feedback", "pages.answer"}
)
"""Routes that take pictures, by endpoint."""

TENSOR_ENDPOINTS: Final = frozenset({"inference.infer", "inference.infer_version"})
"""Routes that take pictures as a tensor, binary or as base64 in JSON."""

UPLOAD_ENDPOINTS: Final = frozenset({"collect.upload", "retrain_page.upload"})
"""Routes that add pictures, and so may bring many, by endpoint."""

SMALL_BYTES: Final = 64 * 1024
"""Most bytes for a route that takes no picture: a key, a form of the page."""

LIST_ENDPOINTS: Final = frozenset({"collect.relabel", "collect.remove", "collect.restore", "collect.confirm"})
"""Routes that take the numbers of `MAX_IDS` pictures."""

LIST_BYTES: Final = SMALL_BYTES + MAX_IDS * len("2147483647, ")

MORE_PARTS: Final = 100
"""Parts that a form may have beside its pictures."""


@dataclass(frozen=True)
class BodyLimit:
    """The most that a request may bring, and the settings that say so (by field name), if one does."""

    bytes: int
    bytes_setting: str | None
    files: int
    files_setting: str


class BodyLimits:
    """The limits of an app's routes, for whoever reads a body before there is a request."""

    def __init__(self, routes: Map, settings: Settings) -> None:
        self._routes, self._settings = routes, settings

    def limit_for(self, method: str, path: str) -> int:
        """Return the most bytes that the body of a request may have; small where nothing is at that address."""
        try:
            endpoint, _ = self._routes.bind("").match(path, method)
        except (HTTPException, ValueError):
            endpoint = ""
        return limit_of(endpoint, self._settings).bytes


def limit_of(endpoint: str | None, settings: Settings) -> BodyLimit:
    """Return the limit of a route."""
    if endpoint in UPLOAD_ENDPOINTS:
        return _by_settings(settings, "max_upload_total_bytes", "max_upload_files")
    usual = _by_settings(settings, "max_request_bytes", "max_batch")
    if endpoint in PICTURE_ENDPOINTS | TENSOR_ENDPOINTS:
        return usual
    own = LIST_BYTES if endpoint in LIST_ENDPOINTS else SMALL_BYTES
    return usual if usual.bytes <= own else BodyLimit(own, None, usual.files, usual.files_setting)


def install(app: Flask, settings: Settings) -> None:
    """Hold every request to the limit of its route; what is over it is a `RequestEntityTooLarge`."""
    app.extensions["catdog_body_limits"] = BodyLimits(app.url_map, settings)

    def set_limit() -> None:
        limit = _limit_of_request(request, settings)
        request.max_content_length = limit.bytes
        request.max_form_parts = limit.files + MORE_PARTS
        if request.endpoint in UPLOAD_ENDPOINTS and isinstance(request, PictureRequest):
            request.spool = Spool(settings.retrain_dir)
        if (request.content_length or 0) > limit.bytes:  # before anything reads it, or leaves it unread
            raise RequestEntityTooLarge

    app.before_request(set_limit)


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
    limit = limit_of(received.endpoint, settings)
    if received.endpoint in TENSOR_ENDPOINTS:
        most = limit.bytes if HEADER_LENGTH in received.headers else json_bytes(settings)
    elif received.is_json or received.mimetype == FORMS[0]:
        most = min(limit.bytes, LIST_BYTES if received.endpoint in LIST_ENDPOINTS else SMALL_BYTES)
    else:
        return limit
    return limit if limit.bytes <= most else BodyLimit(most, None, limit.files, limit.files_setting)
