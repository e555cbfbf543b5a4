"""Make the pictures of the page and its tour: `docs/images/`. No photograph is shown, only drawings.

    python docs/make_screenshots.py [--tour] [--only predict,status]

A model is trained on drawn cats and dogs, a second one on fewer of them. A server answers with the first, and a real
Chromium (CATDOG_CHROMIUM, or the one that is found) uses it. The tour is recorded where there is an ffmpeg with VP8.
All of it takes about three minutes on two cores.
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
sys.path += [str(ROOT / "tests"), str(ROOT / "benchmarks")]

from drawing import draw, encode, write_dataset, write_pictures  # noqa: E402
from processes import free_port, running, wait_for_answer  # noqa: E402

from catdog.settings import load_settings  # noqa: E402
from catdog.training.pipeline import TrainOptions, train  # noqa: E402

IMAGES = ROOT / "docs" / "images"
TABS = ("predict", "visualizations", "retrain", "status")
VIEW = {"width": 1280, "height": 900}
VIDEO = {"width": 1024, "height": 720}
SIZE = (640, 480)
COLOURS = 128
"""Of a screenshot: it takes a third of the bytes, and looks the same."""

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Train, serve, look, and write what is seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tour", action="store_true", help="record the tour, too")
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
    """Train two versions on drawings; gives pictures to ask about, the last of them of neither."""
    settings = load_settings(home=home, tracking=False)
    enlarge(write_dataset(settings.data_dir, train=40, test=20))
    train(settings.data_dir, settings, TrainOptions(views=2))
    train(settings.data_dir, settings, TrainOptions(views=1, limit=8, promote=False))
    asked = home / "asked"
    pictures = [*write_pictures(asked, "cat", 2, first=4032), *write_pictures(asked, "dog", 2, first=4032)]
    enlarge(asked)
    neither = asked / "stripes.png"
    stripes = Image.linear_gradient("L").resize(SIZE).point(lambda value: 255 * (value // 16 % 2))
    stripes.convert("RGB").save(neither)
    return [*pictures, neither]


def enlarge(folder: Path) -> None:
    """Draw all pictures of a folder again, as large as photographs are."""
    for path in folder.rglob("*.jpg"):
        animal, number, _ = path.name.split(".")
        path.write_bytes(encode(draw(animal, int(number), SIZE), quality=92))


@contextmanager
def serving(home: Path, pictures: Sequence[Path]) -> Iterator[str]:
    """Run a server of one process until the block ends, which has answered some pictures; gives its address."""
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
            ask(page, [pictures[0], pictures[-1]])
            page.get_by_role("button", name="Why?").first.click()
            expect(page.get_by_role("img", name="Heat map")).to_be_visible()
            page.mouse.move(0, 0)
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(1500)  # for charts
        write(page, IMAGES / f"{tab}-{scheme}.png")
    context.close()


def write(page: Page, path: Path) -> None:
    """Write what a page shows, in few colours."""
    with Image.open(io.BytesIO(page.screenshot())) as seen:
        seen.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


def ask(page: Page, pictures: Sequence[Path]) -> None:
    """Choose images in the tab "Predict", and wait for the answers."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose images").click()
    chooser.value.set_files(list(pictures))
    expect(page.locator(".result .verdict")).to_have_count(len(pictures))


def record(browser: Browser, address: str, pictures: Sequence[Path], folder: Path) -> None:
    """Record the tour: predict, look, retrain, promote."""
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
        raise SystemExit("The tour was not recorded.")
    target = IMAGES / "tour.webm"
    shutil.copyfile(page.video.path(), target)
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes")


def visit_predict(page: Page, pictures: Sequence[Path]) -> None:
    """Ask about three pictures, look why, and say that an answer is right."""
    ask(page, [pictures[1], pictures[3], pictures[-1]])
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Why?").first.click()
    page.wait_for_timeout(1500)
    page.keyboard.press("1")
    page.wait_for_timeout(1200)
    page.mouse.wheel(0, 450)
    page.wait_for_timeout(1500)


def visit_visualizations(page: Page, _pictures: Sequence[Path]) -> None:
    """Look through the charts."""
    open_tab(page, "Visualizations")
    for _ in range(4):
        page.mouse.wheel(0, 550)
        page.wait_for_timeout(1000)


def visit_retrain(page: Page, pictures: Sequence[Path]) -> None:
    """Add pictures, and retrain with them."""
    open_tab(page, "Retrain")
    chosen = write_pictures(pictures[0].parent / "more", "cat", 8, first=7000)
    enlarge(chosen[0].parent)
    page.get_by_role("radio", name="Cat").check()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose images or a zip").click()
    chooser.value.set_files(chosen)
    page.wait_for_timeout(2500)
    start = page.get_by_role("button", name="Start retraining")
    start.scroll_into_view_if_needed()
    start.click()
    outcome = page.get_by_role("article", name="Champion and challenger")
    expect(outcome).to_be_visible(timeout=60_000)
    outcome.scroll_into_view_if_needed()
    page.wait_for_timeout(2500)


def visit_status(page: Page, _pictures: Sequence[Path]) -> None:
    """Compare two versions, promote one, and take it back."""
    open_tab(page, "Model status")
    page.get_by_role("link", name="Compare version 2").click()
    page.wait_for_timeout(2000)
    page.get_by_role("button", name="Promote version 2").click()
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Undo").last.click()
    page.wait_for_timeout(1500)


def open_tab(page: Page, title: str) -> None:
    """Open a tab and show its beginning."""
    page.evaluate("scrollTo({ top: 0, behavior: 'smooth' })")
    page.wait_for_timeout(500)
    page.get_by_role("tab", name=title).click()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)


def link_ffmpeg(folder: Path) -> None:
    """Let Playwright, which looks for an ffmpeg of its own, find the one of this machine."""
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
