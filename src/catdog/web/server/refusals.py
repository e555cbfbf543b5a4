"""Responses to requests refused before they reach the application, as problems (RFC 9457)."""

import json
import re
import ssl
from http import HTTPStatus
from typing import Any, Final

from gunicorn.http import errors

from catdog.errors import CatdogError
from catdog.web.problems import FAILED, FULL, MEDIA_TYPE, document, is_disk_full
from catdog.web.security.access import HEADERS
from catdog.web.server.buffers import BufferFullError
from catdog.web.server.chunks import TinyChunksError

HEAD_BYTES: Final = 32 * 2**10
"""Maximum bytes of the request line and headers together."""

_BROKEN: Final = "Not a valid HTTP/1.0 or 1.1 request: the request line, a header or a length is malformed."


class TooSlowError(CatdogError):
    """A client took too long to send its request."""


class ChunkTooLargeError(CatdogError):
    """A chunk would make the body larger than the limit."""


class HostError(errors.ParseException):  # type: ignore[misc]  # gunicorn has no types
    """A request doesn't have exactly one valid `Host` (RFC 9112, section 3.2)."""


class BodyEndsEarlyError(CatdogError):
    """A client closed the connection before sending the whole request."""


_REFUSALS: Final[dict[type[Exception], tuple[int, str]]] = {
    errors.ParseException: (400, _BROKEN),
    HostError: (400, "An HTTP/1.1 request needs exactly one `Host` header: a host, optionally with a port."),
    BodyEndsEarlyError: (400, "The body is incomplete: it is shorter than its Content-Length or last chunk size."),
    TinyChunksError: (400, "The body has too many small chunks. Send chunks of at least 128 bytes."),
    TooSlowError: (408, "The request took too long to arrive. Send it again over a faster connection."),
    ChunkTooLargeError: (413, "The request is too large: its next chunk would exceed the limit."),
    errors.LimitRequestLine: (414, "The URL is too long: the request line may have 4,094 bytes."),
    errors.ExpectationFailed: (417, "Only `Expect: 100-continue` is supported."),
    errors.LimitRequestHeaders: (
        431,
        f"Too many or too long headers: at most 100 of 8,190 bytes each, {HEAD_BYTES:,} bytes in total.",
    ),
    errors.UnsupportedTransferCoding: (501, "Only the transfer coding `chunked` is supported."),
    errors.ForbiddenProxyRequest: (403, "The PROXY protocol is not allowed from this address."),
    ssl.SSLError: (403, "This port needs a TLS connection."),
    BufferFullError: (503, "The server is handling too many large requests. Try again in a minute."),
    # Caused by the application's response, although gunicorn derives them from client errors.
    errors.InvalidResponseHeader: (500, FAILED),
    errors.InvalidResponseHeaderName: (500, FAILED),
    errors.ConfigurationProblem: (500, FAILED),
}
"""Status and message by error class; other classes have those of their nearest listed base."""

_HOST: Final = re.compile(r"([\w.~!$&'()*+,;=%-]*|\[[\w.:%]+\])(:\d*)?", re.ASCII)

RETRY_SECONDS: Final = 60


def status_of(error: Exception) -> tuple[int, str]:
    """Return the status and message of an error."""
    if is_disk_full(error):
        return 507, FULL
    return next((_REFUSALS[kind] for kind in type(error).__mro__ if kind in _REFUSALS), (500, FAILED))


def require_host(request: Any) -> None:
    """Check the `Host` header of a request parsed by gunicorn.

    Raises:
        HostError: it is missing in HTTP/1.1, repeated, or not a valid host.
    """
    hosts = [value for name, value in request.headers if name == "HOST"]
    least = 1 if request.version >= (1, 1) else 0
    if not least <= len(hosts) <= 1 or not all(map(_HOST.fullmatch, hosts)):
        raise HostError


def refusal(status: int, sentence: str, request_id: str) -> bytes:
    """Return a complete response that closes the connection."""
    body = json.dumps(document(status, sentence, request_id)).encode()
    headers = {
        "Connection": "close",
        "Content-Type": MEDIA_TYPE,
        "Content-Length": len(body),
        "Cache-Control": "no-store",
        "X-Request-ID": request_id,
        **({"Retry-After": RETRY_SECONDS} if status == 503 else {}),
        **HEADERS,
    }
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
