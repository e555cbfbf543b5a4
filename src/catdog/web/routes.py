"""What a view declares about its route: who may call it, how large its body may be, which threads answer it, how often.

@api.post("/predict")
@open_to_all
@takes(Body.IMAGES)
@answered_in(Lane.PREDICTING)
def predict(): ...

A `RouteTable` collects the declarations from the URL map. The application reads it by endpoint, the event loop by
method and path, before there is a request.
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
    """Who may call a route, by whichever of its methods."""

    OPEN = "open"
    """Everybody. The route doesn't look at a key, and by POST it changes nothing but counts."""

    CLOSED = "closed"
    """Whoever has the key; without one, the server's own machine."""

    KEY = "key"
    """Everybody who brings the key in the request's body, where the route itself looks at it: signing in."""


class Body(Enum):
    """What the body of a request holds, which decides how large it may be."""

    SMALL = "small"
    """No image: a key, a form of the page, or nothing."""

    IDS = "ids"
    """The numbers of many images."""

    IMAGES = "images"
    """Images to look at."""

    TENSORS = "tensors"
    """Images as a tensor: binary, or base64 in JSON."""

    UPLOAD = "upload"
    """Images to keep, of which there may be many."""


class Lane(Enum):
    """Which threads answer a request. A lane that is busy doesn't delay the others."""

    OTHER = "other"
    LIVENESS = "liveness"
    READINESS = "readiness"
    """It may wait for a database, which liveness never does."""

    PREDICTING = "predicting"
    LISTS = "lists"
    INFERENCE = "inference"
    """`PREDICTING` or `LISTS`: the body says how many images it has."""

    EXPLAINING = "explaining"
    UPLOADS = "uploads"
    PIPELINED = "pipelined"
    """No route's own: predictions and others that a client sent ahead of the previous response."""


@dataclass(frozen=True)
class Route:
    """The declarations of one view; `access` is None if it declares none."""

    access: Access | None = None
    body: Body = Body.SMALL
    lane: Lane = Lane.OTHER
    is_rate_limited: bool = True


NOWHERE: Final = Route(access=Access.OPEN, is_rate_limited=False)
"""A request that matches no route: it finds nothing."""

_UNDECLARED: Final = Route(access=Access.CLOSED)


def declare(view: View, **declarations: Any) -> View:
    """Add declarations to a view."""
    setattr(view, _MARK, replace(getattr(view, _MARK, Route()), **declarations))
    return view


def takes(body: Body) -> Callable[[View], View]:
    """Declare what the body of a view's requests holds; a view that doesn't say so takes a small one."""
    return lambda view: declare(view, body=body)


def answered_in(lane: Lane) -> Callable[[View], View]:
    """Declare which threads answer a view's requests."""
    return lambda view: declare(view, lane=lane)


def unlimited(view: View) -> View:
    """Declare that a view may be called any number of times: what watches the server must get an answer."""
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
        # Most addresses are fixed, and looking one up costs less than matching it.
        fixed = [rule for rule in rules if not rule.arguments]
        self._by_path = {
            (method, rule.rule): self._routes[rule.endpoint] for rule in fixed for method in rule.methods or ()
        }

    def of(self, endpoint: str | None) -> Route:
        """Return the route of an endpoint; `NOWHERE` for None."""
        return NOWHERE if endpoint is None else self._routes.get(endpoint, _UNDECLARED)

    def find(self, method: str, path: str) -> Route:
        """Return the route for a method and a path as they stand in the request line; `NOWHERE` if there is none."""
        path = unquote(path)
        if (route := self._by_path.get((method, path))) is not None:
            return route
        try:
            endpoint, _ = self._urls.match(path, method)
        except (HTTPException, ValueError):
            return NOWHERE
        return self._routes[str(endpoint)]


def seal(app: Flask) -> None:
    """Collect what an app's views declare; called once all routes are registered.

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
