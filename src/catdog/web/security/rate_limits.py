"""Rate limits per client IP, which also stop key guessing.

Direct clients on this machine are limited only for wrong keys. Flask-Limiter counts in memory or in Redis; while Redis
can't be reached, it counts in memory.
"""

import time
from contextlib import suppress
from typing import Any, Final, cast

from flask import Flask, Response, g, request
from flask_limiter import ApplicationLimit, Limiter, RateLimitExceeded

from catdog.settings import Settings, variable_name
from catdog.text import counted
from catdog.web.problems import respond
from catdog.web.routes import route_of
from catdog.web.security import sessions
from catdog.web.security.origins import client_network, is_direct, is_proxied
from catdog.web.security.permissions import changes_something, is_guarded

REDIS_SECONDS: Final = 0.5
"""Timeout for Redis, since requests wait for it."""


_COUNTED: Final = {"rate_limit": "requests", "rate_limit_changes": "changes", "rate_limit_keys": "wrong keys"}
"""What a limit counts, by the field of its setting."""


def install(app: Flask, settings: Settings) -> None:
    """Limit an app's requests; those that change something have a limit of their own."""
    if not (limits := _limits(settings)):
        return
    limiter = _make_limiter(limits, settings.rate_limit_storage)
    # The limiter's hooks take time even if there is nothing to count. An app that serves nothing holds them, and they
    # are called only for counted requests.
    holder = Flask(__name__)
    limiter.init_app(holder)
    (check,), (deduct,) = holder.before_request_funcs[None], holder.after_request_funcs[None]

    def before() -> None:
        if is_guarded(request) or _reveals_cookie() or not (_is_unlimited() or _is_exempt(settings)):
            g.is_counted = True
            check_all()

    def check_all() -> None:
        try:
            check()
        except RateLimitExceeded as error:
            sessions.ignore_cookie()
            if is_guarded(request) or error.description != _message("rate_limit_keys"):
                raise
            check_all()  # after too many wrong keys, an open route goes on, but as if not signed in

    def after(response: Response) -> Response:
        if "is_counted" not in g:
            return response
        if response.status_code != 429 and not sessions.is_cookie_ignored():
            sessions.drop_invalid_cookie()
        return cast(Response, deduct(response))

    def explain(error: RateLimitExceeded) -> Response:
        rate = error.limit.limit
        error.retry_after = _seconds_left(limiter, rate.get_expiry())
        error.description = (
            f"Too many {error.description}; the limit is {rate.amount:,} in {counted(rate.get_expiry(), 'second')}. "
            f"Try again in {counted(error.retry_after, 'second')}."
        )
        if is_proxied(request) and not settings.trusted_proxies:
            error.description += " All clients behind a proxy count as one unless CATDOG_TRUSTED_PROXIES is set."
        return respond(error, settings)

    app.before_request(before)
    app.after_request(after)
    app.register_error_handler(RateLimitExceeded, explain)


def _limits(settings: Settings) -> list[ApplicationLimit]:
    """Return the limits that are not off; each counts all its routes together."""

    def is_exempt_request() -> bool:
        return changes_something(request) or _is_unlimited() or _is_exempt(settings)

    def is_exempt_change() -> bool:
        return not changes_something(request) or _is_exempt(settings)

    # Wrong keys come first: the other limits don't count a request refused for one.
    rules: dict[str, dict[str, Any]] = {
        "rate_limit_keys": {
            "exempt_when": lambda: not (is_guarded(request) or _reveals_cookie()),
            "deduct_when": lambda _response: sessions.is_wrong_key(),
        },
        "rate_limit": {"exempt_when": is_exempt_request},
        "rate_limit_changes": {"exempt_when": is_exempt_change},
    }
    return [
        ApplicationLimit(getattr(settings, field), scope=field, error_message=_message(field), **options)
        for field, options in rules.items()
        if getattr(settings, field) != "off"
    ]


def _message(field: str) -> str:
    return f"{_COUNTED[field]} from this client IP ({variable_name(field)})"


def _make_limiter(limits: list[ApplicationLimit], storage: str) -> Limiter:
    is_memory = storage == "memory"
    return Limiter(
        lambda: client_network(request),
        application_limits=cast(list[Any], limits),
        key_prefix="catdog",
        storage_uri="memory://" if is_memory else storage,
        storage_options={} if is_memory else _redis_options(),
        in_memory_fallback_enabled=not is_memory,
        swallow_errors=True,  # a failure to count must not fail a request
    )


def _redis_options() -> dict[str, Any]:
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return {
        "socket_connect_timeout": REDIS_SECONDS,
        "socket_timeout": REDIS_SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }


def _is_unlimited() -> bool:
    return not route_of(request).is_rate_limited


def _reveals_cookie() -> bool:
    """Return whether the response could reveal if the request's cookie is valid, which is a way to guess the key."""
    return not _is_unlimited() and sessions.brings_cookie(request) and not sessions.is_cookie_ignored()


def _is_exempt(settings: Settings) -> bool:
    return not settings.rate_limit_local and is_direct(request)


def _seconds_left(limiter: Limiter, longest: int) -> int:
    """Return the seconds until the limit that was hit resets."""
    with suppress(Exception):  # Redis may have gone in between
        if limit := limiter.current_limit:
            return max(1, limit.reset_at - int(time.time()))
    return longest
