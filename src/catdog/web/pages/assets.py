"""The page's own files, under an address that changes with their contents, so that a browser asks for them once.

`/static/<digest>/js/main.js`: the digest is of all the files together. A module imports another by a relative address,
which stays under the same digest; an import map would need a script in the page, which its policy forbids.
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
"""For an address of other contents than there are: of a page from before, or from a server that is newer."""

DIGEST_LENGTH: Final = 12


def install(app: Flask) -> None:
    """Give an app the route of its files, and its templates the function `asset`."""
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
    """Name the contents of a folder: other names or bytes in it give another digest."""
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        contents = path.read_bytes()
        found.update(f"{path.relative_to(folder).as_posix()}\0{len(contents)}\0".encode())
        found.update(contents)
    return found.hexdigest()[:DIGEST_LENGTH]
