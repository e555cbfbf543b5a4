"""gunicorn's process with threads, whose own refusals are problems like all others; and its log as lines of JSON."""

import json
import logging
import ssl
from http import HTTPStatus
from typing import Any, Final

from gunicorn import util
from gunicorn.glogging import Logger
from gunicorn.http import errors
from gunicorn.workers.gthread import ThreadWorker

from catdog.logs import write_json
from catdog.web.access import HEADERS
from catdog.web.problems import FAILED, MEDIA_TYPE, document, new_request_id

_BROKEN: Final = "This is no request of HTTP/1.0 or 1.1: its first line, a header or a length breaks the protocol."
_REFUSALS: Final[dict[type[Exception], tuple[int, str]]] = {
    errors.ParseException: (400, _BROKEN),
    errors.LimitRequestLine: (414, "The address is too long: 4,094 bytes are allowed for the first line of a request."),
    errors.ExpectationFailed: (417, "Of expectations, `Expect: 100-continue` is met and no other."),
    errors.LimitRequestHeaders: (431, "The headers are too many or too long: 100 of 8,190 bytes each are allowed."),
    errors.UnsupportedTransferCoding: (501, "Of transfer codings, `chunked` is understood and no other."),
    errors.ForbiddenProxyRequest: (403, "The PROXY protocol is not allowed from this address."),
    ssl.SSLError: (403, "The connection must begin with TLS."),
    # What the application itself tried to send: its fault, though a subclass of the client's.
    errors.InvalidResponseHeader: (500, FAILED),
    errors.InvalidResponseHeaderName: (500, FAILED),
    errors.ConfigurationProblem: (500, FAILED),
}
"""Status and sentence for each error of gunicorn's; a class that is not listed has those of the nearest above it."""


class ProblemWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Threads as gunicorn has them."""

    def handle_error(self, _request: object, client: Any, _address: object, error: Exception) -> None:
        """Refuse a request that cannot be read, or that failed outside the application; gunicorn closes after that.

        What was received is neither sent back nor logged, as gunicorn would: it may be a picture, or hold a key.
        """
        status, sentence = next((_REFUSALS[kind] for kind in type(error).__mro__ if kind in _REFUSALS), (500, FAILED))
        request_id = new_request_id()
        fields = {"request_id": request_id, "status": status, "problem": type(error).__name__}
        log = self.log.exception if status == 500 else self.log.warning
        log("Request %s was not answered: %s, %s", request_id, status, fields["problem"], extra={"fields": fields})
        try:
            util.write_nonblock(client, _response(status, sentence, request_id))
        except OSError as gone:
            self.log.debug("The client did not wait for its refusal. Received: %s", gone)


class JsonLogger(Logger):  # type: ignore[misc]
    """gunicorn's own log, of starts, ends and refusals, as lines of JSON."""

    def setup(self, cfg: object) -> None:
        """Set the log up, anew at each reload of the configuration."""
        super().setup(cfg)
        write_json(logging.getLogger("gunicorn.error"))


def _response(status: int, sentence: str, request_id: str) -> bytes:
    body = json.dumps(document(status, sentence, request_id)).encode()
    headers = {
        "Connection": "close",
        "Content-Type": MEDIA_TYPE,
        "Content-Length": len(body),
        "Cache-Control": "no-store",
        "X-Request-ID": request_id,
        **HEADERS,
    }
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
