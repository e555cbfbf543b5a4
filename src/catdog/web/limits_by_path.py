"""How large a body may be, for the event loop that reads it before the application has seen the request."""

from typing import Any, Final
from urllib.parse import unquote

from flask import Flask

from catdog.web.body_limits import UPLOAD_ENDPOINTS, BodyLimits, limit_of
from catdog.web.buffers import BODIES_ON_DISK, MEMORY_BYTES, Budget

LEAST_BYTES: Final = 64 * 2**10
"""A body up to this size is read without asking which route it is for."""

ELSEWHERE_BYTES: Final = 32 * 2**20
"""Limit for an application that is not catdog's."""


class LimitByPath:
    """The limits of an application's routes, by method and path as they stand in the request line."""

    def __init__(self, app: Any) -> None:
        extensions = app.extensions if isinstance(app, Flask) else {}
        self._limits: BodyLimits | None = extensions.get("catdog_body_limits")
        self._settings = extensions["catdog"].settings if self._limits else None

    def __call__(self, method: str, path: str) -> int:
        """Return the most bytes that the body of a request may have."""
        return self._limits.limit_for(method, unquote(path)) if self._limits else ELSEWHERE_BYTES

    def budget(self) -> Budget:
        """Make what all bodies and answers of a process share."""
        if self._settings is None:
            return Budget(MEMORY_BYTES, BODIES_ON_DISK * ELSEWHERE_BYTES)
        largest = max(limit_of(endpoint, self._settings).bytes for endpoint in (None, *UPLOAD_ENDPOINTS))
        return Budget(MEMORY_BYTES, BODIES_ON_DISK * largest, self._settings.retrain_dir)
