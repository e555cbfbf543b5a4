"""Reads the body of a request. Whatever breaks while reading is the client's error, on every route."""

from typing import IO, Any, Final, Protocol

from flask import Request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected

from catdog.errors import MediaTypeError, RequestError
from catdog.storage.json_reader import JsonError, parse_json

FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class BodyStream:
    """The server's stream of a body; raises `RequestError` if the body is broken."""

    def __init__(self, stream: _Readable) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes.

        Raises:
            RequestError: the chunks are invalid, or the client has gone.
        """
        try:
            return self._stream.read(size)
        except (OSError, ValueError, ParseException) as error:
            raise RequestError(
                "The body can't be read: it ends early, or its chunks are not valid HTTP/1.1. Send it again with a "
                "Content-Length or in valid chunks."
            ) from error


def wrap(environ: dict[str, Any]) -> None:
    """Put a `BodyStream` around the body of a WSGI environment."""
    stream: IO[bytes] | BodyStream | None = environ.get("wsgi.input")
    if stream is not None and not isinstance(stream, BodyStream):
        environ["wsgi.input"] = BodyStream(stream)


def read_body(request: Request, *, keep: bool = False) -> bytes:
    """Return the whole body; with `keep`, it can be read again, for example as a form.

    Raises:
        RequestError: it ends early.
    """
    try:
        body = request.get_data(cache=keep)
    except ClientDisconnected as error:
        raise RequestError(
            f"The body ends early; Content-Length promises {request.content_length or 0:,} bytes. Send it again."
        ) from error
    return body


def read_document(request: Request) -> Any:
    """Return the JSON body; None if it is empty, whatever its Content-Type, or `null`.

    Raises:
        RequestError: it is not valid JSON or exceeds the parser's limits; says why.
        MediaTypeError: the Content-Type is not JSON.
    """
    body = read_body(request, keep=True)
    if not body.strip():
        return None
    if not request.is_json:
        kind = request.mimetype[:100]
        raise MediaTypeError(
            f"The body must be JSON, with Content-Type application/json, not {kind or 'without a Content-Type'}."
        )
    return parse_document(body)


def parse_document(body: bytes) -> Any:
    """Return a parsed JSON body.

    Raises:
        RequestError: it is not valid JSON or exceeds the parser's limits; says why.
    """
    try:
        return parse_json(body, finite=True)
    except JsonError as error:
        raise RequestError(f"The body must be a JSON object in UTF-8, but {error}.") from None
