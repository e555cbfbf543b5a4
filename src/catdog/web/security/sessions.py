"""Signing in on the page with the server's key, by Flask's signed cookie.

The cookie is signed with a secret made from the key. So all processes agree on it, it survives a restart, and another
key ends all sessions. A cookie comes with every request, also with one that a foreign page has a browser send: what
changes something must therefore bring the token of the session too, and may not name another site as its origin.
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

from catdog.errors import ForbiddenError, KeyNeededError, MediaTypeError, RequestError
from catdog.settings import Settings
from catdog.web import schemas
from catdog.web.requests.bodies import FORMS, read_document
from catdog.web.schemas import answers
from catdog.web.security.origins import is_same_site
from catdog.web.security.permissions import needs_permission, open_to_all, takes_the_key

COOKIE: Final = "catdog_session"
TOKEN_HEADER: Final = "X-CSRF-Token"
TOKEN_FIELD: Final = "csrf_token"
HOW_TO_SET_A_KEY: Final = (
    "Set CATDOG_API_KEY on the server (`openssl rand -hex 32` makes one), start it again, and send the key as "
    "X-API-Key or as Authorization: Bearer."
)
_TO_THE_PAGE: Final = {"description": "A form is sent on to the page"}
_KEY: Final = "CATDOG_API_KEY"
"""Where an app's configuration keeps the key, for the routes below."""

sessions = APIBlueprint("sessions", __name__, tag="Session")


class _SessionInterface(SecureCookieSessionInterface):
    digest_method = staticmethod(hashlib.sha256)

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Read the cookie, if there is one; making ready for it takes longer than all else that guards a request."""
        if app.secret_key and not brings_cookie(request):
            return self.session_class()
        opened = super().open_session(app, request)
        if app.secret_key and not opened and self._is_forged(app, request):
            note_wrong_key()
        return opened

    def _is_forged(self, app: Flask, request: Request) -> bool:
        """Tell a cookie that was signed with another key from one that is only too old."""
        serializer = self.get_signing_serializer(app)
        try:
            return serializer is None or not serializer.loads(request.cookies[COOKIE])
        except BadSignature:
            return True

    def get_cookie_secure(self, app: Flask) -> bool:  # noqa: ARG002
        """Keep a cookie that was given over TLS from ever going without."""
        return request.is_secure


def install(app: Flask, settings: Settings) -> None:
    """Give an app sessions; without a key there is nothing to sign in with, and no secret."""
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
    """Compare a key with the server's, in a time that tells nothing of where they differ.

    Raises:
        KeyNeededError: it is another one.
    """
    if not _is_equal(given, key):
        note_wrong_key()
        raise KeyNeededError("This needs the server's key. Received: another one.")


def note_wrong_key() -> None:
    """Let the limit on guessing count this request."""
    g.wrong_key = True


def is_wrong_key() -> bool:
    """Tell whether the request brought a wrong key, a cookie that was signed with one, or a wrong token."""
    return bool(g.get("wrong_key", False))


def brings_cookie(received: Request) -> bool:
    """Tell whether a request comes with a cookie of this name, good or not."""
    return "HTTP_COOKIE" in received.environ and bool(received.cookies.get(COOKIE))


def look_away() -> None:
    """Pass over the request's cookie: over a limit, a page must not tell a good one from a bad one."""
    g.cookie_is_passed_over = True


def is_passed_over() -> bool:
    """Tell whether the request's cookie is passed over."""
    return bool(g.get("cookie_is_passed_over", False))


def forget_bad_cookie() -> None:
    """Have the browser drop a cookie that is good for nothing, so that it isn't counted as a guess again and again."""
    if not session and brings_cookie(request):
        session.modified = True


def is_signed_in() -> bool:
    """Tell whether the request comes with a cookie of this server that is not too old."""
    return TOKEN_FIELD in session and not is_passed_over()


def require_own_page() -> None:
    """Hold a request that a cookie authorises to come from this server's page.

    Raises:
        ForbiddenError: it comes from another site, or without the token of the session.
    """
    _require_same_site()
    given = request.headers.get(TOKEN_HEADER)
    if given is None and request.mimetype in FORMS:
        given = request.form.get(TOKEN_FIELD)
    if not _is_equal(given or "", session[TOKEN_FIELD]):
        if given is not None:
            note_wrong_key()
        received = "no token" if given is None else "another one"
        raise ForbiddenError(
            f"A signed-in page must send the token of its session, which GET /api/session gives, as {TOKEN_HEADER} "
            f"or as the form field {TOKEN_FIELD}. Received: {received}."
        )


@sessions.post("/session")
@sessions.doc(responses={**answers(schemas.Session, 400, 401, 403, 413, 415), 303: _TO_THE_PAGE})
@takes_the_key
def sign_in() -> dict[str, Any] | Response:
    """Sign in with the key: the field `key` of a form, or of a JSON object.

    The cookie that comes back stands for the key on later requests, with the token of the session. A form is sent on to
    the page.
    """
    key = current_app.config[_KEY]
    if key is None:
        raise ForbiddenError(f"There is no key to sign in with. {HOW_TO_SET_A_KEY}")
    _require_same_site()
    require_key(_given_key(), key)
    session.clear()
    session[TOKEN_FIELD] = secrets.token_urlsafe(32)
    session.permanent = True
    return redirect(url_for("pages.index"), 303) if request.mimetype in FORMS else state()


@sessions.route("/session/end", methods=["POST", "DELETE"])
@sessions.doc(responses={**answers(schemas.Session, 401, 403), 303: _TO_THE_PAGE}, security=schemas.KEYS)
@needs_permission
def sign_out() -> dict[str, Any] | Response:
    """Sign out: the browser forgets its cookie."""
    if session:
        session.clear()
    return redirect(url_for("pages.index"), 303) if request.mimetype in FORMS else state()


@sessions.get("/api/session")
@sessions.doc(responses=answers(schemas.Session))
@open_to_all
def state() -> dict[str, Any]:
    """Say whether a key is needed, whether the browser is signed in, and the token of its session."""
    return {
        "key_needed": current_app.config[_KEY] is not None,
        "signed_in": is_signed_in(),
        "csrf_token": session[TOKEN_FIELD] if is_signed_in() else None,
    }


def _require_same_site() -> None:
    if not is_same_site(request):
        source = request.headers.get("Origin") or request.headers.get("Referer", "")
        raise ForbiddenError(
            f"A page of another site may not do this; this site is {request.host_url}. Where a proxy before it changes "
            f"Host, set CATDOG_TRUSTED_PROXIES. Received: {source[:200] or 'another site'}"
        )


def _given_key() -> str:
    if request.mimetype in FORMS:
        given: Any = request.form.get("key")
    elif request.is_json:
        document = read_document(request)
        given = document.get("key") if isinstance(document, dict) else None
    else:
        raise MediaTypeError(
            f"The key is needed in a form or as JSON. Received: {request.mimetype[:100] or 'no Content-Type'}."
        )
    if not isinstance(given, str) or not given:
        raise RequestError("The key is needed as the field `key`. Received: none.")
    return given


def _is_equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="surrogatepass"), expected.encode())
