"""Declares who may call a view. A server with an undeclared view doesn't start.

@api.get("/models")
@open_to_all
def models(): ...
"""

from typing import Final

from flask import Request

from catdog.web.routes import Access, View, declare, route_of

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""


def open_to_all(view: View) -> View:
    """Declare a view open to everybody."""
    return declare(view, access=Access.OPEN)


def needs_permission(view: View) -> View:
    """Declare that a view needs the key: it changes something, or shows people's images or models."""
    return declare(view, access=Access.CLOSED)


def takes_the_key(view: View) -> View:
    """Declare that a view checks the key itself."""
    return declare(view, access=Access.KEY)


def access_of(received: Request) -> Access | None:
    """Return who may call the route of a request."""
    return route_of(received).access


def is_guarded(received: Request) -> bool:
    """Return whether a request is for a route that needs permission or checks the key, whatever its method."""
    # Flask answers OPTIONS itself; browsers send it before they send a key.
    if received.method == "OPTIONS" and getattr(received.url_rule, "provide_automatic_options", False):
        return False
    return access_of(received) is not Access.OPEN


def changes_something(received: Request) -> bool:
    """Return whether a request is for a guarded route with a method that changes something."""
    return received.method not in SAFE_METHODS and is_guarded(received)
