"""How often one address may ask: so that one client cannot take it all, and nobody can guess a key by trying.

Who sits at this machine and comes by no proxy is not limited, but for wrong keys. Flask-Limiter counts, in memory or in
Redis. While Redis cannot be reached it counts in memory, so that answering does not depend on it.
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
"""A request waits for Redis: one that does not answer within these seconds is given up, and asked again later."""


_COUNTED: Final = {"rate_limit": "requests", "rate_limit_changes": "changes", "rate_limit_keys": "wrong keys"}
"""What a limit counts, by the field of its setting."""


def install(app: Flask, settings: Settings) -> None:
    """Limit an app's routes, those that change something apart from the others."""
    if not (limits := _limits(settings)):
        return
    limiter = _make_limiter(limits, settings.rate_limit_storage)
    # The limiter's own hooks take time even where there is nothing to count. So an app that serves nothing takes them,
    # and they run only where there is.
    holder = Flask(__name__)
    limiter.init_app(holder)
    (check,), (deduct,) = holder.before_request_funcs[None], holder.after_request_funcs[None]

    def before() -> None:
        if is_guarded(request) or _is_told_by_cookie() or not (_is_unlimited() or _is_spared(settings)):
            g.is_counted = True
            check_all()

    def check_all() -> None:
        try:
            check()
        except RateLimitExceeded as error:
            sessions.look_away()
            if is_guarded(request) or error.description != _message("rate_limit_keys"):
                raise
            check_all()  # an open route goes on for those who don't know the key, but as for one who isn't signed in

    def after(response: Response) -> Response:
        if "is_counted" not in g:
            return response
        if response.status_code != 429 and not sessions.is_passed_over():
            sessions.forget_bad_cookie()
        return cast(Response, deduct(response))

    def explain(error: RateLimitExceeded) -> Response:
        rate = error.limit.limit
        error.retry_after = _seconds_left(limiter, rate.get_expiry())
        error.description = (
            f"Too many {error.description}; {rate.amount:,} in {counted(rate.get_expiry(), 'second')} are allowed. "
            f"Try again in {counted(error.retry_after, 'second')}."
        )
        if is_proxied(request) and not settings.trusted_proxies:
            error.description += " All clients of a proxy count as one until CATDOG_TRUSTED_PROXIES is set."
        return respond(error, settings)

    app.before_request(before)
    app.after_request(after)
    app.register_error_handler(RateLimitExceeded, explain)


def _limits(settings: Settings) -> list[ApplicationLimit]:
    """Make the limits that are not off. All routes under one of them are counted together."""

    def is_spared_request() -> bool:
        return changes_something(request) or _is_unlimited() or _is_spared(settings)

    def is_spared_change() -> bool:
        return not changes_something(request) or _is_spared(settings)

    # The keys come first: the others don't count a request that is refused for a wrong key.
    rules: dict[str, dict[str, Any]] = {
        "rate_limit_keys": {
            "exempt_when": lambda: not (is_guarded(request) or _is_told_by_cookie()),
            "deduct_when": lambda _response: sessions.is_wrong_key(),
        },
        "rate_limit": {"exempt_when": is_spared_request},
        "rate_limit_changes": {"exempt_when": is_spared_change},
    }
    return [
        ApplicationLimit(getattr(settings, field), scope=field, error_message=_message(field), **options)
        for field, options in rules.items()
        if getattr(settings, field) != "off"
    ]


def _message(field: str) -> str:
    return f"{_COUNTED[field]} from this address ({variable_name(field)})"


def _make_limiter(limits: list[ApplicationLimit], storage: str) -> Limiter:
    is_memory = storage == "memory"
    return Limiter(
        lambda: client_network(request),
        application_limits=cast(list[Any], limits),
        key_prefix="catdog",
        storage_uri="memory://" if is_memory else storage,
        storage_options={} if is_memory else _redis_options(),
        in_memory_fallback_enabled=not is_memory,
        swallow_errors=True,  # watching never breaks working
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


def _is_told_by_cookie() -> bool:
    """Tell whether the answer could say if the request's cookie is good: that tries the key that signs it."""
    return not _is_unlimited() and sessions.brings_cookie(request) and not sessions.is_passed_over()


def _is_spared(settings: Settings) -> bool:
    return not settings.rate_limit_local and is_direct(request)


def _seconds_left(limiter: Limiter, longest: int) -> int:
    """Count the seconds until the limit that was hit starts anew."""
    with suppress(Exception):  # Redis may have gone in between
        if limit := limiter.current_limit:
            return max(1, limit.reset_at - int(time.time()))
    return longest
