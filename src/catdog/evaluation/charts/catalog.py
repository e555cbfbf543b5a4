"""All charts, in order, as shown on the page, in the HTML report and in the notebook."""

from typing import Any, Final

from catdog.evaluation.charts.chart import Chart, Insight
from catdog.evaluation.charts.confidence import CONFIDENCE, RELIABILITY
from catdog.evaluation.charts.data import BALANCE, DATASET
from catdog.evaluation.charts.figures import Figures
from catdog.evaluation.charts.history import LEARNING, LOSS, VERSIONS
from catdog.evaluation.charts.quality import CONFUSION, METRICS, PRECISION_RECALL, ROC
from catdog.evaluation.charts.serving import ACTIVITY, DRIFT

CHARTS: Final = {
    chart.name: chart
    for chart in (
        DATASET, BALANCE, METRICS, CONFUSION, ROC, PRECISION_RECALL, RELIABILITY, CONFIDENCE, LOSS, LEARNING, VERSIONS,
        ACTIVITY, DRIFT,
    )
}  # fmt: skip

WIDTH: Final = 420
"""Width in pixels outside a container."""

PAPER: Final[dict[str, Any]] = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {"gridOpacity": 0.25, "domainOpacity": 0.5, "labelSeparation": 8, "titleFontWeight": "normal"},
    "range": {
        "category": ["#c25a12", "#2463a6", "#16786a", "#8a4fa3", "#8a6d1a", "#68707a"],
        "heatmap": ["#e7ecfb", "#2b4fc0"],
    },
    "mark": {"color": "#2b4fc0"},
    "rule": {"color": "#8a8f98"},
    "text": {"color": "#68707a"},
    "legend": {"orient": "top", "title": None},
}
"""Colours for reports and files, distinguishable in grey; the page has its own, light and dark."""


def fill(figures: Figures) -> list[Chart]:
    """Return every chart with its rows."""
    return [chart.fill(figures) for chart in CHARTS.values()]


def insights(figures: Figures) -> list[Insight]:
    """Return the key findings, chart by chart; some charts have none."""
    found = (chart.sentence(figures) for chart in CHARTS.values())
    return [insight for insight in found if insight is not None]
