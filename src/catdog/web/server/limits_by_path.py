"""Limits on bodies for the event loop, which reads them before the application gets the request."""

from typing import Any, Final

from catdog.settings import Settings
from catdog.web.requests.limits import limit_of
from catdog.web.routes import Body, table_of
from catdog.web.server.buffers import BODIES_ON_DISK, MEMORY_BYTES, Budget

LEAST_BYTES: Final = 64 * 2**10
"""Bodies up to this size are read without looking up the route."""

ELSEWHERE_BYTES: Final = 32 * 2**20
"""Limit for an application that isn't catdog's."""


class LimitByPath:
    """The limits of an application's routes, by the method and path of a request line."""

    def __init__(self, app: Any) -> None:
        self._routes = table_of(app)
        self._settings: Settings | None = app.extensions["catdog"].settings if self._routes else None

    def __call__(self, method: str, path: str) -> int:
        """Return the maximum bytes in the body of a request."""
        if self._routes is None or self._settings is None:
            return ELSEWHERE_BYTES
        return limit_of(self._routes.find(method, path).body, self._settings).bytes

    def budget(self) -> Budget:
        """Return the memory and disk space that all bodies and responses of a process share."""
        if self._settings is None:
            return Budget(MEMORY_BYTES, BODIES_ON_DISK * ELSEWHERE_BYTES)
        largest = max(limit_of(body, self._settings).bytes for body in Body)
        return Budget(MEMORY_BYTES, BODIES_ON_DISK * largest, self._settings.retrain_dir)
