"""Charts of a version's predictions on its test images: metrics, confusion, curves."""

from collections.abc import Callable
from typing import Final

from catdog.evaluation.charts.chart import (
    DIAGONAL,
    Chart,
    Insight,
    Spec,
    category,
    colour_and_dash,
    joined,
    percent,
    percents,
    quantity,
    share,
)
from catdog.evaluation.charts.figures import Figures, Row
from catdog.text import counted

MIN_IMAGES: Final = 100
"""Minimum images for a finding; with fewer, the interval of a high accuracy is wider than 7 points."""

UNMEASURED: Final = "This version has no test results. Train again to get some."
INTERVAL: Final = {"low": "95 % from", "high": "95 % to"}
_RATES: Final = {"precision": "Precision", "recall": "Recall"}


def _metrics(figures: Figures) -> list[Row]:
    metrics = figures.metrics
    if not metrics:
        return []
    low, high = metrics["accuracy_ci"]
    rows = [{"of": "all", "measure": "Accuracy", "value": metrics["accuracy"], "low": low, "high": high}]
    for rate in figures.assessment.get("rates", ()):
        name = figures.names[rate["class"]]
        found = {key: rate[key] for key in ("value", "low", "high")}
        rows.append({"of": name, "measure": f"{_RATES[rate['measure']]}, {name}", **found})
    return rows


def _how_accurate(figures: Figures) -> Insight:
    metrics = figures.metrics
    if not metrics.get("n"):
        return Insight("Accuracy", "There are no test images, so accuracy is unknown.", True)
    low, high = metrics["accuracy_ci"]
    text = (
        f"Accuracy is {percent(metrics['accuracy'])} on {counted(metrics['n'], 'test image')}; expect "
        f"{percent(low)} to {percent(high)} on similar images (95\u00a0% interval)."
    )
    matrix = metrics.get("confusion_matrix", ())
    untested = [name for name, counts in zip(figures.names, matrix, strict=False) if not sum(counts)]
    if untested:
        return Insight("Accuracy", f"{text} No test images of {joined(untested)}.", True)
    if metrics["n"] < MIN_IMAGES:
        return Insight("Accuracy", f"{text} More test images would narrow the interval.", True)
    return Insight("Accuracy", text)


def _confusion(figures: Figures) -> list[Row]:
    matrix = figures.metrics.get("confusion_matrix", ())
    return [
        {"true": true, "answered": answered, "pictures": count, "share": count / sum(counts) if sum(counts) else None}
        for true, counts in zip(figures.names, matrix, strict=False)
        for answered, count in zip(figures.names, counts, strict=True)
    ]


def _most_confused(figures: Figures) -> Insight | None:
    matrix = figures.metrics.get("confusion_matrix")
    if not matrix:
        return None
    cells = [
        (count, sum(row), figures.names[true], figures.names[answered])
        for true, row in enumerate(matrix)
        for answered, count in enumerate(row)
        if true != answered and count
    ]
    if not cells:
        return Insight("Mistakes", f"No mistakes on {counted(sum(map(sum, matrix)), 'test image')}.")
    total = sum(cell[0] for cell in cells)
    count, of, true, answered = max(cells, key=lambda cell: (cell[0], cell[0] / cell[1]))
    if len(cells) > 1 and all(cell[0] == count for cell in cells):
        return Insight("Mistakes", f"{total:,} mistakes, spread evenly over the classes.")
    return Insight(
        "Mistakes",
        f"Most often, {true} is confused with {answered}: {count:,} of {of:,} ({percent(count / of)}), out of "
        f"{counted(total, 'mistake')}.",
    )


def _curve(key: str, x: str, y: str) -> Callable[[Figures], list[Row]]:
    """Return a function that finds the points of a curve by class, as `x` and `y`."""

    def find(figures: Figures) -> list[Row]:
        return [
            {"class": name, "order": order, x: across, y: up}
            for name, curve in zip(figures.names, figures.assessment.get(key, ()), strict=False)
            if curve
            for order, (across, up) in enumerate(curve["points"])
        ]

    return find


def _line(x: str, y: str) -> Spec:
    """Return the drawing of a curve by class."""
    return {
        "mark": {"type": "line", "strokeWidth": 2.5},
        "encoding": {
            **{axis: share(field, field.replace("_rate", " positive rate")) for axis, field in (("x", x), ("y", y))},
            **colour_and_dash("class"),
            "order": quantity("order"),
            "tooltip": [category("class"), *percents(f"{x} {y}", 2)],
        },
    }


_MEASURE: Final = category("measure", title=None, sort=None, axis={"labelLimit": 220})

METRICS: Final = Chart(
    name="metrics",
    title="Metrics",
    about="On the test images. Lines are 95 % intervals; more test images make them shorter.",
    columns={"measure": "Measure", "value": "Value", **INTERVAL},
    empty=UNMEASURED,
    find=_metrics,
    sentence=_how_accurate,
    in_percent=("value", *INTERVAL),
    drawing={
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {
                    "x": share("low", "share, with its 95 % interval", zero=False),
                    "x2": {"field": "high"},
                    "y": _MEASURE,
                },
            },
            {
                "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
                "encoding": {
                    "x": quantity("value"),
                    "y": _MEASURE,
                    "tooltip": [category("measure"), *percents("value low high", 2)],
                },
            },
        ]
    },
)

_CELL: Final = {
    "x": category("answered", title="predicted class", sort=None, axis={"orient": "top", "labelAngle": 0}),
    "y": category("true", title="true class", sort=None),
}
_ON_CELL: Final[Spec] = {
    **_CELL,
    "color": {"condition": {"test": "datum.share > 0.5", "value": "white"}, "value": "black"},
}

CONFUSION: Final = Chart(
    name="confusion",
    title="Confusion matrix",
    about="Rows: true class. Columns: predicted class. Each row sums to 100 %.",
    columns={"true": "True class", "answered": "Predicted", "pictures": "Images", "share": "Share of row"},
    empty=UNMEASURED,
    find=_confusion,
    sentence=_most_confused,
    in_percent=("share",),
    drawing={
        "layer": [
            {
                "mark": {"type": "rect"},
                "encoding": {
                    **_CELL,
                    "color": quantity("share", title="share of row", scale={"domain": [0, 1]}, legend=None),
                    "tooltip": [
                        category("true", title="true class"),
                        category("answered", title="predicted"),
                        quantity("pictures", title="images"),
                        *percents("share", 2),
                    ],
                },
            },
            {
                "mark": {"type": "text", "fontSize": 14, "baseline": "bottom"},
                "encoding": {**_ON_CELL, "text": quantity("pictures")},
            },
            {
                "mark": {"type": "text", "fontSize": 11, "dy": 10},
                "encoding": {**_ON_CELL, "text": quantity("share", format=".1%")},
            },
        ]
    },
)

ROC: Final = Chart(
    name="roc",
    title="ROC curve",
    about="True positives against false positives, by class. The upper left corner is perfect.",
    columns={"class": "Class", "false_rate": "False positive rate", "true_rate": "True positive rate"},
    empty=UNMEASURED,
    find=_curve("roc", "false_rate", "true_rate"),
    in_percent=("false_rate", "true_rate"),
    drawing={"layer": [DIAGONAL, _line("false_rate", "true_rate")]},
)

PRECISION_RECALL: Final = Chart(
    name="precision-recall",
    title="Precision and recall",
    about="Precision at each level of recall, by class.",
    columns={"class": "Class", "recall": "Recall", "precision": "Precision"},
    empty=UNMEASURED,
    find=_curve("precision_recall", "recall", "precision"),
    in_percent=("recall", "precision"),
    drawing=_line("recall", "precision"),
)
