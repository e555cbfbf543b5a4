"""The notebook runs from top to bottom; its stored outputs are complete, consistent and free of photos."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import pytest
from drawing import draw
from PIL import Image

from catdog.data.dataset import scan
from catdog.data.labels import display_name
from catdog.settings import Settings

FOLDER = Path(__file__).parents[3] / "notebook"
KEPT = FOLDER / "cat_dog_classification.ipynb"
SILENT = {"parameters", "imports", "show"}
"""Cells without outputs."""

SECTIONS = (
    "Objectives", "Data and samples", "Augmentation", "The network", "Training", "Curves", "Evaluation",
    "Confusion matrix", "Classification report", "Sample predictions", "Saving", "Serving",
)  # fmt: skip

Notebook = Any


@pytest.fixture(scope="module")
def execute() -> ModuleType:
    """The script that runs the notebook."""
    found = importlib.util.spec_from_file_location("execute_notebook", FOLDER / "execute.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def on_drawings(
    execute: ModuleType, drawn: Path, trained: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Notebook:
    """The notebook after a run on drawings, in a home whose champion uses a small random backbone."""
    folder = tmp_path_factory.mktemp("notebook")
    shutil.copytree(trained.home, folder / "catdog-home")
    notebook = nbformat.read(KEPT, as_version=4)
    execute.prepare(folder, drawn)
    execute.run(notebook, folder, {"CATDOG_NOTEBOOK_BACKBONE": "1"})
    execute.clean(notebook, folder)
    return notebook


@pytest.fixture(scope="module")
def kept() -> Notebook:
    return nbformat.read(KEPT, as_version=4)


def code_cells(notebook: Notebook) -> dict[str, Any]:
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}


def shown(notebook: Notebook, cell_id: str) -> str:
    """Return all text in a cell's outputs."""
    found = []
    for output in code_cells(notebook)[cell_id].outputs:
        found += [output.get("text", ""), *map(str, output.get("data", {}).values())]
    return "\n".join(found)


def rows(notebook: Notebook, cell_id: str) -> list[list[str]]:
    """Return the rows of the table in a cell's outputs."""
    lines = [line for line in shown(notebook, cell_id).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def share(text: str) -> float:
    return float(text.replace("\u00a0%", "")) / 100


def check_complete(notebook: Notebook) -> None:
    """Check that a notebook ran in order without errors, and that its outputs are complete and consistent."""
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells.values()] == list(range(1, len(cells) + 1))
    assert {name for name, cell in cells.items() if not cell.outputs} == SILENT
    assert not [output for cell in cells.values() for output in cell.outputs if output.output_type == "error"]

    counts = {split: int(together.replace(",", "")) for split, *_, together in rows(notebook, "scan")}
    matrix = np.array([row[1:] for row in rows(notebook, "confusion-matrix")], int)
    assert matrix.sum() == counts["test"]
    assert f"{counts['test']} images, 0 of them seen in training" in shown(notebook, "evaluate")
    metrics = {row[0]: row[1:] for row in rows(notebook, "every-metric")}
    accuracy = np.trace(matrix) / matrix.sum()
    assert share(metrics["accuracy"][0]) == pytest.approx(accuracy, abs=6e-5)
    low, high = map(share, metrics["accuracy"][1].split(" to "))
    assert low <= accuracy <= high
    report = re.search(r"accuracy +([\d.]+) +(\d+)\n", shown(notebook, "report"))
    assert report is not None
    assert float(report[1]) == pytest.approx(accuracy, abs=6e-5)
    assert int(report[2]) == counts["test"]

    made = {row[0]: row[1] for row in rows(notebook, "train")}
    epochs = rows(notebook, "epochs")
    assert len(epochs) == int(made["epochs"])
    validation = [float(epoch[3]) for epoch in epochs]
    assert validation[int(made["best epoch (kept)"]) - 1] == min(validation)


@pytest.mark.slow
def test_it_runs_from_top_to_bottom_on_drawings(on_drawings: Notebook) -> None:
    check_complete(on_drawings)
    metrics = {row[0]: row[1] for row in rows(on_drawings, "every-metric")}
    assert share(metrics["accuracy"]) >= 0.9
    named = ["precision", "recall", "F1", "coverage", "calibration", "cross-entropy"]
    assert all(any(name in metric for metric in metrics) for name in named)


@pytest.mark.slow
def test_it_trains_saves_exports_and_serves(on_drawings: Notebook) -> None:
    assert "Version 2 was " in shown(on_drawings, "gate")
    assert [row[0] for row in rows(on_drawings, "gate")] == ["1", "2"]
    champion = next(row[0] for row in rows(on_drawings, "gate") if row[1] == "yes")
    assert {"`head.npz`", "`head.keras`", "`report.html`"} <= {row[0] for row in rows(on_drawings, "version-files")}
    assert all(row[1] for row in rows(on_drawings, "version-files")), "each file is explained"
    assert shown(on_drawings, "load-again").splitlines() == [
        f"pets.{kind}, loaded again: 8 of 8 labels agree" for kind in ("keras", "h5")
    ]
    first, answer = shown(on_drawings, "serve").split("\n", 1)
    assert "HTTP 200" in first
    assert str(json.loads(answer)["model_version"]) == champion


@pytest.mark.slow
def test_it_shows_true_class_and_prediction_of_each_image(on_drawings: Notebook) -> None:
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", shown(on_drawings, "sample-predictions"))
    assert len(captions) == 8
    for caption in captions:
        assert re.fullmatch(
            r"(cat|dog)\.\d+\.jpg<br>true class (Cat|Dog)<br>predicted (Cat|Dog), [\d.]+\xa0%<br>verdict \w+", caption
        )
        assert caption[:3] == re.search("true class (...)", caption)[1].lower()  # type: ignore[index]


@pytest.mark.slow
def test_it_downloads_the_data_if_the_folder_is_missing(
    kept: Notebook, drawn: Path, settings: Settings, tmp_path: Path
) -> None:
    downloads = []

    def download(name: str, _settings: Settings) -> SimpleNamespace:
        downloads.append(name)
        return SimpleNamespace(data_dir=drawn)

    names = {
        "DATA": tmp_path / "none", "settings": settings, "download": download, "scan": scan,
        "display_name": display_name, "table": lambda *_: None,
    }  # fmt: skip
    exec(compile(code_cells(kept)["scan"].source, "notebook", "exec"), names)
    assert downloads == ["kaggle:tongpython/cat-and-dog"]
    assert names["manifest"].root == drawn  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.shared
def test_it_runs_on_photos_and_stores_none(shared: Path, tmp_path: Path, execute: ModuleType) -> None:
    for split, animal, count in [(s, a, n) for s, n in (("train", 60), ("test", 30)) for a in ("cats", "dogs")]:
        folder = tmp_path / "pets" / split / animal
        folder.mkdir(parents=True)
        found = sorted((shared / "cat-and-dog" / split / animal).iterdir())
        for path in found[: count + 1]:  # one of them is not an image
            (folder / path.name).symlink_to(path)
    out = tmp_path / "out.ipynb"
    command = [sys.executable, str(FOLDER / "execute.py"), "--data", str(tmp_path / "pets"), "--out", str(out)]
    finished = subprocess.run([*command, "--limit", "50"], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    notebook = nbformat.read(out, as_version=4)
    check_complete(notebook)
    assert list(execute.find_problems(notebook)) == []
    assert share(rows(notebook, "every-metric")[0][1]) > 0.95
    (said,) = [output.text for cell in notebook.cells if cell.id == "rejected" for output in cell.outputs]
    assert said.startswith("Unusable files: 0. Other files skipped: 4. ")
    assert "/9j/" not in out.read_text(), "base64 of a JPEG's first bytes"
    assert str(tmp_path) not in out.read_text()


def test_stored_notebook_is_complete(kept: Notebook) -> None:
    nbformat.validate(kept)
    check_complete(kept)
    assert KEPT.stat().st_size < 1_000_000


def test_it_has_all_sections(kept: Notebook) -> None:
    text = "\n".join(cell.source for cell in kept.cells if cell.cell_type == "markdown")
    headings = re.findall(r"^## \d+\. (.+)$", text, re.MULTILINE)
    assert headings[: len(SECTIONS)] == list(SECTIONS)
    assert "catdog --home catdog-home data download kaggle:tongpython/cat-and-dog" in text


def test_stored_notebook_shows_curves_and_confusion_matrix_as_static_charts(kept: Notebook) -> None:
    cells = code_cells(kept)
    for name in ("counts", "loss-curve", "accuracy-curve", "metrics-chart", "reliability", "roc", "confusion-matrix"):
        charts = [output.data["image/svg+xml"] for output in cells[name].outputs if "image/svg+xml" in output["data"]]
        assert len(charts) == 1
        assert charts[0].startswith("<svg")
    for row in rows(kept, "confusion-matrix"):
        assert all(f">{count}<" in shown(kept, "confusion-matrix") for count in row[1:])


def test_stored_notebook_was_run_on_photos_and_shows_none(kept: Notebook, execute: ModuleType) -> None:
    assert list(execute.find_problems(kept)) == []
    tagged = [name for name, cell in code_cells(kept).items() if "photographs" in cell.metadata.get("tags", ())]
    assert {"sample-pictures", "sample-views", "mistakes", "sample-predictions", "neither"} == set(tagged)
    for name in tagged:
        assert "Photos aren't stored in this file" in shown(kept, name)
        assert "<figcaption>" in shown(kept, name)
    flower = re.search(r"a flower<br>.*?</figcaption>", shown(kept, "neither"))
    assert flower is not None
    assert "verdict neither" in flower[0]
    assert share(rows(kept, "every-metric")[0][1]) > 0.98


def test_the_drawing_is_our_own() -> None:
    with Image.open(FOLDER / "drawn_cat.png") as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(draw("cat", 12, (240, 240))))


def notebook_of(data: dict[str, str], *tags: str) -> Notebook:
    """Return a notebook of one cell with this output."""
    cell = nbformat.v4.new_code_cell("show()", id="shows", metadata={"tags": list(tags)})
    cell.outputs = [nbformat.v4.new_output("display_data", data)]
    return nbformat.v4.new_notebook(cells=[cell])


@pytest.mark.parametrize(
    "data",
    [
        {"image/png": "iVBORw0KGgo="},
        {"text/html": '<img src="data:image/jpeg;base64,/9j/">'},
        {"image/svg+xml": '<svg><image href="x.jpg"/></svg>'},
        {"text/plain": "/home/ada/pets/cat.1.jpg"},
        {"text/markdown": "| `/tmp/tmpa1/catdog-home` |"},
    ],
)
def test_photos_and_local_paths_are_rejected(execute: ModuleType, data: dict[str, str]) -> None:
    assert len(list(execute.find_problems(notebook_of(data)))) == 1


def test_images_are_removed_and_captions_kept(execute: ModuleType, tmp_path: Path) -> None:
    figure = '<figure><img src="data:image/jpeg;base64,/9j/" alt=""><figcaption>cat.1.jpg</figcaption></figure>'
    plain = f"{tmp_path}/catdog-home/models/2"
    notebook = notebook_of({"image/png": "iVBORw0KGgo=", "text/html": figure, "text/plain": plain}, "photographs")
    execute.clean(notebook, tmp_path)
    assert list(execute.find_problems(notebook)) == []
    data = notebook.cells[0].outputs[0].data
    assert "image/png" not in data
    assert data["text/html"].endswith("<figure><figcaption>cat.1.jpg</figcaption></figure>")
    assert data["text/plain"] == "catdog-home/models/2"


def test_data_must_be_a_folder(tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "execute.py"), "--data", str(tmp_path / "none")]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert finished.stderr.strip() == f"--data must be a folder of images; {str(tmp_path / 'none')!r} isn't a folder."
