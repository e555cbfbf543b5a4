"""The tab "retrain" as a person uses it: pictures in, a look at them, a retraining, a decision."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browsing import OpenPage, overflow, serious_violations, serving
from drawing import draw, encode, write_pictures
from playwright.sync_api import Page, Route, expect

from catdog.errors import DatabaseBusyError
from catdog.registry.store import ModelStore
from catdog.retraining.uploads.review import review
from catdog.retraining.uploads.uploads import Uploads
from catdog.settings import Settings, load_settings
from catdog.storage.database import open_database

pytestmark = pytest.mark.browser

KEY = "k" * 16
LONG = "a rather long name of a picture " * 6


@pytest.fixture
def address(home: Settings) -> Iterator[str]:
    """Address of a server with one small model and no pictures for retraining."""
    with serving(home) as address:
        yield address


@pytest.fixture
def retrain(open_page: OpenPage, address: str) -> Callable[..., Page]:
    """Give a function that opens the tab."""
    return lambda **options: open_page("/?tab=retrain", address=address, **options)


@pytest.fixture
def cats(tmp_path: Path) -> list[Path]:
    return write_pictures(tmp_path / "sent" / "cats", "cat", 6, first=7000)


def add(page: Page, category: str, *files: Path) -> None:
    """Choose a class, then files."""
    page.get_by_role("radio", name=category).check()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose images or a zip").click()
    chooser.value.set_files(files)


def summary(page: Page) -> Any:
    return page.locator(".retrain-sending .retrain-heading")


def pictures(page: Page) -> Any:
    return page.get_by_role("region", name="2. Review").locator(".retrain-image")


def counts(page: Page, folder: str) -> Any:
    """Give the cells of a class in the report: in use, waiting, removed."""
    row = page.get_by_role("region", name="3. Check for problems").get_by_role("row").filter(has_text=folder)
    return row.get_by_role("cell")


def undo(page: Page) -> None:
    page.locator(".toast").last.get_by_role("button", name="Undo").click()


def test_images_are_uploaded_and_managed(
    retrain: Callable[..., Page], cats: list[Path], tmp_path: Path, home: Settings
) -> None:
    page = retrain()
    expect(page.get_by_text("No images yet.")).to_be_visible()
    expect(page.get_by_text("Nothing to check yet")).to_be_visible()
    text = tmp_path / 'my\u202f"notes".jpg'  # a space that only looks like one, as in names of screenshots
    text.write_text("not a picture")
    long = tmp_path / f"{LONG}.jpg"
    long.write_bytes(encode(draw("cat", 7100)))
    add(page, "Cat", *cats, text, long)
    expect(summary(page)).to_have_text("7 images added to Cat, 1 rejected.")
    expect(page.get_by_role("list", name="Rejected files")).to_contain_text("The file is not a JPEG")
    expect(page.locator(".retrain-sent-files li").filter(has_text="notes")).to_contain_text("rejected")
    expect(pictures(page)).to_have_count(7)
    expect(counts(page, "Cat")).to_have_text(["7", "0", "0"])

    archive = tmp_path / "dogs.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for number in range(3):
            zipped.writestr(f"kennel/{number}.jpg", encode(draw("dog", 7000 + number)))
        zipped.writestr("kennel/notes", "no picture either")
        zipped.write(cats[0], "kennel/no dog.jpg")
    add(page, "Dog", archive)
    expect(summary(page)).to_have_text("3 images added to Dog, 2 rejected.")
    expect(page.get_by_role("list", name="Rejected files")).to_contain_text("already stored under cats")
    add(page, "Cat", *cats)
    expect(summary(page)).to_have_text("0 images added to Cat, 6 already there.")

    page.get_by_role("button", name="Move to Dog: cat.7000.jpg").click()
    expect(counts(page, "Dog")).to_have_text(["4", "0", "0"])
    undo(page)
    expect(counts(page, "Dog")).to_have_text(["3", "0", "0"])
    page.get_by_role("button", name="Remove cat.7001.jpg").click()
    expect(counts(page, "Cat")).to_have_text(["6", "0", "1"])
    expect(page.get_by_role("button", name="Restore cat.7001.jpg")).to_be_visible()
    undo(page)
    expect(counts(page, "Cat")).to_have_text(["7", "0", "0"])

    for name in ("cat.7002.jpg", "cat.7003.jpg"):
        page.get_by_role("checkbox", name=f"Choose {name}").check()
    chosen = page.get_by_role("group", name="Selected images")
    expect(chosen).to_contain_text("2 selected")
    chosen.get_by_role("button", name="Remove").click()
    expect(chosen).to_be_hidden()
    page.get_by_label("Show", exact=True).select_option(label="Removed")
    expect(pictures(page)).to_have_count(2)
    page.get_by_role("button", name="Restore cat.7002.jpg").click()
    expect(pictures(page)).to_have_count(1)
    page.get_by_label("Show", exact=True).select_option(label="All")
    page.get_by_role("button", name="Show the batch of dogs.zip/kennel/0.jpg").click()
    expect(pictures(page)).to_have_count(3)
    page.get_by_role("button", name="Remove batch").click()
    expect(counts(page, "Dog")).to_have_text(["0", "0", "3"])
    undo(page)
    expect(counts(page, "Dog")).to_have_text(["3", "0", "0"])
    page.get_by_role("button", name="Show all").click()
    expect(pictures(page)).to_have_count(10)
    assert len(list((home.retrain_dir / "cats").glob("*.jpg"))) == 6


def test_a_dropped_folder_is_sent_once_its_class_is_chosen(
    retrain: Callable[..., Page], cats: list[Path], home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Uploads, "add", busy_once(Uploads.add))
    (cats[0].parent / ".DS_Store").write_text("hidden")
    (cats[0].parent / "inner").mkdir()
    (cats[0].parent / "inner" / "cat.jpg").write_bytes(encode(draw("cat", 7200)))
    page = retrain(expected={503})
    drop(page, page.locator(".drop"), cats[0].parent)
    expect(page.locator(".retrain-ask")).to_contain_text("7 files")
    page.get_by_role("radio", name="Cat").check()
    # The first request was kept, but the answer said that it was not: it was sent again by itself.
    expect(summary(page)).to_contain_text("7 already there, 1 hidden skipped")
    expect(page.locator(".retrain-sent-files li")).to_have_count(7)
    expect(page.locator(".retrain-sent-files li").filter(has_text="cats/inner/cat.jpg")).to_contain_text("kept")
    assert len(list((home.retrain_dir / "cats").glob("*.jpg"))) == 7


def test_unsent_files_can_be_sent_again(retrain: Callable[..., Page], cats: list[Path]) -> None:
    page = retrain(expected={413})
    full = '{"error": "There is too much.", "request_id": "abc"}'
    refuse: Callable[[Route], None] = lambda route: route.fulfill(status=413, body=full)  # noqa: E731
    page.route("**/api/retrain/upload", refuse)
    add(page, "Cat", *cats)
    expect(summary(page)).to_have_text("0 images added to Cat, 6 not sent.")
    expect(page.get_by_text("There is too much. (Request abc)")).to_be_visible()
    page.unroute("**/api/retrain/upload", refuse)
    page.get_by_role("button", name="Retry 6 unsent").click()
    expect(summary(page)).to_have_text("6 images added to Cat.")
    undo(page)
    expect(counts(page, "Cat")).to_have_text(["0", "0", "6"])


def busy_once(add: Callable[..., Any]) -> Callable[..., Any]:
    """Let the first upload be kept, and fail all the same."""
    failed: list[bool] = []

    def add_or_fail(*arguments: Any) -> Any:
        added = add(*arguments)
        if not failed:
            failed.append(True)
            raise DatabaseBusyError("The database is busy.")
        return added

    return add_or_fail


def drop(page: Page, target: Any, path: Path) -> None:
    """Drop a folder of the disk, as a file manager does."""
    # The script shows its buttons and listens from then on; what is dropped before goes nowhere.
    expect(target.get_by_role("button").first).to_be_visible()
    box = target.bounding_box()
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        session.send("Input.dispatchDragEvent", {"type": kind, **at, "data": data})


@contextmanager
def working(home: Settings) -> Iterator[None]:
    """Run a worker of the home in a process of its own until the block ends."""
    environment = os.environ | {"CATDOG_HOME": str(home.home), "CATDOG_TRACKING": "false"}
    process = subprocess.Popen([sys.executable, "-m", "catdog", "worker"], env=environment)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_retraining_survives_closing_the_page_and_ends_with_a_decision(
    retrain: Callable[..., Page], home: Settings
) -> None:
    for animal in ("cat", "dog"):
        collect(home, animal, [draw(animal, 7300 + number) for number in range(8)])
    page = retrain()
    job = page.get_by_role("region", name="4. Retrain")
    expect(job).to_contain_text("No retraining yet.")
    job.get_by_label("Don't deploy automatically").check()
    job.get_by_role("button", name="Start retraining").click()
    expect(job.get_by_role("progressbar")).to_be_visible()
    page.reload()
    expect(job.get_by_role("progressbar")).to_be_visible()
    expect(job).to_contain_text("Waiting for the worker.")
    with working(home):
        expect(job.locator('[aria-current="step"]')).to_be_visible(timeout=60_000)
        outcome = job.get_by_role("article", name="Champion and challenger")
        expect(outcome).to_be_visible(timeout=60_000)
    expect(outcome).to_contain_text("Version 1 stays in use; version 2 was not deployed")
    expect(outcome).to_contain_text("as requested")
    expect(outcome.get_by_role("row", name="Accuracy").first).to_contain_text("95 % interval")
    expect(outcome.get_by_role("columnheader", name="Challenger version 2").first).to_be_visible()
    job.locator("summary", has_text="Log").click()
    expect(job.get_by_role("list", name="Log")).to_contain_text("promote done")
    assert serious_violations(page) == []
    outcome.get_by_role("button", name="Keep version 1").click()
    expect(outcome).to_contain_text("You kept version 1")
    undo(page)
    outcome.get_by_role("button", name="Deploy anyway").click()
    expect(outcome).to_contain_text("Version 2 in use")
    expect(page.locator("#version-in-use")).to_have_text("Model v2 in use")
    assert ModelStore(home.models_dir).champion() == 2
    assert page.request.get("/api/model/status").json()["version"] == 2
    undo(page)
    expect(outcome.get_by_role("button", name="Deploy anyway")).to_be_visible()
    assert ModelStore(home.models_dir).champion() == 1


def test_a_start_may_fail_and_a_job_be_cancelled_on_the_page(retrain: Callable[..., Page], cats: list[Path]) -> None:
    page = retrain(expected={409})
    job = page.get_by_role("region", name="4. Retrain")
    job.get_by_role("button", name="Start retraining").click()
    expect(job.get_by_role("alert")).to_contain_text("Nothing to train on")
    add(page, "Cat", *cats)
    expect(summary(page)).to_contain_text("added to Cat")
    job.get_by_role("button", name="Start retraining").click()
    for _ in range(2):
        expect(job.get_by_role("alert")).to_be_hidden()
        job.get_by_role("button", name="Cancel").click()
        expect(job).to_contain_text("Cancelled before it began.")
        expect(job.get_by_role("button", name="Start retraining")).to_be_visible()
        undo(page)  # starts it again
    expect(job).to_contain_text("Waiting for the worker.")


def test_by_keyboard(retrain: Callable[..., Page], cats: list[Path]) -> None:
    page = retrain()
    page.on("filechooser", lambda chooser: chooser.set_files(cats))
    expect(page.get_by_role("button", name="Start retraining")).to_be_visible()
    page.get_by_role("radio", name="Cat").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Choose images or a zip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(pictures(page)).to_have_count(6)
    names = [name.removeprefix("Remove ") for name in removers(page)]
    page.get_by_role("button", name=f"Remove {names[1]}").focus()
    page.keyboard.press("Enter")
    # It goes to the end; the focus stays with it, on what can be done to it now, or on its place.
    expect(page.get_by_role("button", name=f"Restore {names[1]}")).to_be_visible()
    assert page.evaluate("document.activeElement.closest('.retrain-image') !== null")
    page.get_by_role("checkbox", name=f"Choose {names[2]}").focus()
    page.keyboard.press("Space")
    chosen = page.get_by_role("group", name="Selected images")
    chosen.get_by_role("button", name="All on this page").focus()
    page.keyboard.press("Enter")
    expect(chosen).to_contain_text("6 selected")
    expect(chosen.get_by_role("button", name="All on this page")).to_be_focused()
    chosen.get_by_role("button", name="Move to Dog").focus()
    page.keyboard.press("Enter")
    expect(counts(page, "Dog")).to_have_text(["5", "0", "0"])
    assert page.evaluate("document.activeElement !== document.body")


def removers(page: Page) -> list[str]:
    found = page.locator('.retrain-image [data-action="remove"]')
    return [button.get_attribute("aria-label") for button in found.all()]


def collect(home: Settings, animal: str, drawings: list[Any], category: str | None = None) -> None:
    """Add drawings as an upload would."""
    names = (f"{LONG}{animal}-{number}.jpg" for number in range(len(drawings)))
    uploads = Uploads(home, open_database(home))
    uploads.add(zip(names, map(encode, drawings), strict=True), category or animal, f"from-{animal}s", "192.0.2.7")


def test_a_doubtful_batch_many_pictures_dark_and_narrow(home: Settings, open_page: OpenPage) -> None:
    collect(home, "cat", [draw("dog" if number % 2 else "cat", 7500 + number) for number in range(30)])
    collect(home, "dog", [draw("dog", 7600 + number) for number in range(10)])
    review(Uploads(home, open_database(home)))
    with serving(home) as address:
        page = open_page("/?tab=retrain", address=address, width=360, dark=True)
        check = page.get_by_role("region", name="3. Check for problems")
        expect(check).to_contain_text("Batch from-cats is quarantined")
        expect(check).to_contain_text("until its images are confirmed, moved to the right class or removed")
        page.wait_for_load_state("networkidle")
        assert serious_violations(page) == []
        assert overflow(page) == 0
        expect(page.get_by_text("1 to 12 of 40 images")).to_be_visible()
        page.get_by_role("button", name="Next").click()
        expect(page.get_by_text("13 to 24 of 40 images")).to_be_visible()
        loaded = {url for url in page.watch.requests if url.endswith("/file")}  # type: ignore[attr-defined]
        assert 0 < len(loaded) <= 24
        check.get_by_role("button", name="Show", exact=True).first.click()
        expect(pictures(page).first).to_contain_text("excluded")
        pictures(page).first.locator('[data-action="confirm"]').click()
        expect(page.get_by_text("Class confirmed.")).to_be_visible()
        page.get_by_role("button", name="Next").click()  # who is confirmed needs no look
        expect(pictures(page).filter(has_text="confirmed")).to_have_count(1)
        check.get_by_role("button", name="Remove batch").click()
        expect(counts(page, "Cat")).to_have_text(["0", "0", "30"])
        undo(page)
        expect(counts(page, "Cat")).to_have_text(["30", "0", "0"])
        assert overflow(page) == 0


def test_without_a_script(retrain: Callable[..., Page], cats: list[Path], tmp_path: Path, home: Settings) -> None:
    page = retrain(javascript=False, expected={409})
    page.get_by_role("button", name="Start retraining").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing to train on")
    text = tmp_path / "notes.jpg"
    text.write_text("not a picture")
    page.get_by_role("radio", name="Cat").check()
    page.get_by_label("Images or a zip").set_input_files([*cats, text])
    page.get_by_role("button", name="Add images").click()
    expect(page.get_by_role("status").filter(has_text="6 images added to cats")).to_be_visible()
    expect(page.get_by_text("notes.jpg: The file is not a JPEG")).to_be_visible()
    assert len(list((home.retrain_dir / "cats").glob("*.jpg"))) == 6
    page.get_by_role("button", name="Start retraining").click()
    expect(page.locator("noscript p").last).to_contain_text("Waiting for the worker.")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("noscript p").last).to_contain_text("Cancelled before it began.")


def test_signing_in_opens_the_tab(home: Settings, open_page: OpenPage, cats: list[Path]) -> None:
    keyed = load_settings(home=home.home, tracking=False, api_key=KEY)
    with serving(keyed) as address:
        page = open_page("/?tab=retrain", address=address)
        expect(page.get_by_role("note")).to_contain_text("to add, view or change images")
        expect(page.get_by_role("button", name="Choose images or a zip")).to_be_hidden()
        expect(page.get_by_role("region", name="2. Review")).to_contain_text("Sign in to use this.")
        expect(page.get_by_role("button", name="Start retraining")).to_have_count(0)
        page.get_by_role("link", name="Sign in").click()
        page.get_by_label("API key").fill(KEY)
        page.keyboard.press("Enter")
        add(page, "Cat", *cats)
        expect(summary(page)).to_have_text("6 images added to Cat.")
        expect(page.get_by_role("button", name="Start retraining")).to_be_visible()


@pytest.mark.parametrize(
    ("status", "told"),
    [(404, "Retraining isn't available on this server."), (503, "Retraining isn't available right now. Busy.")],
)
def test_unavailable_retraining_is_reported(open_page: OpenPage, status: int, told: str) -> None:
    page = open_page("/?tab=retrain", expected={status})
    page.route("**/api/retrain/status*", lambda route: route.fulfill(status=status, body='{"error": "Busy."}'))
    page.reload()
    job = page.get_by_role("region", name="4. Retrain")
    expect(job.get_by_role("note")).to_contain_text(told)
    expect(job.get_by_role("button", name="Start retraining")).to_have_count(0)
    page.unroute_all()
    job.get_by_role("button", name="Try again").click()
    expect(job.get_by_role("button", name="Start retraining")).to_be_visible()
