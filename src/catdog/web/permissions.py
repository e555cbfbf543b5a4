"""Who may call a route, declared on its view. A server with a route that declares nothing doesn't start.

@api.get("/models")
@open_to_all
def models(): ...
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, Final, TypeVar

from flask import Flask, Request, current_app

View = TypeVar("View", bound=Callable[..., Any])

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""

_MARK: Final = "catdog_access"
_EXTENSION: Final = "catdog_access"


class Access(Enum):
    """Who may call a route, by whichever of its methods."""

    OPEN = "open"
    """Everybody. The route doesn't look at a key, and by POST it changes nothing but counts."""

    CLOSED = "closed"
    """Whoever has the key; without one, the server's own machine."""

    KEY = "key"
    """Everybody who brings the key in the request's body, where the route itself looks at it: signing in."""


def open_to_all(view: View) -> View:
    """Declare a view open to everybody."""
    return _declare(view, Access.OPEN)


def needs_permission(view: View) -> View:
    """Declare a view closed to those without the key: it changes something, or shows people's images or models."""
    return _declare(view, Access.CLOSED)


def takes_the_key(view: View) -> View:
    """Declare that a view itself checks a key that is sent to it."""
    return _declare(view, Access.KEY)


def seal(app: Flask) -> None:
    """Collect what an app's views declare; called once all routes are registered.

    Raises:
        RuntimeError: a route declares nothing.
    """
    found = {
        rule.endpoint: getattr(app.view_functions[rule.endpoint], _MARK, None) for rule in app.url_map.iter_rules()
    }
    if missing := sorted(endpoint for endpoint, access in found.items() if access is None):
        raise RuntimeError(
            f"Each view must declare who may call it, with @open_to_all or @needs_permission. Missing on: {missing}"
        )
    app.extensions[_EXTENSION] = found


def access_of(received: Request) -> Access:
    """Return who may call the route of a request. A request without a route finds nothing, so it's open."""
    if received.endpoint is None:
        return Access.OPEN
    declared: dict[str, Access] = current_app.extensions[_EXTENSION]
    return declared.get(received.endpoint, Access.CLOSED)


def is_guarded(received: Request) -> bool:
    """Tell whether a request is for a route that needs permission, or takes the key; its method doesn't matter.

    Flask itself answers OPTIONS, with the methods that there are. Browsers ask so before they send a key.
    """
    if received.method == "OPTIONS" and getattr(received.url_rule, "provide_automatic_options", False):
        return False
    return access_of(received) is not Access.OPEN


def changes_something(received: Request) -> bool:
    """Tell whether a request is for a guarded route, and by a method that changes something."""
    return received.method not in SAFE_METHODS and is_guarded(received)


def _declare(view: View, access: Access) -> View:
    setattr(view, _MARK, access)
    return view
