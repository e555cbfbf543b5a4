"""Make the screenshots of the page and its tour: `docs/images/`. They show the sample drawings, no photos.

    python docs/make_screenshots.py [--tour] [--only predict,status]

A version is trained on the sample data, and a second one on a part of it. A server serves the first, and a real
Chromium (CATDOG_CHROMIUM, or the one that is found) uses it. Recording the tour needs an ffmpeg with VP8. All of it
takes about three minutes on two cores.
"""

import argparse
import io
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import playwright
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))

from processes import free_port, running, wait_for_answer  # noqa: E402

from catdog.data.sample import write_sample_data  # noqa: E402
from catdog.settings import load_settings  # noqa: E402
from catdog.training.pipeline import TrainOptions, train  # noqa: E402

IMAGES = ROOT / "docs" / "images"
TABS = ("predict", "visualizations", "retrain", "status")
VIEW = {"width": 1280, "height": 900}
VIDEO = {"width": 1024, "height": 720}
COLOURS = 256
"""Colours of a screenshot: a third of the bytes, and it looks the same."""

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Train, serve, and write screenshots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tour", action="store_true", help="also record the tour")
    parser.add_argument("--only", default=",".join(TABS), help="tabs, separated by commas")
    arguments = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        link_ffmpeg(Path(folder))
        pictures = prepare(Path(folder))
        with serving(Path(folder), pictures) as address, chromium() as browser:
            for dark in (False, True):
                take(browser, address, arguments.only.split(","), pictures, dark=dark)
            if arguments.tour:
                record(browser, address, pictures, Path(folder))


def prepare(home: Path) -> list[Path]:
    """Train two versions on the sample data; return images to classify, the last of them of neither class."""
    settings = load_settings(home=home, tracking=False)
    sample = home / "sample"
    write_sample_data(sample, per_class=120)
    train(sample, settings, TrainOptions(promote=True))
    train(sample, settings, TrainOptions(views=1, limit=8, promote=False))
    asked = home / "asked"  # test images of a version are rejected as feedback
    write_sample_data(asked, per_class=10, seed=5)
    found = [sorted((asked / "test" / name).iterdir())[:2] for name in ("cats", "dogs")]
    return [*found[0], *found[1], sorted((asked / "other").iterdir())[0]]


@contextmanager
def serving(home: Path, pictures: Sequence[Path]) -> Iterator[str]:
    """Run a server of one process that has classified some images; yield its address."""
    port, log = free_port(), home / "server.log"
    variables = {"CATDOG_HOME": str(home), "CATDOG_HOST": "127.0.0.1", "PORT": str(port), "WEB_CONCURRENCY": "1"}
    address = f"http://127.0.0.1:{port}"
    with running([sys.executable, "-m", "catdog", "serve"], variables, log) as process:
        for number in range(60):
            picture = pictures[number % len(pictures)].read_bytes()
            wait_for_answer(process, f"{address}/api/predict", picture, log)
        time.sleep(2)  # until the counts are in the database
        yield address


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium."""
    named = os.environ.get("CATDOG_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if named is None:
        raise SystemExit("No Chromium was found; name one in CATDOG_CHROMIUM.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=named, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


def take(browser: Browser, address: str, tabs: Sequence[str], pictures: Sequence[Path], *, dark: bool) -> None:
    """Write a screenshot of each tab."""
    scheme = "dark" if dark else "light"
    context = browser.new_context(base_url=address, viewport=VIEW, color_scheme=scheme, timezone_id="Europe/Zurich")
    page = context.new_page()
    for tab in tabs:
        page.goto(f"/?tab={tab}")
        if tab == "predict":
            ask(page, [pictures[1], pictures[-1]])
            page.get_by_role("button", name="Why?").first.click()
            expect(page.get_by_role("img", name="Heat map")).to_be_visible()
            page.mouse.move(0, 0)
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(1500)  # for charts
        write(page, IMAGES / f"{tab}-{scheme}.png")
    context.close()


def write(page: Page, path: Path) -> None:
    """Write a screenshot in few colours."""
    with Image.open(io.BytesIO(page.screenshot())) as seen:
        seen.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


def ask(page: Page, pictures: Sequence[Path]) -> None:
    """Choose images in the tab "Predict", and wait for the predictions."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose images").click()
    chooser.value.set_files(list(pictures))
    expect(page.locator(".result .verdict")).to_have_count(len(pictures))


def record(browser: Browser, address: str, pictures: Sequence[Path], folder: Path) -> None:
    """Record the tour: predict, view charts, retrain, promote."""
    context = browser.new_context(
        base_url=address, viewport=VIDEO, record_video_dir=folder / "video", record_video_size=VIDEO
    )
    page = context.new_page()
    page.goto("/")
    page.wait_for_timeout(800)
    for visit in (visit_predict, visit_visualizations, visit_retrain, visit_status):
        visit(page, pictures)
    context.close()
    if page.video is None:
        raise SystemExit("The tour wasn't recorded.")
    target = IMAGES / "tour.webm"
    shutil.copyfile(page.video.path(), target)
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes")


def visit_predict(page: Page, pictures: Sequence[Path]) -> None:
    """Classify three images, explain one, and confirm it."""
    ask(page, [pictures[1], pictures[3], pictures[-1]])
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Why?").first.click()
    page.wait_for_timeout(1500)
    page.keyboard.press("1")
    page.wait_for_timeout(1200)
    page.mouse.wheel(0, 450)
    page.wait_for_timeout(1500)


def visit_visualizations(page: Page, _pictures: Sequence[Path]) -> None:
    """Scroll through the charts."""
    open_tab(page, "Visualizations")
    for _ in range(4):
        page.mouse.wheel(0, 550)
        page.wait_for_timeout(1000)


def visit_retrain(page: Page, pictures: Sequence[Path]) -> None:
    """Add images, and retrain on them."""
    open_tab(page, "Retrain")
    more = pictures[-1].parents[2] / "more"
    write_sample_data(more, per_class=10, seed=7)
    page.get_by_role("radio", name="Cat").check()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose images or a zip").click()
    chooser.value.set_files(sorted((more / "train" / "cats").iterdir()))
    page.wait_for_timeout(2500)
    start = page.get_by_role("button", name="Start retraining")
    start.scroll_into_view_if_needed()
    start.click()
    outcome = page.get_by_role("article", name="Champion and challenger")
    expect(outcome).to_be_visible(timeout=60_000)
    outcome.scroll_into_view_if_needed()
    page.wait_for_timeout(2500)


def visit_status(page: Page, _pictures: Sequence[Path]) -> None:
    """Compare two versions, promote one, and undo it."""
    open_tab(page, "Model status")
    page.get_by_role("link", name="Compare version 2").click()
    page.wait_for_timeout(2000)
    page.get_by_role("button", name="Promote version 2").click()
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Undo").last.click()
    page.wait_for_timeout(1500)


def open_tab(page: Page, title: str) -> None:
    """Open a tab at its top."""
    page.evaluate("scrollTo({ top: 0, behavior: 'smooth' })")
    page.wait_for_timeout(500)
    page.get_by_role("tab", name=title).click()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)


def link_ffmpeg(folder: Path) -> None:
    """Let Playwright, which expects an ffmpeg of its own, find the one of this machine."""
    found = shutil.which("ffmpeg")
    if found is None or "PLAYWRIGHT_BROWSERS_PATH" in os.environ:
        return
    package = Path(playwright.__file__).parent / "driver" / "package"
    browsers = json.loads((package / "browsers.json").read_text())["browsers"]
    revision = next(browser["revision"] for browser in browsers if browser["name"] == "ffmpeg")
    place = folder / "browsers" / f"ffmpeg-{revision}"
    place.mkdir(parents=True)
    (place / "ffmpeg-linux").symlink_to(found)
    os.environ["PLAYWRIGHT_BROWSERS_PATH"] = str(folder / "browsers")


if __name__ == "__main__":
    main()
