"""Checks permission for guarded routes, and sets the security headers.

Predicting and explaining are open to everybody. Routes that change something or show uploads need the API key, or a
session that was started with it. If no key is set, they are allowed only from the server's own machine: over a loopback
address, not through a proxy, and not from another site's page.
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
        if not is_guarded(request):
            return
        if access_of(request) is Access.KEY:
            sessions.require_sign_in_allowed()
        elif key is not None:
            _require_permission(key)
        elif not _is_own_machine(settings):
            raise ForbiddenError(f"{why_not(settings)} {sessions.HOW_TO_SET_A_KEY}")

    def finish(response: Response) -> Response:
        given = [*HEADERS.items(), ("X-Request-ID", request_id())]
        if not request.path.startswith(("/static/", "/assets/")):
            given.append(("Cache-Control", "no-store"))
        # All at once: setting a single header searches the whole list.
        replaced = {name.lower() for name, _ in given}
        response.headers[:] = [*(x for x in response.headers if x[0].lower() not in replaced), *given]
        return response

    app.before_request(guard)
    app.after_request(finish)


def may_change(settings: Settings) -> bool:
    """Return whether the page may offer changes in response to this request; each route checks again."""
    return sessions.is_signed_in() if settings.api_key else _is_own_machine(settings)


def why_not(settings: Settings) -> str:
    """Return why a server without a key refuses this request."""
    if not is_loopback(settings.resolved_host):
        setting = "CATDOG_HOST" if settings.host else "PORT without CATDOG_HOST"
        return (
            f"The server has no API key and other machines can reach it ({setting}), so this isn't allowed from any "
            "machine. Set a key, or set CATDOG_HOST=127.0.0.1 to allow only the server's own machine."
        )
    if is_loopback(request.remote_addr) and may_be_proxied(request):
        return "The server has no API key, so only its own machine may do this, and this request came through a proxy."
    return "The server has no API key, so only its own machine may do this, directly and not from another site's page."


def warn_without_key(settings: Settings) -> None:
    """Log that a server without a key must not be put behind a proxy."""
    # A proxy that adds no header of its own can't be recognised.
    if settings.api_key:
        return
    if is_loopback(settings.resolved_host):
        why = "If it adds no header of its own, everybody behind it may change everything."
    else:
        why = "Other machines can reach it, so nothing can be changed, not even from its own machine."
    _log.warning("The server has no API key (CATDOG_API_KEY). Don't put it behind a proxy or a tunnel. %s", why)


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
            "The API key is missing. Send it as X-API-Key or as Authorization: Bearer, or sign in on the page."
        )
