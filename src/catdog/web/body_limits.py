"""How much one request may bring, by what it is for. The one place that says so."""

from dataclasses import dataclass
from typing import Final

from flask import Flask, Request, request

from catdog.settings import Settings, variable_name
from catdog.web.spool import Spool
from catdog.web.uploads import PictureRequest

UPLOAD_ENDPOINTS: Final = frozenset({"collect.upload", "retrain_page.upload"})
"""Routes that add pictures, and so may bring many, by endpoint."""

MORE_PARTS: Final = 100
"""Parts that a form may have beside its pictures."""


@dataclass(frozen=True)
class BodyLimit:
    """The most that a request may bring, and the settings that say so (by field name)."""

    bytes: int
    bytes_setting: str
    files: int
    files_setting: str


def limit_of(endpoint: str | None, settings: Settings) -> BodyLimit:
    """Give the limit of a route."""
    if endpoint in UPLOAD_ENDPOINTS:
        in_bytes, files = "max_upload_total_bytes", "max_upload_files"
    else:
        in_bytes, files = "max_request_bytes", "max_batch"
    return BodyLimit(getattr(settings, in_bytes), in_bytes, getattr(settings, files), files)


def install(app: Flask, settings: Settings) -> None:
    """Hold every request to the limit of its route; what is over it is a `RequestEntityTooLarge`."""
    usual = limit_of(None, settings)
    # All of a form may be text: one limit, which the problem can name, in place of a second one for fields.
    app.config.update(
        MAX_CONTENT_LENGTH=usual.bytes, MAX_FORM_MEMORY_SIZE=usual.bytes, MAX_FORM_PARTS=usual.files + MORE_PARTS
    )

    def set_limit() -> None:
        if request.endpoint in UPLOAD_ENDPOINTS:
            limit = limit_of(request.endpoint, settings)
            request.max_content_length = request.max_form_memory_size = limit.bytes
            request.max_form_parts = limit.files + MORE_PARTS
            if isinstance(request, PictureRequest):
                request.spool = Spool(settings.retrain_dir)

    app.before_request(set_limit)


def over_the_limit(received: Request, settings: Settings) -> str:
    """Say what is too much about a request that was refused with `RequestEntityTooLarge`."""
    limit = limit_of(received.endpoint, settings)
    length = received.content_length
    in_bytes = f"at most {limit.bytes:,} bytes are allowed ({variable_name(limit.bytes_setting)})"
    parts = (
        f"a form may have {limit.files + MORE_PARTS:,} parts, {MORE_PARTS} more than pictures are allowed "
        f"({variable_name(limit.files_setting)})"
    )
    if length is None:  # sent in chunks: whichever was over first
        return f"The request is too large; {in_bytes}, and {parts}. Received: more."
    if length > limit.bytes:
        return f"The request is too large; {in_bytes}. Received: {length:,} bytes."
    return f"The form has too many parts; {parts}. Received: more."
