"""Who may do what, and the headers that keep a browser from doing more.

Looking, predicting and explaining is open. Whatever else changes something, or shows what people sent, needs the key,
if one is set, or the cookie of who signed in with it. Without a key it is allowed only to who sits at this machine:
over a loopback address, not through a proxy, and not from a page of another site that happens to be open in a browser.
"""

from typing import Final

from flask import Flask, Request, Response, request

from catdog.errors import ForbiddenError, KeyNeededError
from catdog.settings import Settings
from catdog.web import sessions
from catdog.web.origins import is_local, is_loopback
from catdog.web.problems import request_id

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN_ENDPOINTS: Final = frozenset(
    {
        "api.predict",
        "api.predict_batch",
        "api.explain",
        "inference.infer",
        "inference.infer_version",
        "pages.answer",
    }
)
"""What answers without changing anything but counts, though by POST."""

CLOSED_ENDPOINTS: Final = frozenset(
    {
        "charts.picture",
        "collect.images",
        "collect.image_file",
        "collect.report",
        "downloads.training_image",
        "downloads.version",
    }
)
"""What needs the same permission as a change, though by GET: people's pictures, who sent them, and whole models."""

SIGN_IN: Final = "sessions.sign_in"
"""The route that the key goes to itself, and which looks at it."""

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def install(app: Flask, settings: Settings) -> None:
    """Guard an app's routes and set its headers."""
    sessions.install(app, settings)
    key = settings.api_key.get_secret_value() if settings.api_key else None

    def guard() -> None:
        if not (changes_something(request) or request.endpoint in CLOSED_ENDPOINTS) or request.endpoint == SIGN_IN:
            return
        if key is not None:
            _require_permission(key)
        elif not _is_own_machine(settings):
            raise ForbiddenError(
                f"Without a key this is allowed only on the machine of the server itself. {sessions.HOW_TO_SET_A_KEY}"
            )

    def finish(response: Response) -> Response:
        given = [*HEADERS.items(), ("X-Request-ID", request_id())]
        if not request.path.startswith(("/static/", "/assets/")):
            given.append(("Cache-Control", "no-store"))
        # In one go: to set one header is to look through all that there are.
        replaced = {name.lower() for name, _ in given}
        response.headers[:] = [*(x for x in response.headers if x[0].lower() not in replaced), *given]
        return response

    app.before_request(guard)
    app.after_request(finish)


def changes_something(received: Request) -> bool:
    """Tell whether a request is for a route, and by a method, that changes something."""
    return not (received.method in SAFE_METHODS or received.endpoint in OPEN_ENDPOINTS or received.endpoint is None)


def may_change(settings: Settings) -> bool:
    """Tell whether the page may offer the reader of this request what changes something; each route still asks."""
    return sessions.is_signed_in() if settings.api_key else _is_own_machine(settings)


def _is_own_machine(settings: Settings) -> bool:
    return is_loopback(settings.resolved_host) and is_local(request)


def _require_permission(key: str) -> None:
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    given = request.headers.get("X-API-Key") or (bearer.strip() if scheme.casefold() == "bearer" else "")
    if given:
        sessions.require_key(given, key)
    elif sessions.is_signed_in():
        if changes_something(request):
            sessions.require_own_page()
    else:
        raise KeyNeededError(
            "This needs the server's key, as X-API-Key or as Authorization: Bearer, or a page that is signed in. "
            "Received: no key."
        )
