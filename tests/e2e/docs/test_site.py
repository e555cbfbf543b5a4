"""The documentation as a site: no warning while it is built, nothing from elsewhere, what is made is current."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import yaml
from browsing import TIMEOUT_MS
from drawing import draw, encode
from flask.testing import FlaskClient
from mkdocs.config import load_config
from typer.main import get_command

from catdog.cli.app import app

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[3]
sys.path.append(str(ROOT / "docs"))

import api_reference  # noqa: E402
import site_hooks  # noqa: E402

COMMANDS = get_command(app).commands  # type: ignore[attr-defined]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text under each element with an id."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.sections: dict[str, str] = {}
        self._section = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.found.append((tag, attributes))
        if tag in ("h1", "h2", "h3", "h4") and "id" in attributes:
            self._section = attributes["id"]

    def handle_data(self, data: str) -> None:
        self.sections[self._section] = self.sections.get(self._section, "") + data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder


def pages_of(site: Path) -> dict[str, Elements]:
    return {path.stem: Elements(path.read_text(encoding="utf-8")) for path in site.glob("*.html")}


def test_every_page_is_in_the_navigation_and_built(site: Path) -> None:
    def names(entries: list[Any]) -> Iterator[str]:
        for entry in entries:
            values = entry.values() if isinstance(entry, dict) else [entry]
            for value in values:
                yield from names(value) if isinstance(value, list) else [value]

    listed = list(names(load_config(str(ROOT / "mkdocs.yml"))["nav"]))
    there = {path.name for path in (ROOT / "docs").glob("*.md")} | set(site_hooks.ROOT_PAGES.values())
    assert sorted(listed) == sorted(there)
    assert {Path(name).stem for name in there} <= pages_of(site).keys()


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    for name, page in pages_of(site).items():
        for tag, attributes in page.found:
            loaded = [attributes[key] for key in ("src", "srcset", "data", "poster") if key in attributes]
            loaded += [attributes["href"]] if tag == "link" else []
            assert [address for address in loaded if urlsplit(address).netloc] == [], f"{name}: <{tag}>"
            assert "mermaid" not in attributes.get("class", ""), "its script would come from elsewhere"
    for path in site.rglob("*.css"):
        outside = re.findall(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')]+)", path.read_text(encoding="utf-8"))
        assert outside == [], path.name


@pytest.mark.browser
def test_a_browser_asks_this_host_alone_and_finds_what_it_searches(site: Path, browser: "Browser") -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    asked: list[str] = []
    errors: list[str] = []
    context = browser.new_context(base_url=address)
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    for path in ("/index.html", "/reference.html", "/architecture.html"):
        page.goto(path)
        page.wait_for_load_state("networkidle")
    found = page.locator(".md-search-result__item", has_text="A batch is quarantined").first
    for _ in range(20):  # what is typed before the index is loaded is not searched for
        page.get_by_role("textbox", name="Search").fill("")
        page.get_by_role("textbox", name="Search").press_sequentially("quarantined")
        page.wait_for_timeout(TIMEOUT_MS / 20)
        if found.is_visible():
            break
    assert found.is_visible()
    context.close()
    server.shutdown()
    server.server_close()
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert errors == []


def test_the_reference_tells_the_whole_openapi_document(site: Path, trained_client: FlaskClient) -> None:
    sections = pages_of(site)["reference"].sections
    document = trained_client.get("/api/openapi.json").get_json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            (told,) = (
                text for text in sections.values() if re.match(rf"{method.upper()} {re.escape(path)}(?=[¶\s])", text)
            )
            assert operation["summary"].replace("`", "") in told
            assert ("Needs the key" in told) == bool(operation.get("security"))
            for parameter in operation.get("parameters", []):
                assert parameter["name"] in told
            for status, response in operation["responses"].items():
                assert f"{status} " in told
                assert response["description"].replace("`", "") in told
            for kind in operation.get("requestBody", {}).get("content", {}):
                assert kind in told
    for name, schema in document["components"]["schemas"].items():
        told = sections[f"schema-{name.lower()}"]
        assert [field for field in fields(schema) if field not in told] == [], name


def test_the_reference_lists_every_command_with_its_options(site: Path) -> None:
    sections = pages_of(site)["reference"].sections
    listed = {name for name in sections if name.startswith("catdog-")}
    shown = {f"catdog-{name}" for name, command in COMMANDS.items() if not hasattr(command, "commands")}
    for group, command in COMMANDS.items():
        shown |= {f"catdog-{group}-{name}" for name in getattr(command, "commands", {})}
    assert listed == shown
    assert "--fine-tune" in sections["catdog-train"]


def fields(schema: Any) -> Iterator[str]:
    """Name the fields of a schema and of the objects in it."""
    for name, field in schema.get("properties", {}).items():
        yield name
        yield from fields(field)
        yield from fields(field.get("items", {}))


def test_what_a_schema_allows_is_said() -> None:
    document = {
        "paths": {},
        "components": {
            "schemas": {
                "Thing": {
                    "required": ["kind"],
                    "properties": {
                        "kind": {"enum": ["a", "b"], "description": "one | two"},
                        "sizes": {"type": "array", "minItems": 2, "items": {"type": "integer", "maximum": 9000}},
                        "inner": {"type": ["object", "null"], "properties": {"deep": {"$ref": "#/x/Thing"}}},
                    },
                }
            }
        },
    }
    text = api_reference.render(document)
    assert "| `kind` | `a` or `b` | one &#124; two |" in text
    assert "| `sizes` (optional) | array of integer, at most 9,000, at least 2 |  |" in text
    assert "| `inner.deep` (optional) | [Thing](#schema-thing) |  |" in text


def test_alerts_ask_for_metrics_that_are_there(trained_client: FlaskClient) -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", OPERATIONS, re.DOTALL | re.MULTILINE)
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    trained_client.post("/api/predict", data=encode(draw("cat", 1)), content_type="image/jpeg")
    shown = set(re.findall(r"^(\w+)", trained_client.get("/metrics").text, re.MULTILINE))
    # There once 50 pictures were answered, and once something was retrained.
    shown |= {"catdog_drift_warning", "catdog_retrain_total"}
    assert len({rule["alert"] for rule in rules}) == len(rules) > 5
    for rule in rules:
        assert set(re.findall(r"catdog_\w+", rule["expr"])) - shown == set(), rule["alert"]
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert rule["annotations"]["summary"]
