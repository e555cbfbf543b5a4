"""The one place where the body of a request is read: its faults are the client's, and bounded by the route's limit."""

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
    """The server's stream of a body. What breaks while it is read is a `RequestError`, on every route alike."""

    def __init__(self, stream: _Readable) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        """Read some bytes.

        Raises:
            RequestError: chunks that are none, or a client that is gone.
        """
        try:
            return self._stream.read(size)
        except (OSError, ValueError, ParseException) as error:
            raise RequestError(
                "The body cannot be read: it ends early, or its chunks are not as HTTP/1.1 has them. Send it again, "
                "with a Content-Length or in valid chunks."
            ) from error


def wrap(environ: dict[str, Any]) -> None:
    """Put a `BodyStream` around the body of a WSGI environment."""
    stream: IO[bytes] | BodyStream | None = environ.get("wsgi.input")
    if stream is not None and not isinstance(stream, BodyStream):
        environ["wsgi.input"] = BodyStream(stream)


def read_body(request: Request, *, keep: bool = False) -> bytes:
    """Read the whole body; `keep` lets others, such as the parser of forms, read it again.

    Raises:
        RequestError: it is cut off.
    """
    try:
        body = request.get_data(cache=keep)
    except ClientDisconnected as error:
        raise RequestError(
            f"The body ends early; Content-Length promises {request.content_length or 0:,} bytes. Send it again."
        ) from error
    return body


def read_document(request: Request) -> Any:
    """Read a JSON body; None if there is none, whatever its Content-Type says, or if it is `null`.

    Raises:
        RequestError: it is not JSON, or more than JSON needs to be; says why.
        MediaTypeError: there is a body, but its Content-Type is not JSON.
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
    """Parse a JSON body, as `catdog.storage.json_reader.parse_json` does.

    Raises:
        RequestError: that refuses it; says why.
    """
    try:
        return parse_json(body, finite=True)
    except JsonError as error:
        raise RequestError(f"The body must be a JSON object in UTF-8, but {error}.") from None
