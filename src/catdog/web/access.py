"""Who may do what, and the headers that keep a browser from doing more.

Looking, predicting and explaining is open. Whatever else changes something, or shows what people sent, needs the key,
if one is set. Without one it is allowed only to who sits at this machine: over a loopback address, not through a proxy,
and not from a page of another site that happens to be open in a browser here.
"""

import hmac
import ipaddress
from typing import Final
from urllib.parse import urlsplit

from flask import Flask, Request, Response, request

from catdog.errors import ForbiddenError, KeyNeededError
from catdog.settings import Settings
from catdog.web.problems import request_id

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN_ENDPOINTS: Final = frozenset({"api.predict", "api.predict_batch", "api.explain", "pages.answer"})
"""What answers without changing anything but counts, though by POST."""

CLOSED_ENDPOINTS: Final = frozenset({"collect.images", "collect.image_file", "collect.report"})
"""What needs the same permission as a change, though by GET: pictures that people sent, and who they were."""

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_HOW: Final = (
    "Set CATDOG_API_KEY on the server (`openssl rand -hex 32` makes one), start it again, and send the key as "
    "X-API-Key or as Authorization: Bearer."
)
_FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")


def install(app: Flask, settings: Settings) -> None:
    """Guard an app's routes and set its headers."""
    key = settings.api_key.get_secret_value() if settings.api_key else None

    def guard() -> None:
        is_safe = request.method in SAFE_METHODS and request.endpoint not in CLOSED_ENDPOINTS
        if is_safe or request.endpoint in OPEN_ENDPOINTS or request.endpoint is None:
            return
        if key is not None:
            _require_key(key)
        elif not (is_loopback(settings.resolved_host) and is_local(request)):
            raise ForbiddenError(f"Without a key this is allowed only on the machine of the server itself. {_HOW}")

    def finish(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers[name] = value
        response.headers["X-Request-ID"] = request_id()
        if not request.path.startswith("/static/"):
            response.headers["Cache-Control"] = "no-store"
        return response

    app.before_request(guard)
    app.after_request(finish)


def is_loopback(host: str | None) -> bool:
    """Tell whether an address or name can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address((host or "").strip("[]")).is_loopback
    except ValueError:
        return False


def is_local(received: Request) -> bool:
    """Tell whether a request comes from this machine, directly, and from no page of another site."""
    if not is_loopback(received.environ.get("SERVER_NAME")) or not is_loopback(received.remote_addr):
        return False
    if any(name in received.headers for name in _FORWARDED):
        return False
    # A name that was made to lead here (DNS rebinding) stands in Host; a page of another site in Origin.
    if not is_loopback(_host_of(f"//{received.host}")):
        return False
    origin = received.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == received.host


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _require_key(key: str) -> None:
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    given = request.headers.get("X-API-Key") or (bearer.strip() if scheme.casefold() == "bearer" else "")
    if not given:
        raise KeyNeededError("This needs the server's key, as X-API-Key or as Authorization: Bearer. Received: no key.")
    if not hmac.compare_digest(given.encode(), key.encode()):
        raise KeyNeededError("This needs the server's key. Received: another one.")
