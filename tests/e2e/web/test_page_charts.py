"""The tab of the charts as a person uses it: drawn, read, saved, by keyboard, in the dark, on a telephone."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from browsing import OpenPage, serious_violations, serving
from drawing import draw, encode
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from waiting import wait_until_counted

from catdog.settings import Settings, load_settings

pytestmark = pytest.mark.browser

TAB = "/?tab=visualizations"
PATIENCE_MS = 60_000
"""Two cores may be shared by many tests."""


@pytest.fixture(scope="module")
def address(trained: Settings, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server with a version of drawn cats and dogs listens, whose test pictures lie under data/."""
    home = Path(shutil.copytree(trained.home, tmp_path_factory.mktemp("charts") / "home"))
    shutil.copytree(drawn / "test", home / "data" / "test")
    with serving(load_settings(home=home, tracking=False)) as found:
        yield found


def charts_of(page: Page) -> Locator:
    """Wait until the charts are drawn."""
    charts = page.locator(".chart svg")
    expect(charts).to_have_count(page.locator(".chart").count(), timeout=PATIENCE_MS)
    return charts


def test_charts_are_drawn_and_have_tables(open_page: OpenPage, address: str) -> None:
    page = open_page(TAB, address=address)
    charts = charts_of(page)
    assert charts.count() >= 10
    for i in range(charts.count()):
        assert charts.nth(i).locator("path").count() > 3
    card = page.locator('[data-chart="roc"]')
    expect(card.get_by_role("img", name="Chart: ROC curve")).to_be_visible()
    card.get_by_text("View as table").click()
    expect(card.get_by_role("table")).to_be_visible()
    expect(card.get_by_role("columnheader", name="True positive rate")).to_be_visible()
    empty = page.locator('[data-chart="activity"]')
    expect(empty).to_contain_text("No predictions in the last")
    expect(empty.locator(".chart")).to_have_count(0)


def test_a_chart_is_saved_as_svg_png_and_csv(open_page: OpenPage, address: str, tmp_path: Path) -> None:
    page = open_page(TAB, address=address, dark=True)
    charts_of(page)
    for kind in ("SVG", "PNG", "CSV"):
        for title, name in (("ROC curve", "roc"), ("Confusion matrix", "confusion")):
            with page.expect_download() as download:
                page.get_by_label(f"Download {title} as {kind}").click()
            assert download.value.suggested_filename == f"catdog-{name}.{kind.lower()}"
            download.value.save_as(tmp_path / f"{name}.{kind.lower()}")
    drawing = ElementTree.parse(tmp_path / "roc.svg").getroot()
    assert drawing.tag.endswith("svg")
    assert "ROC curve" in "".join(drawing.itertext())
    picture = Image.open(tmp_path / "confusion.png")
    assert picture.width > 640
    corner = picture.convert("RGB").getpixel((1, 1))
    assert corner == (255, 255, 255)  # on paper, whatever the page looks like
    assert (tmp_path / "confusion.csv").read_text().startswith("True class,Predicted,Images")


def test_a_cell_opens_its_images(open_page: OpenPage, address: str) -> None:
    page = open_page(TAB, address=address)
    cell = page.get_by_role("link", name="of Cat, predicted Cat")
    cell.focus()
    page.keyboard.press("Enter")
    section = page.locator("#pictures")
    expect(section.get_by_role("heading", name="Cat, predicted Cat")).to_be_visible()
    expect(section).to_be_focused()
    picture = section.get_by_role("img").first
    picture.scroll_into_view_if_needed()
    expect(picture).to_have_js_property("complete", True)
    assert picture.evaluate("image => image.naturalWidth") > 0
    assert "answered=cat" in page.url
    section.get_by_role("link", name="All mistakes").click()
    expect(section.get_by_role("heading", name="Most confident mistakes")).to_be_visible()


def test_new_predictions_are_shown_on_return(open_page: OpenPage, home: Settings) -> None:
    with serving(home) as address:
        look_predict_look(open_page(TAB, address=address), address, home)


def look_predict_look(page: Page, address: str, home: Settings) -> None:
    charts_of(page)
    expect(page.locator("[data-chart=activity]")).to_contain_text("No predictions in the last")
    page.get_by_role("tab", name="Predict").click()
    picture = {"name": "cat.jpg", "mimeType": "image/jpeg", "buffer": encode(draw("cat", 4032))}
    response = page.request.post(f"{address}/api/predict", multipart={"image": picture})
    assert response.ok
    wait_until_counted(home, 1)
    page.get_by_role("tab", name="Visualizations").click()
    expect(page.locator("[data-chart=activity] svg")).to_have_count(1, timeout=PATIENCE_MS)
    assert page.locator("[data-chart=activity] .mark-rect path").count() >= 1


def test_dark(open_page: OpenPage, address: str) -> None:
    light, dark = (open_page(TAB, address=address, dark=is_dark) for is_dark in (False, True))
    inks = []
    for page in (light, dark):
        charts_of(page)
        label = page.locator("[data-chart=roc] .role-axis-label text").first
        inks.append(label.evaluate("found => getComputedStyle(found).fill"))
    assert inks[0] != inks[1]
    light.emulate_media(color_scheme="dark")
    label = light.locator("[data-chart=roc] .role-axis-label text").first
    expect(label).to_have_css("fill", inks[1])


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious(open_page: OpenPage, address: str, dark: bool) -> None:
    page = open_page(f"{TAB}&true=cats&answered=cats", address=address, dark=dark, width=360)
    charts_of(page)
    for summary in page.get_by_text("View as table").all()[:3]:
        summary.click()
    assert serious_violations(page) == []


def test_on_a_phone(open_page: OpenPage, address: str) -> None:
    page = open_page(TAB, address=address, width=360)
    charts = charts_of(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for i in range(charts.count()):
        box = charts.nth(i).bounding_box()
        assert box is not None
        assert 200 < box["width"] <= 360


def test_without_javascript(open_page: OpenPage, address: str) -> None:
    page = open_page(TAB, address=address, javascript=False)
    expect(page.get_by_role("heading", name="Key findings")).to_be_visible()
    expect(page.get_by_text("on 20 test images; expect")).to_be_visible()
    expect(page.get_by_role("button", name="as SVG")).to_have_count(0)
    card = page.locator('[data-chart="metrics"]')
    card.get_by_text("View as table").click()
    expect(card.get_by_role("cell", name="Accuracy")).to_be_visible()
    page.get_by_role("link", name="of Cat, predicted Cat").click()
    expect(page.get_by_role("heading", name="Cat, predicted Cat")).to_be_visible()
    assert page.locator("#pictures img").count() > 0


def test_a_script_that_fails_to_load_is_reported_and_tables_stay(open_page: OpenPage, address: str) -> None:
    page = open_page("/?tab=status", address=address, expected={500})
    page.route("**/assets/vega.js*", lambda route: route.fulfill(status=500))
    page.get_by_role("tab", name="Visualizations").click()
    expect(page.get_by_role("alert")).to_contain_text("couldn't be loaded")
    expect(page.locator(".chart:visible")).to_have_count(0)
    expect(page.locator('[data-chart="roc"]').get_by_text("View as table")).to_be_visible()
