"""What the server refuses before the application sees a request: in the form of all other problems (RFC 9457)."""

import json
import re
import ssl
from http import HTTPStatus
from typing import Any, Final

from gunicorn.http import errors

from catdog.errors import CatdogError
from catdog.web.access import HEADERS
from catdog.web.buffers import BufferFullError
from catdog.web.chunks import TinyChunksError
from catdog.web.problems import FAILED, FULL, MEDIA_TYPE, document, is_disk_full

HEAD_BYTES: Final = 32 * 2**10
"""Most bytes of a request line and its headers together."""

_BROKEN: Final = "This is no request of HTTP/1.0 or 1.1: its first line, a header or a length breaks the protocol."


class TooSlowError(CatdogError):
    """A client took too long to send its request."""


class ChunkTooLargeError(CatdogError):
    """The size of a chunk says that the body will be larger than is allowed."""


class HostError(errors.ParseException):  # type: ignore[misc]  # gunicorn has no types
    """A request does not say once for which host it is (RFC 9112, section 3.2)."""


class BodyEndsEarlyError(CatdogError):
    """A client ended its request before all of it was sent."""


_REFUSALS: Final[dict[type[Exception], tuple[int, str]]] = {
    errors.ParseException: (400, _BROKEN),
    HostError: (400, "A request of HTTP/1.1 needs one `Host` header, with a host and perhaps a port."),
    BodyEndsEarlyError: (400, "The body ends early: less arrived than Content-Length or the last chunk promises."),
    TinyChunksError: (400, "The body has too many small chunks. Send chunks of at least 128 bytes."),
    TooSlowError: (408, "The request took too long to arrive. Send it again over a faster connection."),
    ChunkTooLargeError: (413, "The request is too large: with the chunk that it announces, it is over the limit."),
    errors.LimitRequestLine: (414, "The address is too long: 4,094 bytes are allowed for the first line of a request."),
    errors.ExpectationFailed: (417, "Of expectations, `Expect: 100-continue` is met and no other."),
    errors.LimitRequestHeaders: (
        431,
        f"The headers are too many or too long: 100 of 8,190 bytes each are allowed, {HEAD_BYTES:,} bytes together.",
    ),
    errors.UnsupportedTransferCoding: (501, "Of transfer codings, `chunked` is understood and no other."),
    errors.ForbiddenProxyRequest: (403, "The PROXY protocol is not allowed from this address."),
    ssl.SSLError: (403, "The connection must begin with TLS."),
    BufferFullError: (503, "The server holds too many large requests at present. Send this one again in a minute."),
    # What the application itself tried to send: its fault, though a subclass of the client's.
    errors.InvalidResponseHeader: (500, FAILED),
    errors.InvalidResponseHeaderName: (500, FAILED),
    errors.ConfigurationProblem: (500, FAILED),
}
"""Status and sentence for each error; a class that is not listed has those of the nearest above it."""

_HOST: Final = re.compile(r"([\w.~!$&'()*+,;=%-]*|\[[\w.:%]+\])(:\d*)?", re.ASCII)

RETRY_SECONDS: Final = 60


def status_of(error: Exception) -> tuple[int, str]:
    """Return the status and the sentence of an error."""
    if is_disk_full(error):
        return 507, FULL
    return next((_REFUSALS[kind] for kind in type(error).__mro__ if kind in _REFUSALS), (500, FAILED))


def require_host(request: Any) -> None:
    """Check the header `Host` of a request, as gunicorn has read it.

    Raises:
        HostError: it is missing where HTTP/1.1 needs it, stands there twice, or names no host.
    """
    hosts = [value for name, value in request.headers if name == "HOST"]
    least = 1 if request.version >= (1, 1) else 0
    if not least <= len(hosts) <= 1 or not all(map(_HOST.fullmatch, hosts)):
        raise HostError


def refusal(status: int, sentence: str, request_id: str) -> bytes:
    """Return a whole response, after which the connection is closed."""
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
