"""The routes of the charts, the pictures behind them, and the script that draws them; and what the tab is given."""

import contextlib
import io
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any, Final

from apiflask import APIBlueprint, APIFlask
from flask import Blueprint, Response, current_app, render_template, request, send_file, url_for
from PIL import Image
from werkzeug.exceptions import NotFound

from catdog import vega
from catdog.assessment import Assessment, Assessments
from catdog.chart import Chart
from catdog.charts import CHARTS, PAPER, fill, insights
from catdog.errors import CatdogError, ChartError, PictureNotFoundError
from catdog.figures import Figures
from catdog.files import file_sha256
from catdog.labels import match_class
from catdog.prediction import Predictor
from catdog.preprocessing import decode_upright
from catdog.web import charts_schemas as shapes
from catdog.web.access import may_change
from catdog.web.api import Document
from catdog.web.assets import BRIEFLY, FOREVER
from catdog.web.collect_schemas import THUMBNAIL, problems
from catdog.web.pages import CONTEXTS
from catdog.web.permissions import needs_permission, open_to_all
from catdog.web.problems import without_paths
from catdog.web.schemas import KEYS, answers
from catdog.web.service import current_settings, live_model, server_status

MISTAKES_SHOWN: Final = 24
ROWS_LISTED: Final = 40
"""Most rows of a table on the page; the CSV file has all."""

THUMBNAIL_SIDE: Final = 320

charts = APIBlueprint("charts", __name__, tag="Charts", url_prefix="/api/charts")
pieces = Blueprint("pieces", __name__)
_log = logging.getLogger(__name__)


def install(app: APIFlask) -> None:
    """Give an app the routes."""
    app.extensions["catdog_assessments"] = Assessments()
    app.register_blueprint(charts)
    app.register_blueprint(pieces)


@charts.get("")
@charts.doc(responses=answers(shapes.Charts, 503))
@open_to_all
def listed() -> Document:
    """List the charts of the version that answers, and say in sentences what the numbers say."""
    predictor = live_model().predictor
    figures = _figures(predictor)
    return {
        "version": predictor.version.number,
        "charts": [
            {"name": c.name, "title": c.title, "about": c.about, "rows": len(c.rows), "empty": c.empty}
            for c in fill(figures)
        ],
        "insights": [asdict(insight) for insight in insights(figures)],
    }


@charts.get("/<name>")
@charts.doc(responses={200: shapes.SPECIFICATION, **problems(404, 503)})
@open_to_all
def specification(name: str) -> Document:
    """Give a chart as a Vega-Lite specification with its data, as wide as its place, in colours for white paper."""
    return _chart(name).specification(config=PAPER)


@charts.get("/<name>.csv")
@charts.doc(responses={200: shapes.CSV, **problems(404, 503)})
@open_to_all
def rows(name: str) -> Response:
    """Give the rows of a chart as CSV."""
    return Response(_chart(name).as_csv(), content_type="text/csv; charset=utf-8")


@charts.get("/pictures")
@charts.doc(responses=answers(shapes.Pictures, 404, 503))
@open_to_all
def pictures() -> Document:
    """List test pictures: those of a cell of the confusion matrix, by `true` and `answered`; else the mistakes."""
    predictor = live_model().predictor
    return {"pictures": _pictures(predictor, _cell(predictor))}


@charts.get("/pictures/<sha256>")
@charts.doc(responses={200: THUMBNAIL, **problems(401, 403, 404, 415, 422, 503)}, security=KEYS)
@needs_permission
def picture(sha256: str) -> Response:
    """Show a test picture that is listed and still there: a JPEG of at most 320 pixels a side."""
    predictor = live_model().predictor
    paths = [found["path"] for found in _assessment(predictor).get("examples", ()) if found["sha256"] == sha256]
    path = _find(paths[0], predictor) if paths else None
    if path is None or file_sha256(path) != sha256:
        raise PictureNotFoundError(
            f"The hash of a listed test picture of version {predictor.version.number} is needed whose file is still "
            f"where it was. Received: {sha256[:64]!r}"
        )
    buffer = io.BytesIO()
    pixels = decode_upright(path.read_bytes(), THUMBNAIL_SIDE, predictor.limits)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return Response(buffer.getvalue(), content_type="image/jpeg")


@pieces.get("/assets/vega.js")
@open_to_all
def vega_script() -> Response:
    """Return the script that draws charts; `?v=` names its contents, so a browser keeps it for good."""
    is_compressed = request.accept_encodings.quality("gzip") > 0
    script = vega.script_file(compressed=is_compressed)
    response = send_file(script, mimetype="text/javascript", conditional=True)
    if is_compressed:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = FOREVER if request.args.get("v") == vega.script_digest() else BRIEFLY
    return response


@pieces.get("/tabs/visualizations/pictures")
@open_to_all
def gallery() -> str:
    """Show the pictures of a cell alone, for the page's script."""
    predictor = live_model().predictor
    return render_template("tabs/pictures.html", **_gallery(predictor))


def tab_context() -> dict[str, Any]:
    """Give what the template of the tab shows."""
    if not live_model().is_ready:
        return {}
    predictor, problem = live_model().predictor, None
    try:
        figures, gallery, script = _figures(predictor), _gallery(predictor), vega.script_digest()
    except ChartError as error:  # what the version's metadata says can be shown all the same
        _log.error("Charts are incomplete: %s", error)
        problem = without_paths(str(error), current_settings())
        figures, gallery, script = (
            Figures.of_version(predictor.version.metadata, None, server_status().statistics()),
            {},
            "",
        )
    return {
        "chart_problem": problem,
        "tables": fill(figures),
        "matrix": _matrix(figures),
        "keys": predictor.keys,
        "names": predictor.names,
        "insights": insights(figures),
        "rows_listed": ROWS_LISTED,
        "vega": url_for("pieces.vega_script", v=script),
        **gallery,
    }


CONTEXTS["visualizations"] = tab_context


def _assessment(predictor: Predictor) -> Assessment:
    assessments: Assessments = current_app.extensions["catdog_assessments"]
    try:
        return assessments.get(predictor.version)
    except CatdogError as error:
        raise ChartError(f"Version {predictor.version.number} cannot be assessed: {error}") from error


def _figures(predictor: Predictor) -> Figures:
    return Figures.of_version(predictor.version.metadata, _assessment(predictor), server_status().statistics())


def _chart(name: str) -> Chart:
    """Return a chart with its rows; NotFound if there is no such chart."""
    if name not in CHARTS:
        raise NotFound
    return CHARTS[name].fill(_figures(live_model().predictor))


def _matrix(figures: Figures) -> list[list[tuple[int, float]]]:
    """Give each cell's count and its share of its row."""
    matrix = figures.metrics.get("confusion_matrix", ())
    return [[(count, count / max(sum(counts), 1)) for count in counts] for counts in matrix]


def _cell(predictor: Predictor) -> tuple[int, int] | None:
    """Read which cell is asked for; None where none is. PictureNotFoundError where there is no such cell."""
    wanted = request.args.get("true"), request.args.get("answered")
    if wanted == (None, None):
        return None
    numbers = [match_class(name or "", predictor.version.classes) for name in wanted]
    true, answered = numbers
    if true is None or answered is None:
        known, received = ", ".join(predictor.keys), ", ".join((name or "nothing")[:100] for name in wanted)
        raise PictureNotFoundError(f"`true` and `answered` must both be among {known}. Received: {received}")
    return true, answered


def _pictures(predictor: Predictor, cell: tuple[int, int] | None) -> list[Document]:
    found = _assessment(predictor).get("examples", ())
    if cell is None:
        chosen = [example for example in found if example["true"] != example["answered"]]
        chosen.sort(key=lambda example: -max(example["probabilities"]))
    else:
        chosen = [example for example in found if (example["true"], example["answered"]) == cell]
    return [_describe(example, predictor) for example in chosen[:MISTAKES_SHOWN]]


def _describe(example: Mapping[str, Any], predictor: Predictor) -> Document:
    is_there = _find(example["path"], predictor) is not None
    return {
        "name": PurePath(example["path"]).name,
        "sha256": example["sha256"],
        "true": predictor.names[example["true"]],
        "answered": predictor.names[example["answered"]],
        "confidence": max(example["probabilities"]),
        "probabilities": dict(zip(predictor.keys, example["probabilities"], strict=True)),
        "file": url_for("charts.picture", sha256=example["sha256"]) if is_there else None,
    }


def _gallery(predictor: Predictor) -> dict[str, Any]:
    """Give what the template of the pictures shows: those of the cell in the address, else the mistakes."""
    try:
        cell = _cell(predictor)
    except PictureNotFoundError:  # the page shows something all the same
        cell = None
    return {
        "pictures": _pictures(predictor, cell),
        "cell": cell and [predictor.names[class_id] for class_id in cell],
        "may_see": may_change(current_settings()),
    }


def _find(path: str, predictor: Predictor) -> Path | None:
    """Find the file of a test picture by its path: under data/, or where the data lay; None where it is not."""
    roots = [current_settings().data_dir]
    if where := predictor.version.data_root:
        roots.append(Path(where))
    for root in roots:
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # links in a circle; a name that can't be one
            found, most = (root / path).resolve(), current_settings().max_picture_bytes
            is_inside = found.is_relative_to(root.resolve())
            if path and is_inside and found.is_file() and found.stat().st_size <= most:
                return found
    return None
