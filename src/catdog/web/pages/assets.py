"""The page's static files, under URLs that change with their contents, so browsers can cache them for good.

In `/static/<digest>/js/main.js` the digest is that of all files together. Modules import each other by relative URLs,
which keep the digest. An import map would need an inline script, which the page's policy forbids.
"""

import hashlib
from pathlib import Path
from typing import Final

from flask import Flask, Response, send_from_directory, url_for

from catdog.web.routes import unlimited
from catdog.web.security.permissions import open_to_all

FOLDER: Final = Path(__file__).parents[1] / "static"
FOREVER: Final = "public, max-age=31536000, immutable"
BRIEFLY: Final = "no-cache"
"""For URLs with another digest: from an older page, or of a newer server."""

DIGEST_LENGTH: Final = 12


def install(app: Flask) -> None:
    """Add the route of the files, and the template function `asset`."""
    current = digest()

    @open_to_all
    @unlimited
    def send(digest: str, filename: str) -> Response:
        response = send_from_directory(FOLDER, filename)
        response.headers["Cache-Control"] = FOREVER if digest == current else BRIEFLY
        return response

    def asset(filename: str) -> str:
        return url_for("static", digest=current, filename=filename)

    app.add_url_rule("/static/<digest>/<path:filename>", "static", send)
    app.jinja_env.globals["asset"] = asset


def digest(folder: Path = FOLDER) -> str:
    """Return the digest of a folder's file names and contents."""
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        contents = path.read_bytes()
        found.update(f"{path.relative_to(folder).as_posix()}\0{len(contents)}\0".encode())
        found.update(contents)
    return found.hexdigest()[:DIGEST_LENGTH]
