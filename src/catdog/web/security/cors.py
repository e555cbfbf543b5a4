"""Which other sites' pages may read the API's responses (CORS); none by default."""

from typing import Final

from flask import Flask
from flask_cors import CORS

from catdog.settings import Settings

PATHS: Final = (r"/api/.*", r"/v2/.*")
HOUR: Final = 3600


def install(app: Flask, settings: Settings) -> None:
    """Allow the sites in `CATDOG_CORS_ORIGINS`, never with cookies; they send the key if one is needed."""
    if settings.cors_origins is None:
        return
    CORS(
        app,
        resources={path: {"origins": settings.cors_origins.split(",")} for path in PATHS},
        methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
        allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
        expose_headers=["Retry-After", "X-Request-ID"],
        supports_credentials=False,
        send_wildcard=True,  # `*` is returned as such, not as the requesting site
        max_age=HOUR,
    )
