"""The tab "Predict", used as a person would: with drawn pictures, and with photographs where there are some."""

import base64
from pathlib import Path
from typing import Any

import pytest
from browsing import OpenPage, serious_violations
from drawing import draw, encode
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.browser

NEITHER = "Not a cat or a dog"  # what the bundled model says of a drawing
LONG_NAME = "a cat on the " + "very_" * 30 + "long sofa.jpg"


def drawing(seed: int, name: str = "") -> dict[str, Any]:
    """Make a file that a person may choose."""
    buffer = encode(draw("cat", seed, (320, 240)))
    return {"name": name or f"cat {seed}.jpg", "mimeType": "image/jpeg", "buffer": buffer}


def choose(page: Page, *files: dict[str, Any] | Path) -> Locator:
    """Choose files as with the button; gives the cards of the answers, once they are all there."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose images").click()
    chooser.value.set_files(list(files))  # type: ignore[arg-type]
    cards = page.locator(".result")
    expect(cards.locator(".prediction")).to_have_count(len(files))
    return cards


def test_several_images_one_of_them_broken(open_page: OpenPage) -> None:
    page = open_page("/", expected={415}, width=360)
    broken = {"name": "b.jpg", "mimeType": "image/jpeg", "buffer": b"none"}
    cards = choose(page, drawing(1), broken, drawing(2, LONG_NAME))
    expect(cards.nth(0).get_by_role("heading")).to_have_text(NEITHER)
    expect(cards.nth(0)).to_contain_text("Closest class: ")
    expect(cards.nth(0)).to_contain_text("Model v1 ·")
    expect(cards.nth(0).get_by_role("img", name="Your image cat 1.jpg")).to_be_visible()
    shares = [float(text.strip("<> %")) for text in cards.nth(0).locator(".bars .number").all_inner_texts()]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.2)
    expect(cards.nth(1)).to_contain_text("Use JPEG, PNG, WebP or AVIF")
    expect(cards.nth(1)).to_contain_text("(Request ")
    expect(page.get_by_role("status").filter(has_text="b.jpg")).to_contain_text(f"cat 1.jpg: {NEITHER}")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert serious_violations(page) == []
    cards.nth(1).get_by_role("button", name="Dismiss").click()
    expect(cards).to_have_count(2)


def test_why(open_page: OpenPage) -> None:
    page = open_page("/", dark=True)
    card = choose(page, drawing(3)).first
    why = card.get_by_role("button", name="Why?")
    why.click()
    heat = card.get_by_role("img", name="Heat map")
    expect(heat).to_be_visible()
    expect(heat).to_have_css("opacity", "0.7")
    slider = card.get_by_role("slider", name="Heat map")
    slider.fill("20")
    expect(heat).to_have_css("opacity", "0.2")
    expect(card.get_by_role("listitem").filter(has_text="distance")).to_have_count(5)
    assert serious_violations(page) == []
    why.click()
    expect(heat).to_be_hidden()


def test_feedback_by_keyboard_and_its_undo(open_page: OpenPage) -> None:
    page = open_page("/")
    card = choose(page, drawing(4)).first
    page.keyboard.press("1")
    expect(card).to_contain_text("Marked as")
    kept = page.request.get("/api/retrain/images?state=pending").json()
    assert [image["category"] for image in kept["images"]] == ["cats"]
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Feedback removed.")).to_be_visible()
    assert page.request.get("/api/retrain/images?state=pending").json()["total"] == 0
    card.get_by_role("button", name="Dog").click()  # and another opinion is taken
    expect(card).to_contain_text("Marked as")
    assert page.request.get("/api/retrain/images?state=pending").json()["images"][0]["category"] == "dogs"


def test_paste(open_page: OpenPage) -> None:
    page = open_page("/", permissions=["clipboard-read", "clipboard-write"])
    png = base64.b64encode(encode(draw("cat", 5), "PNG")).decode()
    page.evaluate(
        """async (text) => {
          const blob = new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], { type: "image/png" });
          await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
        }""",
        png,
    )
    page.get_by_role("button", name="Paste", exact=True).click()
    expect(page.locator(".result .verdict")).to_have_count(1)
    page.get_by_role("tab", name="Predict").focus()
    page.keyboard.press("Control+V")
    expect(page.locator(".result .verdict")).to_have_count(2)
    page.get_by_role("button", name="Copy as curl").first.click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("curl -F image=@'")
    assert copied.endswith(f"{page.watch.address}/api/predict")  # type: ignore[attr-defined]
    page.get_by_role("button", name="Paste", exact=True).click()  # now there is only text
    expect(page.get_by_text("No image on the clipboard.")).to_be_visible()


def test_drop(open_page: OpenPage) -> None:
    page = open_page("/")
    jpeg = base64.b64encode(encode(draw("cat", 6))).decode()
    transfer = page.evaluate_handle(
        """(text) => {
          const transfer = new DataTransfer();
          const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
          transfer.items.add(new File([bytes], "dropped.jpg", { type: "image/jpeg" }));
          return transfer;
        }""",
        jpeg,
    )
    expect(page.get_by_role("button", name="Choose images")).to_be_visible()
    page.dispatch_event("#predict-form", "dragover", {"dataTransfer": transfer})
    expect(page.locator("#predict-form")).to_have_class("drop over")
    page.dispatch_event("#predict-form", "drop", {"dataTransfer": transfer})
    expect(page.locator(".result")).to_contain_text("dropped.jpg")
    expect(page.locator(".result .verdict")).to_have_text(NEITHER)


def test_history_stays_until_it_is_cleared(open_page: OpenPage) -> None:
    page = open_page("/")
    choose(page, drawing(7), drawing(8))
    page.reload()
    strip = page.get_by_role("region", name="Recent").get_by_role("listitem")
    expect(strip).to_have_count(2)
    expect(strip.first).to_contain_text("Neither")
    page.get_by_role("button", name="Clear").click()
    expect(strip).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(strip).to_have_count(2)


def test_camera(open_page: OpenPage) -> None:
    page = open_page("/", permissions=["camera"])
    page.get_by_role("button", name="Use camera").click()
    dialog = page.get_by_role("dialog", name="Camera")
    page.wait_for_timeout(500)  # for the first frame
    dialog.get_by_role("button", name="Take photo").click()
    expect(page.locator(".result")).to_contain_text("camera image")
    expect(page.locator(".result .verdict")).to_have_count(1)
    expect(dialog).to_have_count(0)


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ("navigator.mediaDevices.enumerateDevices = async () => []", "none is connected"),
        (
            "Object.defineProperty(window, 'isSecureContext', { value: false })",
            "browsers allow it only over HTTPS",
        ),
        ("navigator.permissions.query = async () => ({ state: 'denied' })", "it is blocked for this page"),
    ],
)
def test_without_a_camera_it_says_why(open_page: OpenPage, before: str, reason: str) -> None:
    page = open_page("/", before=before)
    expect(page.get_by_text(f"No camera: {reason}")).to_be_visible()
    expect(page.get_by_role("button", name="Use camera")).to_be_hidden()


def test_without_a_script(open_page: OpenPage) -> None:
    page = open_page("/", javascript=False, expected={415})
    page.get_by_label("Image file").set_input_files(drawing(9))  # type: ignore[arg-type]
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_role("heading", name=NEITHER)).to_be_visible()
    expect(page.get_by_text("Model v1 ·")).to_be_visible()
    page.get_by_label("Image file").set_input_files({"name": "x.jpg", "mimeType": "image/jpeg", "buffer": b"none"})
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_role("alert")).to_contain_text("Use JPEG, PNG, WebP or AVIF")
    page.get_by_role("link", name="Model status").click()
    expect(page.get_by_role("heading", name="Versions", exact=True)).to_be_visible()


@pytest.mark.shared
def test_photos(open_page: OpenPage, shared: Path) -> None:
    page = open_page("/")
    cards = choose(page, shared / "photos" / "cat.4996.jpg", shared / "photos" / "dog.4018.jpg")
    expect(cards.nth(0).get_by_role("heading")).to_have_text("Cat")
    expect(cards.nth(1).get_by_role("heading")).to_have_text("Dog")
    expect(cards.nth(0)).to_contain_text("% confident.")
    page.keyboard.press("1")
    expect(cards.nth(0)).to_contain_text("Marked as correct")
    cards.nth(1).get_by_role("button", name="Wrong").focus()
    page.keyboard.press("2")  # of the card in which the focus is
    expect(cards.nth(1)).to_contain_text("Marked as wrong")
