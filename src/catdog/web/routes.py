"""Declarations of a view about its route: who may call it, its body, its threads, and whether it has rate limits.

@api.post("/predict")
@open_to_all
@takes(Body.IMAGES)
@handled_in(Lane.PREDICTING)
def predict(): ...

A `RouteTable` collects the declarations from the URL map. The application looks routes up by endpoint; the event loop,
which has no Flask request yet, by method and path.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, TypeVar, cast
from urllib.parse import unquote

from flask import Flask, Request, current_app
from werkzeug.exceptions import HTTPException

View = TypeVar("View", bound=Callable[..., Any])

_MARK: Final = "catdog_route"
_EXTENSION: Final = "catdog_routes"


class Access(Enum):
    """Who may call a route, with any of its methods."""

    OPEN = "open"
    """Everybody. The route ignores keys, and POST changes nothing but counts."""

    CLOSED = "closed"
    """Clients with the key; if none is set, only the server's own machine."""

    KEY = "key"
    """Clients that send the key in the body, which the route checks itself: signing in."""


class Body(Enum):
    """What the body of a request contains, which sets its limit."""

    SMALL = "small"
    """No image, but a key, a form of the page, or nothing."""

    IDS = "ids"
    """Ids of many images."""

    IMAGES = "images"
    """Images for predictions."""

    TENSORS = "tensors"
    """Images as a tensor: binary, or base64 in JSON."""

    UPLOAD = "upload"
    """Images to store, possibly many."""


class Lane(Enum):
    """Which threads handle a request. A busy lane doesn't delay the others."""

    OTHER = "other"
    LIVENESS = "liveness"
    READINESS = "readiness"
    """May wait for the database, which liveness never does."""

    PREDICTING = "predicting"
    LISTS = "lists"
    INFERENCE = "inference"
    """`PREDICTING` or `LISTS`, by the number of images in the body."""

    EXPLAINING = "explaining"
    UPLOADS = "uploads"
    PIPELINED = "pipelined"
    """Not declared by routes: requests sent before the previous response was read."""


@dataclass(frozen=True)
class Route:
    """The declarations of one view; `access` is None if it declares none."""

    access: Access | None = None
    body: Body = Body.SMALL
    lane: Lane = Lane.OTHER
    is_rate_limited: bool = True


NOWHERE: Final = Route(access=Access.OPEN, is_rate_limited=False)
"""The route of requests that match none."""

_UNDECLARED: Final = Route(access=Access.CLOSED)


def declare(view: View, **declarations: Any) -> View:
    """Add declarations to a view."""
    setattr(view, _MARK, replace(getattr(view, _MARK, Route()), **declarations))
    return view


def takes(body: Body) -> Callable[[View], View]:
    """Declare what the body of a view's requests contains; the default is `SMALL`."""
    return lambda view: declare(view, body=body)


def handled_in(lane: Lane) -> Callable[[View], View]:
    """Declare which threads handle a view's requests."""
    return lambda view: declare(view, lane=lane)


def unlimited(view: View) -> View:
    """Declare that a view has no rate limit, for monitoring."""
    return declare(view, is_rate_limited=False)


class RouteTable:
    """The routes of an app, by endpoint, and by method and path."""

    def __init__(self, app: Flask) -> None:
        """Collect what an app's views declare.

        Raises:
            RuntimeError: a view doesn't declare who may call it.
        """
        rules = list(app.url_map.iter_rules())
        self._routes: dict[str, Route] = {
            rule.endpoint: getattr(app.view_functions[rule.endpoint], _MARK, Route()) for rule in rules
        }
        if missing := sorted(endpoint for endpoint, route in self._routes.items() if route.access is None):
            raise RuntimeError(
                f"Each view must declare who may call it, with @open_to_all or @needs_permission. Missing on: {missing}"
            )
        self._urls = app.url_map.bind("")
        # Most URLs are fixed, and looking one up is faster than matching it.
        fixed = [rule for rule in rules if not rule.arguments]
        self._by_path = {
            (method, rule.rule): self._routes[rule.endpoint] for rule in fixed for method in rule.methods or ()
        }

    def of(self, endpoint: str | None) -> Route:
        """Return the route of an endpoint; `NOWHERE` for None."""
        return NOWHERE if endpoint is None else self._routes.get(endpoint, _UNDECLARED)

    def find(self, method: str, path: str) -> Route:
        """Return the route for the method and path of a request line; `NOWHERE` if there is none."""
        path = unquote(path)
        if (route := self._by_path.get((method, path))) is not None:
            return route
        try:
            endpoint, _ = self._urls.match(path, method)
        except (HTTPException, ValueError):
            return NOWHERE
        return self._routes[str(endpoint)]


def seal(app: Flask) -> None:
    """Collect what an app's views declare, after all routes are registered.

    Raises:
        RuntimeError: a view doesn't declare who may call it.
    """
    app.extensions[_EXTENSION] = RouteTable(app)


def table_of(app: Any) -> RouteTable | None:
    """Return the routes of a WSGI application; None if it isn't a sealed app of catdog."""
    return app.extensions.get(_EXTENSION) if isinstance(app, Flask) else None


def route_of(received: Request) -> Route:
    """Return the route of a request."""
    return cast(RouteTable, current_app.extensions[_EXTENSION]).of(received.endpoint)
