"""Who may do what, and the headers that keep a browser from doing more.

Looking, predicting and explaining is open. Whatever else changes something, or shows what people sent, needs the key,
if one is set, or the cookie of who signed in with it. Without a key it is allowed only to who sits at this machine:
over a loopback address, not through a proxy, and not from a page of another site that happens to be open in a browser.
"""

import logging
from typing import Final

from flask import Flask, Response, request

from catdog.errors import ForbiddenError, KeyNeededError
from catdog.settings import Settings
from catdog.web.problems import request_id
from catdog.web.routes import Access
from catdog.web.security import sessions
from catdog.web.security.origins import is_local, is_loopback, may_be_proxied
from catdog.web.security.permissions import access_of, changes_something, is_guarded

_log = logging.getLogger(__name__)

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
        if not is_guarded(request) or access_of(request) is Access.KEY:
            return
        if key is not None:
            _require_permission(key)
        elif not _is_own_machine(settings):
            raise ForbiddenError(f"{why_not(settings)} {sessions.HOW_TO_SET_A_KEY}")

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


def may_change(settings: Settings) -> bool:
    """Tell whether the page may offer the reader of this request what changes something; each route still asks."""
    return sessions.is_signed_in() if settings.api_key else _is_own_machine(settings)


def why_not(settings: Settings) -> str:
    """Say why a server without a key doesn't allow a request what needs permission."""
    if not is_loopback(settings.resolved_host):
        setting = "CATDOG_HOST" if settings.host else "PORT without CATDOG_HOST"
        return (
            f"The server has no key, and other machines reach it ({setting}), so nobody may do this, its own machine "
            "included. Set a key, or CATDOG_HOST=127.0.0.1 to allow its own machine alone."
        )
    if is_loopback(request.remote_addr) and may_be_proxied(request):
        return (
            "The server has no key, and this request came through a proxy: only the server's own machine may do this."
        )
    return "The server has no key: only its own machine may do this, directly and not from another site's page."


def warn_without_key(settings: Settings) -> None:
    """Log, if the server has no key, that it must not be put behind a proxy: one that adds no mark can't be told."""
    if settings.api_key:
        return
    if is_loopback(settings.resolved_host):
        why = "Everybody who comes through one that adds no header of its own may change everything."
    else:
        why = "As other machines reach it, nobody may change anything, its own machine included."
    _log.warning("The server has no key (CATDOG_API_KEY): do not put it behind a proxy or a tunnel. %s", why)


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
