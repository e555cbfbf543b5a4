"""The evaluation report, a self-contained HTML file."""

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from catdog.data.images.pixels import decode, encode, read_picture
from catdog.data.labels import display_name
from catdog.errors import PictureError
from catdog.evaluation.charts import vega
from catdog.evaluation.charts.catalog import PAPER, fill, insights
from catdog.evaluation.charts.figures import Figures
from catdog.evaluation.diagnostics import assess
from catdog.evaluation.measure import Mistake
from catdog.evaluation.metrics import calibration_bins
from catdog.storage.files import write_atomically

THUMBNAIL: Final = 128
MISTAKES_SHOWN: Final = 24
AS_TABLES: Final = ("confusion",)
"""Charts that the template shows as tables."""


def write_report(
    path: Path,
    *,
    title: str,
    classes: Sequence[str],
    metrics: Mapping[str, Any],
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    mistakes: Sequence[Mistake],
    facts: Mapping[str, Any],
    made_from: Mapping[str, Any] | None = None,
) -> None:
    """Write the report of an evaluation.

    Args:
        path: the HTML file.
        title: its heading.
        classes: C folder names.
        metrics: from `metrics.compute_metrics`.
        probabilities: `(N, C)`.
        labels: `(N,)` in [0, C).
        mistakes: most confident first; the first 24 are shown as thumbnails.
        facts: more details, name -> value or table.
        made_from: `metadata.json` of the version, for charts of its data and training.
    """
    environment = Environment(
        loader=PackageLoader("catdog.evaluation"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["percent"] = lambda share: f"{100 * share:.2f} %"
    assessment = assess(probabilities, labels, [("", "")] * len(labels))
    figures = Figures.of_version({**(made_from or {}), "classes": classes, "metrics": metrics}, assessment)
    charts = [chart for chart in fill(figures) if chart.rows and chart.name not in AS_TABLES]
    matrix = np.array(metrics["confusion_matrix"])
    page = environment.get_template("report.html").render(
        title=title,
        made_at=datetime.now(UTC),
        names=[display_name(name) for name in classes],
        metrics=metrics,
        matrix=matrix.tolist(),
        row_sums=np.maximum(matrix.sum(axis=1), 1).tolist(),
        bins=calibration_bins(probabilities, labels),
        mistakes=[(mistake, _thumbnail(mistake.path)) for mistake in mistakes[:MISTAKES_SHOWN]],
        insights=insights(figures),
        charts=charts,
        specifications=[{**chart.specification(config=PAPER), "name": chart.name} for chart in charts],
        vega=vega.script_file().read_text(encoding="utf-8"),
        facts=facts,
    )
    write_atomically(path, page.encode())


def _thumbnail(path: str) -> str:
    """Return a thumbnail as a data URL; empty if the image can't be read."""
    try:
        pixels = decode(read_picture(path), THUMBNAIL)
    except PictureError:
        return ""
    data = encode(Image.fromarray(pixels), "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()
