"""Routes of charts, their rows, and the test images behind them."""

import contextlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any, Final

from apiflask import APIBlueprint, APIFlask
from flask import Response, current_app, url_for
from werkzeug.exceptions import NotFound

from catdog.data.images.pixels import encode_thumbnail
from catdog.data.labels import match_class
from catdog.errors import CatdogError, ChartError, PictureNotFoundError
from catdog.evaluation.charts.catalog import CHARTS, PAPER, fill, insights
from catdog.evaluation.charts.chart import Chart
from catdog.evaluation.charts.figures import Figures
from catdog.evaluation.diagnostics import Assessment, Assessments
from catdog.prediction.predictor import Predictor
from catdog.storage.files import file_sha256
from catdog.web.api import charts_schemas as shapes
from catdog.web.api.predict import Document
from catdog.web.schemas import KEYS, THUMBNAIL, problems
from catdog.web.security.permissions import needs_permission, open_to_all
from catdog.web.service import current_settings, live_model, server_status

MISTAKES_SHOWN: Final = 24

charts = APIBlueprint("charts", __name__, tag="Charts", url_prefix="/api/charts")


def install(app: APIFlask) -> None:
    """Register the routes, which share one assessment."""
    app.extensions["catdog_assessments"] = Assessments()
    app.register_blueprint(charts)


@charts.get("")
@charts.doc(responses=problems(503))
@charts.output(shapes.Charts)
@open_to_all
def list_charts() -> Document:
    """List the charts of the model in use, and its key findings."""
    predictor = live_model().predictor
    figures = figures_of(predictor)
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
    """Return a chart as a Vega-Lite specification with its data, as wide as its container, for a white background."""
    return _chart(name).specification(config=PAPER)


@charts.get("/<name>.csv")
@charts.doc(responses={200: shapes.CSV, **problems(404, 503)})
@open_to_all
def rows(name: str) -> Response:
    """Return the rows of a chart as CSV."""
    return Response(_chart(name).as_csv(), content_type="text/csv; charset=utf-8")


@charts.get("/pictures")
@charts.doc(responses=problems(404, 503))
@charts.input(shapes.Cell, location="query", arg_name="cell")
@charts.output(shapes.Pictures)
@open_to_all
def images(cell: Mapping[str, str]) -> Document:
    """List test images: those in a cell of the confusion matrix (`true` and `answered`), or all mistakes."""
    predictor = live_model().predictor
    return {"pictures": list_images(predictor, read_cell(predictor, cell))}


@charts.get("/pictures/<sha256>")
@charts.doc(responses=problems(401, 403, 404, 415, 422, 503), security=KEYS)
@charts.output(THUMBNAIL, content_type="image/jpeg")
@needs_permission
def image(sha256: str) -> Response:
    """Return a listed test image as a JPEG of at most 320 by 320 pixels, if its file is still there."""
    predictor = live_model().predictor
    paths = [found["path"] for found in _assessment(predictor).get("examples", ()) if found["sha256"] == sha256]
    path = _find(paths[0], predictor) if paths else None
    if path is None or file_sha256(path) != sha256:
        raise PictureNotFoundError(
            f"No test image of version {predictor.version.number} with the hash {sha256[:64]!r}, or its file has moved "
            "or changed. See /api/charts/pictures for the images."
        )
    return Response(encode_thumbnail(path.read_bytes(), predictor.limits), content_type="image/jpeg")


def _assessment(predictor: Predictor) -> Assessment:
    assessments: Assessments = current_app.extensions["catdog_assessments"]
    try:
        return assessments.get(predictor.version)
    except CatdogError as error:
        raise ChartError(f"Version {predictor.version.number} can't be assessed: {error}") from error


def figures_of(predictor: Predictor) -> Figures:
    """Return the figures of a version and of this server.

    Raises:
        ChartError: the version can't be assessed.
    """
    return Figures.of_version(predictor.version.metadata, _assessment(predictor), server_status().statistics())


def _chart(name: str) -> Chart:
    """Return a chart with its rows.

    Raises:
        NotFound: there is no such chart.
    """
    if name not in CHARTS:
        raise NotFound
    return CHARTS[name].fill(figures_of(live_model().predictor))


def read_cell(predictor: Predictor, query: Mapping[str, str]) -> tuple[int, int] | None:
    """Return the cell in the query, as true and predicted class; None if there is none.

    Raises:
        PictureNotFoundError: there is no such cell.
    """
    wanted = query.get("true"), query.get("answered")
    if wanted == (None, None):
        return None
    true, predicted = (match_class(name or "", predictor.version.classes) for name in wanted)
    if true is None or predicted is None:
        known, given = ", ".join(predictor.keys), " and ".join(repr((name or "")[:100]) for name in wanted)
        raise PictureNotFoundError(f"`true` and `answered` must both be one of {known}, not {given}.")
    return true, predicted


def list_images(predictor: Predictor, cell: tuple[int, int] | None) -> list[Document]:
    """Describe the test images in a cell; without a cell, the most confident mistakes."""
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
        "file": url_for("charts.image", sha256=example["sha256"]) if is_there else None,
    }


def _find(path: str, predictor: Predictor) -> Path | None:
    """Return the file of a test image, in the data folder or where the version was trained; None if it is gone."""
    roots = [current_settings().data_dir]
    if where := predictor.version.data_root:
        roots.append(Path(where))
    for root in roots:
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # a loop of links; an invalid name
            found, most = (root / path).resolve(), current_settings().max_picture_bytes
            is_inside = found.is_relative_to(root.resolve())
            if path and is_inside and found.is_file() and found.stat().st_size <= most:
                return found
    return None
