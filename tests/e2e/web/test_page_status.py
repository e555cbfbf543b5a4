"""The tab "Model status", used as a person would."""

import io
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browsing import OpenPage, serious_violations, serving
from drawing import draw, encode
from playwright.sync_api import expect
from waiting import wait_until_counted

from catdog.registry.store import ModelStore
from catdog.settings import Settings, load_settings
from catdog.storage.files import write_json

pytestmark = pytest.mark.browser


nothing_counted = shutil.ignore_patterns("catdog.db*")
"""Other tests may have asked the bundled model, too."""


@pytest.fixture
def two_versions(
    bundled: Settings, tmp_path: Path, add_constant: Callable[[Settings, int], int]
) -> Iterator[tuple[str, Settings]]:
    """Address of a server with the bundled model and one that calls everything a dog, and its settings."""
    settings = load_settings(
        home=shutil.copytree(bundled.home, tmp_path / "home", ignore=nothing_counted), tracking=False
    )
    add_constant(settings, 1)
    with serving(settings) as address:
        yield address, settings


def test_promote_undo_compare_and_roll_back(open_page: OpenPage, two_versions: tuple[str, Settings]) -> None:
    address, settings = two_versions
    page = open_page("/?tab=status", address=address, expected={409})
    expect(page.get_by_role("button", name="Roll back")).to_have_count(0)  # there is nothing to go back to
    page.get_by_role("link", name="Compare version 2").click()
    comparison = page.get_by_role("region", name="Version 2 compared with version 1")
    expect(comparison.get_by_role("row").filter(has_text="accuracy").first).to_contain_text("+0.0000")
    page.get_by_role("button", name="Promote version 2").click()
    expect(page.get_by_text("Version 2 is now in use.")).to_be_visible()
    expect(page.locator("#version-in-use")).to_have_text("Model v2 in use")
    assert ModelStore(settings.models_dir).champion() == 2
    audit = page.get_by_role("region", name="Version history").get_by_role("row")
    expect(audit.nth(1)).to_contain_text("promoted by hand")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Version 1 is in use again.")).to_be_visible()
    assert ModelStore(settings.models_dir).champion() == 1
    page.get_by_role("button", name="Roll back to version 2").click()
    expect(page.locator("#version-in-use")).to_have_text("Model v2 in use")
    assert serious_violations(page) == []


def test_download(open_page: OpenPage, two_versions: tuple[str, Settings], tmp_path: Path) -> None:
    address, settings = two_versions
    page = open_page("/?tab=status", address=address)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download version 2").click()
    assert download.value.suggested_filename == "catdog-version-2.zip"
    elsewhere = tmp_path / "elsewhere"
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        archive.extractall(elsewhere)
    store = ModelStore(elsewhere)
    store.promote(2, "taken over")  # checks every file
    assert store.get().metadata["metrics"] == ModelStore(settings.models_dir).get(2).metadata["metrics"]


def test_prediction_counts(open_page: OpenPage, two_versions: tuple[str, Settings]) -> None:
    page = open_page("/?tab=status", address=two_versions[0])
    expect(page.get_by_text("No predictions yet.")).to_be_visible()
    picture = {"image": {"name": "cat.jpg", "mimeType": "image/jpeg", "buffer": encode(draw("cat", 1))}}
    for _ in range(3):
        assert page.request.post("/api/predict", multipart=picture).ok
    tile = page.locator(".tile", has_text="Predictions")
    page.get_by_role("tab", name="Predict").click()
    wait_until_counted(two_versions[1], 3)
    page.get_by_role("tab", name="Model status").click()
    expect(tile).to_contain_text("3")
    expect(page.get_by_role("row").filter(has_text="Last 24 hours")).to_contain_text("3")
    page.locator("figure", has_text="By verdict").get_by_text("View as table").click()
    expect(
        page.get_by_role("group", name="Predictions per hour, by verdict").get_by_role("row").nth(1)
    ).to_contain_text("3")
    assert page.locator("figure", has_text="By verdict").locator("svg rect.verdict-neither").first.is_visible()
    accuracy = page.get_by_role("region", name="Quality of version 1").get_by_role("row").filter(has_text="accuracy")
    expect(accuracy.first).to_contain_text("98.67 to 99.72 %")  # as docs/model_card.md has it
    assert not page.locator("#live-versions time").first.inner_text().endswith("UTC"), "in the reader's own zone"


def test_a_champion_that_cannot_be_loaded(open_page: OpenPage, two_versions: tuple[str, Settings]) -> None:
    address, settings = two_versions
    page = open_page("/?tab=status", address=address, width=360)
    history = [{"version": 9, "at": "2026-01-01T00:00:00+00:00", "reason": "by another program"}]
    write_json(settings.models_dir / "champion.json", {"version": 9, "history": history})
    while page.request.get("/api/model/status").json()["refused"] is None:
        page.wait_for_timeout(50)
    page.get_by_role("tab", name="Predict").click()
    page.get_by_role("tab", name="Model status").click()
    notice = page.get_by_role("status").filter(has_text="Model v9 couldn't be loaded")
    expect(notice).to_contain_text("Model v1 stays in use.")
    expect(notice).not_to_contain_text(str(settings.home))
    assert page.evaluate("document.documentElement.scrollWidth") == 360
