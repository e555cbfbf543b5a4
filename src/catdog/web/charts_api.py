"""The routes of the charts, the pictures behind them, and the script that draws them; and what the tab is given."""

import contextlib
import io
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any, Final, cast

from apiflask import APIBlueprint, APIFlask
from flask import Blueprint, Response, current_app, render_template, request, send_file, url_for
from PIL import Image
from werkzeug.exceptions import NotFound

from catdog.assessment import Assessment
from catdog.chart_files import ChartFiles
from catdog.charts import PAPER, fill
from catdog.errors import ChartError, PictureNotFoundError
from catdog.figures import NAMES, Figures, Table, tables
from catdog.files import file_sha256
from catdog.insights import insights
from catdog.labels import match_class
from catdog.prediction import Predictor
from catdog.preprocessing import decode_upright
from catdog.settings import Settings
from catdog.web import charts_schemas as shapes
from catdog.web.access import may_change
from catdog.web.api import Document, service
from catdog.web.assets import BRIEFLY, FOREVER
from catdog.web.collect_schemas import THUMBNAIL, problems
from catdog.web.pages import CONTEXTS
from catdog.web.permissions import needs_permission, open_to_all
from catdog.web.problems import without_paths
from catdog.web.schemas import KEYS, answers

MISTAKES_SHOWN: Final = 24
ROWS_LISTED: Final = 40
"""Most rows of a table on the page; the CSV file has all."""

THUMBNAIL_SIDE: Final = 320

charts = APIBlueprint("charts", __name__, tag="Charts", url_prefix="/api/charts")
pieces = Blueprint("pieces", __name__)
_log = logging.getLogger(__name__)


def chart_files() -> ChartFiles:
    """Give the files of the app that handles this request."""
    return cast(ChartFiles, current_app.extensions["catdog_charts"])


def install(app: APIFlask, settings: Settings) -> None:
    """Give an app the routes."""
    app.extensions["catdog_charts"] = ChartFiles(settings.cache_dir)
    app.register_blueprint(charts)
    app.register_blueprint(pieces)


@charts.get("")
@charts.doc(responses=answers(shapes.Charts, 503))
@open_to_all
def listed() -> Document:
    """List the charts of the version that answers, and say in sentences what the numbers say."""
    predictor = service().predictor
    figures = _figures(predictor)
    return {
        "version": predictor.version.number,
        "charts": [
            {"name": t.name, "title": t.title, "about": t.about, "rows": len(t.rows), "empty": t.empty}
            for t in tables(figures)
        ],
        "insights": [asdict(insight) for insight in insights(figures)],
    }


@charts.get("/<name>")
@charts.doc(responses={200: shapes.SPECIFICATION, **problems(404, 503)})
@open_to_all
def specification(name: str) -> Document:
    """Give a chart as a Vega-Lite specification with its data, as wide as its place, in colours for white paper."""
    table = _table(name)
    return fill(chart_files().specifications()[table.name], table, config=PAPER)


@charts.get("/<name>.csv")
@charts.doc(responses={200: shapes.CSV, **problems(404, 503)})
@open_to_all
def rows(name: str) -> Response:
    """Give the rows of a chart as CSV."""
    return Response(_table(name).as_csv(), content_type="text/csv; charset=utf-8")


@charts.get("/pictures")
@charts.doc(responses=answers(shapes.Pictures, 404, 503))
@open_to_all
def pictures() -> Document:
    """List test pictures: those of a cell of the confusion matrix, by `true` and `answered`; else the mistakes."""
    predictor = service().predictor
    return {"pictures": _pictures(predictor, _cell(predictor))}


@charts.get("/pictures/<sha256>")
@charts.doc(responses={200: THUMBNAIL, **problems(401, 403, 404, 415, 422, 503)}, security=KEYS)
@needs_permission
def picture(sha256: str) -> Response:
    """Show a test picture that is listed and still there: a JPEG of at most 320 pixels a side."""
    predictor = service().predictor
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
def vega() -> Response:
    """Give the script that draws charts, made at the first request; `?v=` names it, so that it is kept for good."""
    files = chart_files()
    is_compressed = request.accept_encodings.quality("gzip") > 0
    response = send_file(files.bundle(compressed=is_compressed), mimetype="text/javascript", conditional=True)
    if is_compressed:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = FOREVER if request.args.get("v") == files.key else BRIEFLY
    return response


@pieces.get("/tabs/visualizations/pictures")
@open_to_all
def gallery() -> str:
    """Show the pictures of a cell alone, for the page's script."""
    predictor = service().predictor
    return render_template("tabs/pictures.html", **_gallery(predictor))


def tab_context() -> dict[str, Any]:
    """Give what the template of the tab shows."""
    if not service().is_ready:
        return {}
    predictor, problem = service().predictor, None
    try:
        figures, gallery = _figures(predictor), _gallery(predictor)
    except ChartError as error:  # what needs no computing can be shown all the same
        _log.error("The assessment of version %d is missing: %s", predictor.version.number, error)
        problem = without_paths(str(error), service().settings)
        figures, gallery = Figures.of_version(predictor.version.metadata, None, service().stats()), {}
    return {
        "chart_problem": problem,
        "tables": tables(figures),
        "matrix": _matrix(figures),
        "keys": predictor.keys,
        "names": predictor.names,
        "insights": insights(figures),
        "rows_listed": ROWS_LISTED,
        "vega": url_for("pieces.vega", v=chart_files().key),
        **gallery,
    }


CONTEXTS["visualizations"] = tab_context


def _assessment(predictor: Predictor) -> Assessment:
    return chart_files().assessment(predictor.version) or {}


def _figures(predictor: Predictor) -> Figures:
    return Figures.of_version(predictor.version.metadata, _assessment(predictor), service().stats())


def _table(name: str) -> Table:
    """Find a chart's table; NotFound where there is no such chart."""
    if name not in NAMES:
        raise NotFound
    return next(table for table in tables(_figures(service().predictor)) if table.name == name)


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
        "may_see": may_change(service().settings),
    }


def _find(path: str, predictor: Predictor) -> Path | None:
    """Find the file of a test picture by its path: under data/, or where the data lay; None where it is not."""
    roots = [service().settings.data_dir]
    if where := predictor.version.data_root:
        roots.append(Path(where))
    for root in roots:
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # links in a circle; a name that can't be one
            found, most = (root / path).resolve(), service().settings.max_picture_bytes
            is_inside = found.is_relative_to(root.resolve())
            if path and is_inside and found.is_file() and found.stat().st_size <= most:
                return found
    return None
