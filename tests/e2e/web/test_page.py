"""The page as a whole: its tabs, its files, what it weighs, who may read it."""

from collections.abc import Iterator
from typing import Any

import pytest
from browsing import OpenPage, overflow, serious_violations, serving
from playwright.sync_api import Page, expect

from catdog.settings import Settings, load_settings

pytestmark = pytest.mark.browser
KEY = "a key of sixteen and more characters"


def test_tabs_by_keyboard(open_page: OpenPage) -> None:
    page = open_page("/")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to content")).to_be_focused()
    page.get_by_role("tab", name="Predict").focus()
    for key, title in (
        ("ArrowRight", "Visualizations"), ("End", "Model status"), ("ArrowRight", "Predict"),
        ("ArrowLeft", "Model status"), ("ArrowLeft", "Retrain"), ("Home", "Predict"),
    ):  # fmt: skip
        page.keyboard.press(key)
        tab = page.get_by_role("tab", name=title)
        expect(tab).to_be_focused()
        expect(tab).to_have_attribute("aria-selected", "true")
        expect(page.get_by_role("tabpanel")).to_have_count(1)
        expect(page.get_by_role("tabpanel", name=title)).to_be_visible()
        expect(page).to_have_title(f"{title} · catdog")


def test_the_tab_is_in_the_address(open_page: OpenPage) -> None:
    page = open_page("/?tab=status")
    expect(page.get_by_role("tab", name="Model status")).to_have_attribute("aria-selected", "true")
    page.get_by_role("tab", name="Predict").click()
    expect(page).to_have_url(f"{page.watch.address}/?tab=predict")  # type: ignore[attr-defined]
    page.go_back()
    expect(page.get_by_role("heading", name="Versions", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Versions", exact=True)).to_be_visible()


def test_the_page_is_small_and_cached(open_page: OpenPage) -> None:
    page = open_page("about:blank")
    asked = asked_of_the_server(page)
    sizes: dict[str, int] = {}
    page.on("response", lambda response: sizes.update({response.url: len(response.body())}))
    page.goto("/")
    page.wait_for_load_state("networkidle")
    assert len(asked) == len(sizes) > 10
    assert sum(sizes.values()) < 100_000
    asked.clear()
    page.goto("/")
    page.wait_for_load_state("networkidle")
    assert asked == [f"{page.watch.address}/"], "the page alone"  # type: ignore[attr-defined]


def asked_of_the_server(page: Page) -> list[str]:
    """Give a list to which each address is added that the page gets from the server, not from the browser's cache.

    The browser says so itself: the server's log also has what pages of other tests asked for and nobody waits for.
    """
    session = page.context.new_cdp_session(page)
    kept: set[str] = set()  # requests that the cache in memory answers; the one on the disk says so in the answer
    asked: list[str] = []

    def hear(event: dict[str, Any]) -> None:
        if event["requestId"] not in kept and not event["response"]["fromDiskCache"]:
            asked.append(event["response"]["url"])

    session.on("Network.requestServedFromCache", lambda event: kept.add(event["requestId"]))
    session.on("Network.responseReceived", hear)
    session.send("Network.enable")
    return asked


@pytest.fixture
def keyed(bundled: Settings) -> Iterator[str]:
    """Address of a server that has a key."""
    with serving(load_settings(home=bundled.home, api_key=KEY, tracking=False)) as address:
        yield address


def test_signing_in_and_out(open_page: OpenPage, keyed: str) -> None:
    page = open_page("/?tab=status", address=keyed, expected={401})
    expect(page.get_by_role("link", name="Download version 1")).to_have_count(0)
    page.locator("summary", has_text="Sign in").click()
    page.get_by_label("API key").fill("another one")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Invalid API key.")
    page.get_by_label("API key").fill(KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Signed in. You can now make changes")).to_be_visible()
    expect(page.get_by_role("link", name="Download version 1")).to_be_visible()
    page.locator("summary", has_text="Signed in").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("summary", has_text="Sign in")).to_be_visible()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("tab", ["predict", "visualizations", "retrain", "status"])
def test_axe_finds_nothing_serious(open_page: OpenPage, tab: str, dark: bool) -> None:
    page = open_page(f"/?tab={tab}", dark=dark, width=360)
    page.wait_for_load_state("networkidle")
    assert serious_violations(page) == []
    assert overflow(page) == 0


def test_the_description_of_the_api(open_page: OpenPage) -> None:
    page = open_page("/api/docs", width=360)
    expect(page.get_by_role("heading", name="POST /api/predict", exact=True)).to_be_visible()
    assert serious_violations(page) == []
    assert overflow(page) == 0
