"""Sign in on the page with the API key, by Flask's signed cookie.

The cookie is signed with a secret derived from the key, so all processes accept it, it survives a restart, and changing
the key ends all sessions. Browsers send it with requests from other sites' pages too. Requests that change something
must therefore bring the session's token (CSRF), and not come from another site.
"""

import hashlib
import hmac
import secrets
from datetime import timedelta
from typing import Any, Final

from apiflask import APIBlueprint
from flask import Flask, Request, current_app, g, redirect, request, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from itsdangerous import BadSignature
from werkzeug.wrappers import Response

from catdog.errors import ForbiddenError, KeyNeededError
from catdog.settings import Settings
from catdog.web import schemas
from catdog.web.requests.bodies import FORMS
from catdog.web.schemas import problems
from catdog.web.security.origins import is_same_site
from catdog.web.security.permissions import needs_permission, open_to_all, takes_the_key

COOKIE: Final = "catdog_session"
TOKEN_HEADER: Final = "X-CSRF-Token"
TOKEN_FIELD: Final = "csrf_token"
HOW_TO_SET_A_KEY: Final = (
    "Set CATDOG_API_KEY on the server (`openssl rand -hex 32` makes one), restart it, and send the key as X-API-Key or "
    "as Authorization: Bearer."
)
_TO_THE_PAGE: Final = {"description": "Redirect to the page, for a form"}
_KEY: Final = "CATDOG_API_KEY"
"""Where an app's configuration has the key."""

sessions = APIBlueprint("sessions", __name__, tag="Session")


class _SessionInterface(SecureCookieSessionInterface):
    digest_method = staticmethod(hashlib.sha256)

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Return the session of the cookie, or an empty one if there is no cookie, which saves most of the time."""
        if app.secret_key and not brings_cookie(request):
            return self.session_class()
        opened = super().open_session(app, request)
        if app.secret_key and not opened and self._is_forged(app, request):
            note_wrong_key()
        return opened

    def _is_forged(self, app: Flask, request: Request) -> bool:
        """Return whether a cookie was signed with another key, and isn't just too old."""
        serializer = self.get_signing_serializer(app)
        try:
            return serializer is None or not serializer.loads(request.cookies[COOKIE])
        except BadSignature:
            return True

    def get_cookie_secure(self, app: Flask) -> bool:  # noqa: ARG002
        """Return whether the cookie is for TLS only, which it is if it was set over TLS."""
        return request.is_secure


def install(app: Flask, settings: Settings) -> None:
    """Set up sessions; without a key there is no secret to sign them with."""
    key = settings.api_key.get_secret_value() if settings.api_key else None
    app.session_interface = _SessionInterface()
    app.config.update(
        SECRET_KEY=key and hmac.digest(key.encode(), b"catdog page session", "sha256"),
        SESSION_COOKIE_NAME=COOKIE,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=timedelta(hours=settings.session_hours),
    )
    app.config[_KEY] = key


def require_key(given: str, key: str) -> None:
    """Check a key in constant time.

    Raises:
        KeyNeededError: it is wrong.
    """
    if not _is_equal(given, key):
        note_wrong_key()
        raise KeyNeededError("Invalid API key.")


def note_wrong_key() -> None:
    """Record that this request brought a wrong key, for the rate limit."""
    g.wrong_key = True


def is_wrong_key() -> bool:
    """Return whether this request brought a wrong key, a cookie signed with one, or a wrong token."""
    return bool(g.get("wrong_key", False))


def brings_cookie(received: Request) -> bool:
    """Return whether a request brings a session cookie, valid or not."""
    return "HTTP_COOKIE" in received.environ and bool(received.cookies.get(COOKIE))


def ignore_cookie() -> None:
    """Ignore the request's cookie: above the limit on wrong keys, a response must not reveal whether it is valid."""
    g.is_cookie_ignored = True


def is_cookie_ignored() -> bool:
    """Return whether the request's cookie is ignored."""
    return bool(g.get("is_cookie_ignored", False))


def drop_invalid_cookie() -> None:
    """Make the browser drop an invalid cookie, so it isn't counted as a guess again."""
    if not session and brings_cookie(request):
        session.modified = True


def is_signed_in() -> bool:
    """Return whether the request has a valid session."""
    return TOKEN_FIELD in session and not is_cookie_ignored()


def require_sign_in_allowed() -> None:
    """Check that the server has a key, and that a request to sign in comes from no other site.

    Raises:
        ForbiddenError: it has none, or it comes from another site.
    """
    if current_app.config[_KEY] is None:
        raise ForbiddenError(f"The server has no API key, so nobody can sign in. {HOW_TO_SET_A_KEY}")
    _require_same_site()


def require_own_page() -> None:
    """Check that a request authorised by a cookie comes from this server's page.

    Raises:
        ForbiddenError: it comes from another site, or without the session's token.
    """
    _require_same_site()
    given = request.headers.get(TOKEN_HEADER)
    if given is None and request.mimetype in FORMS:
        given = request.form.get(TOKEN_FIELD)
    if not _is_equal(given or "", session[TOKEN_FIELD]):
        if given is not None:
            note_wrong_key()
        fault = "missing" if given is None else "wrong"
        raise ForbiddenError(
            f"The session's token is {fault}. Get it from /api/session and send it as {TOKEN_HEADER} or as the form "
            f"field {TOKEN_FIELD}."
        )


@sessions.post("/session")
@sessions.doc(responses=problems(400, 401, 403, 413, 415) | {303: _TO_THE_PAGE})
@sessions.input(schemas.SignIn, location="json_or_form", arg_name="body")
@sessions.output(schemas.Session)
@takes_the_key
def sign_in(body: dict[str, str]) -> dict[str, Any] | Response:
    """Sign in with the API key, as the field `key` of a form or a JSON object.

    Later requests use the cookie from the response, with the session's token, in place of the key. A form is redirected
    to the page.
    """
    require_key(body["key"], current_app.config[_KEY])
    session.clear()
    session[TOKEN_FIELD] = secrets.token_urlsafe(32)
    session.permanent = True
    return redirect(url_for("pages.index"), 303) if request.mimetype in FORMS else session_state()


@sessions.route("/session/end", methods=["POST", "DELETE"])
@sessions.doc(responses=problems(401, 403) | {303: _TO_THE_PAGE}, security=schemas.KEYS)
@sessions.output(schemas.Session)
@needs_permission
def sign_out() -> dict[str, Any] | Response:
    """Sign out and delete the cookie."""
    if session:
        session.clear()
    return redirect(url_for("pages.index"), 303) if request.mimetype in FORMS else session_state()


@sessions.get("/api/session")
@sessions.doc(responses=problems())
@sessions.output(schemas.Session)
@open_to_all
def state() -> dict[str, Any]:
    """Return whether a key is needed, whether the browser is signed in, and the session's token."""
    return session_state()


def session_state() -> dict[str, Any]:
    """Describe the session of the request."""
    return {
        "key_needed": current_app.config[_KEY] is not None,
        "signed_in": is_signed_in(),
        "csrf_token": session[TOKEN_FIELD] if is_signed_in() else None,
    }


def _require_same_site() -> None:
    if not is_same_site(request):
        source = request.headers.get("Origin") or request.headers.get("Referer", "")
        raise ForbiddenError(
            f"This request comes from another site{f' ({source[:200]})' if source else ''}; only pages of "
            f"{request.host_url} may do this. If a proxy changes Host, set CATDOG_TRUSTED_PROXIES."
        )


def _is_equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="surrogatepass"), expected.encode())
