"""Charts are drawn from their rows without a script, and shown by a server without a charting library."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from xml.etree import ElementTree

import pytest
import vl_convert
from sample_figures import made_figures

from catdog.errors import ChartError
from catdog.evaluation.charts import vega
from catdog.evaluation.charts.catalog import CHARTS, PAPER, WIDTH, fill
from catdog.evaluation.charts.chart import ROWS, Chart
from catdog.evaluation.charts.figures import Figures

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def filled() -> dict[str, Chart]:
    hours = [{"hour": "2026-01-01T10:00:00+00:00", "by_verdict": {"cat": 3, "unsure": 1}}]
    versions = [{"version": 1, "accuracy": 0.9, "accuracy_ci": [0.8, 0.95], "n": 10, "created_at": "2026"}]
    recent = {"recent": {"counts": [0] * 19 + [4]}}
    return {chart.name: chart for chart in fill(made_figures(hours=hours, versions=versions, confidence=recent))}


def drawn(chart: Chart) -> str:
    return str(vl_convert.vegalite_to_svg(json.dumps(chart.specification(width=WIDTH, config=PAPER))))


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_drawn(name: str, filled: dict[str, Chart]) -> None:
    drawing = drawn(filled[name])
    root = ElementTree.fromstring(drawing)
    marks = [
        found
        for found in root.iter(f"{SVG}g")
        if "mark-" in found.get("class", "") and "role-mark" in found.get("class", "")
    ]
    assert [path for group in marks for path in group.iter() if path.tag in (f"{SVG}path", f"{SVG}text")]
    assert "NaN" not in drawing
    assert not list(root.iter(f"{SVG}script"))
    assert "http" not in drawing.replace("http://www.w3.org/", "")


def test_fields_that_a_chart_names_are_in_its_rows(filled: dict[str, Chart]) -> None:
    def fields(part: object) -> set[str]:
        if isinstance(part, dict):
            own = {part["field"]} if isinstance(part.get("field"), str) else set()
            return own.union(*map(fields, part.values()))
        return set().union(*map(fields, part)) if isinstance(part, list) else set()

    for chart in filled.values():
        known = {*chart.rows[0], "at"}  # of the line from corner to corner
        assert fields(chart.drawing) <= known, chart.name
        assert set(chart.in_percent) <= known, chart.name


def test_names_of_classes_stay_text() -> None:
    metadata = {"classes": ["<script>", "b"], "data": {"counts": {"train": {"<script>": 4, "b": 5}}}}
    drawing = drawn(CHARTS["dataset"].fill(Figures.of_version(metadata, None)))
    assert "<script" not in drawing
    assert "&lt;script&gt;" in drawing


def test_filling_leaves_the_definition_as_it_was(filled: dict[str, Chart]) -> None:
    specification = filled["roc"].specification(width=300)
    assert specification["datasets"][ROWS] == list(filled["roc"].rows) != []
    assert specification["width"] == 300
    assert CHARTS["roc"].rows == ()
    assert CHARTS["roc"].specification()["datasets"][ROWS] == []


def test_the_script_is_there_from_installing() -> None:
    script, packed = vega.script_file(), vega.script_file(compressed=True)
    assert "vegaEmbed" in script.read_text(encoding="utf-8")
    assert packed.stat().st_size < script.stat().st_size / 2


def test_a_missing_script_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vega, "SCRIPT", tmp_path / "vega.js")
    with pytest.raises(ChartError, match=r"Reinstall catdog"):
        vega.script_file()


def test_a_fresh_server_shows_charts_without_a_process_or_a_library(tmp_path: Path) -> None:
    """Web processes need no subprocesses, charting libraries, scikit-learn or SciPy for charts."""
    code = f"""
    import subprocess, sys
    sys.addaudithook(lambda event, _: event in ("subprocess.Popen", "os.posix_spawn", "os.fork") and exit(event))
    from catdog.evaluation.charts.catalog import CHARTS
    from catdog.settings import load_settings
    from catdog.web.app import create_app
    app = create_app(load_settings(home={str(tmp_path)!r}, tracking=False))
    paths = [f"/api/charts/{{name}}{{kind}}" for name in CHARTS for kind in ("", ".csv")]
    paths += ["/api/charts", "/api/charts/pictures", "/?tab=visualizations", "/assets/vega.js"]
    print({{app.test_client().get(path).status_code for path in paths}})
    heavy = {{"altair", "cleanlab", "narwhals", "pandas", "scipy", "sklearn", "vl_convert"}}
    print(sorted(heavy & set(sys.modules)))
    app.extensions["catdog"].stop()
    """
    finished = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert finished.stdout.splitlines() == ["{200}", "[]"], finished.stderr
