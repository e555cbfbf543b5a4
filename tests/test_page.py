"""The page as a whole: its tabs, its files, what it weighs, who may read it."""

import pytest
from browsing import OpenPage
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_tabs_by_keyboard(open_page: OpenPage) -> None:
    page = open_page("/")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
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
