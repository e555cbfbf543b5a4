"""The Altair charts: each is drawn from its table, without script, and with nothing from elsewhere."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from sample_figures import made_figures

from catdog import charts
from catdog.assessment import assess_version
from catdog.chart_files import ChartFiles
from catdog.errors import ChartError
from catdog.figures import NAMES, Figures, tables
from catdog.settings import Settings
from catdog.store import ModelStore

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def specifications() -> dict[str, charts.Spec]:
    return charts.specifications()


@pytest.fixture(scope="module")
def figures() -> Figures:
    hours = [{"hour": "2026-01-01T10:00:00+00:00", "by_verdict": {"cat": 3, "unsure": 1}}]
    versions = [{"version": 1, "accuracy": 0.9, "accuracy_ci": [0.8, 0.95], "n": 10, "created_at": "2026"}]
    return made_figures(hours=hours, versions=versions, confidence={"recent": {"counts": [0] * 19 + [4]}})


def test_every_table_has_a_chart(specifications: dict[str, charts.Spec]) -> None:
    assert tuple(specifications) == NAMES
    assert all("vega-lite" in found["$schema"] for found in specifications.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_chart_is_drawn(name: str, specifications: dict[str, charts.Spec], figures: Figures) -> None:
    table = next(table for table in tables(figures) if table.name == name)
    drawing = charts.to_svg(specifications[name], table)
    root = ElementTree.fromstring(drawing)
    marks = [
        found
        for found in root.iter(f"{SVG}g")
        if "mark-" in found.get("class", "") and "role-mark" in found.get("class", "")
    ]
    drawn = [path for group in marks for path in group.iter() if path.tag in (f"{SVG}path", f"{SVG}text")]
    assert drawn
    assert "NaN" not in drawing
    assert not list(root.iter(f"{SVG}script"))
    assert "http" not in drawing.replace("http://www.w3.org/", "")


def test_fields_that_a_chart_names_are_in_its_rows(specifications: dict[str, charts.Spec], figures: Figures) -> None:
    def fields(part: object) -> set[str]:
        if isinstance(part, dict):
            own = {part["field"]} if isinstance(part.get("field"), str) else set()
            return own.union(*map(fields, part.values()))
        return set().union(*map(fields, part)) if isinstance(part, list) else set()

    for table in tables(figures):
        known = {*table.rows[0], "at"}  # of the line from corner to corner
        assert fields(specifications[table.name]) <= known, table.name


def test_names_of_classes_stay_text(specifications: dict[str, charts.Spec]) -> None:
    metadata = {"classes": ["<script>", "b"], "data": {"counts": {"train": {"<script>": 4, "b": 5}}}}
    drawing = charts.to_svg(specifications["dataset"], tables(Figures.of_version(metadata, None))[0])
    assert "<script" not in drawing
    assert "&lt;script&gt;" in drawing


def test_filling_leaves_the_specification_as_it_was(specifications: dict[str, charts.Spec], figures: Figures) -> None:
    before = json.dumps(specifications["roc"])
    table = next(table for table in tables(figures) if table.name == "roc")
    filled = charts.fill(specifications["roc"], table, width=300)
    assert filled["datasets"][charts.ROWS] == table.rows
    assert filled["width"] == 300
    assert json.dumps(specifications["roc"]) == before


def test_files_are_made_once_and_kept(chart_cache: Path, specifications: dict[str, charts.Spec]) -> None:
    files = ChartFiles(chart_cache)
    assert files.specifications() == specifications
    script, packed = files.bundle(compressed=False), files.bundle(compressed=True)
    assert "vegaEmbed" in script.read_text(encoding="utf-8")
    assert packed.stat().st_size < script.stat().st_size / 2
    made = script.stat().st_mtime_ns
    assert ChartFiles(chart_cache).bundle(compressed=False).stat().st_mtime_ns == made


def test_the_assessment_of_a_version_from_before_is_computed_once(
    bundled: Settings, chart_cache: Path, tmp_path: Path
) -> None:
    version = ModelStore(bundled.models_dir).get(1)
    cache = Path(shutil.copytree(chart_cache, tmp_path / "cache"))
    found = ChartFiles(cache).assessment(version)
    assert found == json.loads(json.dumps(assess_version(version)))
    (cached,) = cache.glob("assessment-*.json")
    cached.write_text(json.dumps({"n": 1}))
    assert ChartFiles(cache).assessment(version) == {"n": 1}


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(ChartError, match=r"cannot be prepared in .*: File exists\. Let the server write"):
        ChartFiles(tmp_path / "cache").specifications()


def test_a_web_process_loads_no_charting_library() -> None:
    code = (
        "import sys, catdog.web.application\n"
        "print(sorted({'altair', 'vl_convert', 'sklearn', 'narwhals'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"
