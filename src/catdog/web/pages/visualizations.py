"""The tab "Visualizations", the images of a cell for its script, and the script that draws charts."""

import logging
from typing import Any, Final

from flask import Blueprint, Response, render_template, request, send_file, url_for

from catdog.errors import ChartError, PictureNotFoundError
from catdog.evaluation.charts import vega
from catdog.evaluation.charts.catalog import fill, insights
from catdog.evaluation.charts.figures import Figures
from catdog.prediction.predictor import Predictor
from catdog.web.api.charts import figures_of, list_images, read_cell
from catdog.web.pages.assets import BRIEFLY, FOREVER
from catdog.web.pages.pages import CONTEXTS
from catdog.web.problems import without_paths
from catdog.web.security.access import may_change
from catdog.web.security.permissions import open_to_all
from catdog.web.service import current_settings, live_model, server_status

ROWS_LISTED: Final = 40
"""Maximum rows of a table on the page; the CSV file has all."""

visualizations = Blueprint("visualizations", __name__)
_log = logging.getLogger(__name__)


@visualizations.get("/assets/vega.js")
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


@visualizations.get("/tabs/visualizations/pictures")
@open_to_all
def gallery() -> str:
    """Return the images of a cell, for the page's script."""
    predictor = live_model().predictor
    return render_template("tabs/images.html", **_gallery(predictor))


def tab_context() -> dict[str, Any]:
    """Return the context of the tab's template."""
    if not live_model().is_ready:
        return {}
    predictor, problem = live_model().predictor, None
    try:
        figures, gallery, script = figures_of(predictor), _gallery(predictor), vega.script_digest()
    except ChartError as error:  # show what the version's metadata has
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
        "names": predictor.names,  # the gallery may be missing
        "insights": insights(figures),
        "rows_listed": ROWS_LISTED,
        "vega": url_for("visualizations.vega_script", v=script),
        **gallery,
    }


CONTEXTS["visualizations"] = tab_context


def _matrix(figures: Figures) -> list[list[tuple[int, float]]]:
    """Return each cell's count and its share of the row."""
    matrix = figures.metrics.get("confusion_matrix", ())
    return [[(count, count / max(sum(counts), 1)) for count in counts] for counts in matrix]


def _gallery(predictor: Predictor) -> dict[str, Any]:
    """Return the context of the images' template: those of the cell in the query, or the mistakes."""
    try:
        cell = read_cell(predictor, request.args)
    except PictureNotFoundError:  # show the mistakes instead
        cell = None
    return {
        "names": predictor.names,
        "images": list_images(predictor, cell),
        "cell": cell and [predictor.names[class_id] for class_id in cell],
        "may_see": may_change(current_settings()),
    }
