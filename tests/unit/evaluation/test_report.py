from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from drawing import draw, encode

from catdog.evaluation.measure import surest_mistakes
from catdog.evaluation.metrics import compute_metrics
from catdog.evaluation.report import write_report


class Page(HTMLParser):
    """Collects the text of a page and the URLs it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        # A parser reads a script's text as it is; after its end tag `cdata_elem` is None again.
        (self.scripts if self.cdata_elem == "script" else self.words).append(data.strip())


def make_report(tmp_path: Path, names: list[str]) -> Page:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.97, 0.03]], np.float32)
    labels = np.array([0, 1, 1])
    paths = []
    for i, name in enumerate(names):
        (tmp_path / name).write_bytes(encode(draw("cat", i)))
        paths.append(str(tmp_path / name))
    write_report(
        tmp_path / "report.html",
        title="A <b>bold</b> title",
        classes=["cats", "dogs"],
        metrics=compute_metrics(probabilities, labels, ["cats", "dogs"]),
        probabilities=probabilities,
        labels=labels,
        mistakes=surest_mistakes(probabilities, labels, paths, ["cats", "dogs"]),
        facts={"Data": "pets", "Parameters": {"epochs": 30}},
    )
    return Page((tmp_path / "report.html").read_text())


def test_the_report_shows_the_metrics(tmp_path: Path) -> None:
    page = make_report(tmp_path, ["a.jpg", "b.jpg", "c.jpg"])
    text = " ".join(page.words)
    assert "66.67 %" in text
    assert "Dog, predicted as Cat (97.00 %)" in text
    assert "c.jpg" in text
    assert "epochs 30" in text


def test_the_report_fetches_nothing_and_hostile_names_stay_text(tmp_path: Path) -> None:
    page = make_report(tmp_path, ["a.jpg", "b.jpg", "<script>alert(1)<script>.jpg"])
    assert page.sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert page.tags.count("script") == 2  # Vega, and what draws the charts with it
    assert "alert(1)" not in "".join(page.scripts)
    assert "A <b>bold</b> title" in page.words


def test_a_mistake_without_its_image_is_still_listed(tmp_path: Path) -> None:
    probabilities = np.array([[0.9, 0.1]], np.float32)
    labels = np.array([1])
    write_report(
        tmp_path / "report.html",
        title="t",
        classes=["cats", "dogs"],
        metrics=compute_metrics(probabilities, labels, ["cats", "dogs"]),
        probabilities=probabilities,
        labels=labels,
        mistakes=surest_mistakes(probabilities, labels, ["gone.jpg"], ["cats", "dogs"]),
        facts={},
    )
    page = Page((tmp_path / "report.html").read_text())
    assert "gone.jpg" in page.words
    assert page.sources == []
