"""Fixtures for tests that use the page as a person does: a real Chromium against a real server.

Without Chromium (`CATDOG_CHROMIUM` names one; else it is looked for) these tests skip and say so. Every page that a
test opens is watched: an error in its console, something that its policy forbids, or a request to another host fails
the test, whatever it is about.
"""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from werkzeug.serving import make_server

from catdog.settings import Settings, load_settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Response

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--use-fake-device-for-media-stream"]
"""As root, in a container with little shared memory; the camera shows a test picture."""

TIMEOUT_MS = 15_000


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """One Chromium for the tests of a file: while it is there, this thread has a running event loop."""
    named = os.environ.get("CATDOG_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if named is None:
        pytest.skip("no Chromium: install Debian's `chromium`, or name one in CATDOG_CHROMIUM")
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
    playwright.expect.set_options(timeout=TIMEOUT_MS)  # for what becomes true; what never does fails just the same
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=named, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """Serve an application on a free port until the block ends; gives its address, without a slash at the end."""
    from catdog.web.app import create_app

    app = create_app(settings)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(timeout=10)
        app.extensions["catdog"].stop()


@pytest.fixture(scope="session")
def site(bundled: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server with the bundled model, for many tests; what one of them sends, another may find."""
    home = Path(shutil.copytree(bundled.home, tmp_path_factory.mktemp("site") / "home"))
    with serving(load_settings(home=home, tracking=False)) as address:
        yield address


@dataclass
class Watch:
    """What went wrong on a page, and the statuses of errors that the test is about, which are none."""

    address: str
    expected: set[int] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def follow(self, page: "Page") -> None:
        """Note what a page does from now on."""
        page.on("pageerror", lambda error: self.wrong.append(f"uncaught: {error}"))
        page.on("console", lambda said: self._hear(said.type, said.text))
        page.on("request", lambda request: self._see(request.url))
        page.on("response", self._answer)

    def _hear(self, kind: str, text: str) -> None:
        # The browser itself reports each answer of 400 and over, which `_answer` judges.
        if kind == "error" and not text.startswith("Failed to load resource"):
            self.wrong.append(f"console: {text}")

    def _see(self, url: str) -> None:
        self.requests.append(url)
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and f"{parts.scheme}://{parts.netloc}" != self.address:
            self.wrong.append(f"another host: {url}")

    def _answer(self, response: "Response") -> None:
        if response.status >= 400 and response.status not in self.expected:
            self.wrong.append(f"{response.status}: {response.url}")


OpenPage = Callable[..., "Page"]


@pytest.fixture
def open_page(browser: "Browser", request: pytest.FixtureRequest) -> Iterator[OpenPage]:
    """Give a function that opens a page as a new reader would: `open_page("/?tab=status", dark=True, width=360)`.

    Its arguments: `address` of the server (that of `site` where not given), `dark`, `width` in pixels, `javascript`,
    `before`, a script that runs before those of the page, `expected` statuses of errors, and whatever else Playwright's
    `new_context` takes. Each page has its `Watch` as `page.watch`.
    """
    contexts, watches = [], []

    def opened(path: str = "/", **options: object) -> "Page":
        address = str(options.pop("address", None) or request.getfixturevalue("site"))
        watch = Watch(address, set(options.pop("expected", ())))  # type: ignore[call-overload]
        width, before = options.pop("width", 1280), options.pop("before", None)
        context = browser.new_context(
            base_url=address,
            color_scheme="dark" if options.pop("dark", False) else "light",
            viewport={"width": width, "height": 800},
            java_script_enabled=options.pop("javascript", True),
            **options,
        )
        context.set_default_timeout(TIMEOUT_MS)
        contexts.append(context)
        watches.append(watch)
        if before:
            context.add_init_script(str(before))
        page = context.new_page()
        page.watch = watch  # type: ignore[attr-defined]
        watch.follow(page)
        page.goto(path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [wrong for watch in watches for wrong in watch.wrong] == []


def overflow(page: "Page") -> int:
    """Give by how many pixels a page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def serious_violations(page: "Page") -> list[str]:
    """List what axe-core finds serious or critical on a page, with the places."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="no axe: pip install axe-playwright-python"
    )
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {[node['target'] for node in violation['nodes']]}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ]
