"""The page's own files: addresses that change with their contents."""

import re
from pathlib import Path

from flask.testing import FlaskClient

from catdog.web.pages.assets import digest


def test_files_are_cached_for_good_under_their_digest(trained_client: FlaskClient) -> None:
    page = trained_client.get("/").text
    addresses = set(re.findall(r'"(/static/[^"]+)"', page))
    assert {address.rpartition(".")[2] for address in addresses} == {"css", "js", "svg"}
    for address in addresses:
        response = trained_client.get(address)
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        old = trained_client.get(re.sub("/static/[^/]+/", "/static/before/", address))
        assert old.data == response.data
        assert old.headers["Cache-Control"] == "no-cache"


def test_nothing_else_is_given_out(trained_client: FlaskClient) -> None:
    for path in ("/static/x/../access.py", "/static/x/..%2faccess.py", "/static/x/", "/static/x", "/static/x/js"):
        assert trained_client.get(path).status_code == 404


def test_the_digest_covers_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "js").mkdir()
    (tmp_path / "js" / "a.js").write_text("1")
    found = {digest(tmp_path)}
    (tmp_path / "js" / "a.js").write_text("2")
    found.add(digest(tmp_path))
    (tmp_path / "js" / "a.js").rename(tmp_path / "js" / "b.js")
    found.add(digest(tmp_path))
    assert len(found) == 3
