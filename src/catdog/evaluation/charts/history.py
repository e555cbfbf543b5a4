"""Charts of a version's training, and of accuracy by version."""

from collections.abc import Callable
from typing import Final

from catdog.evaluation.charts.chart import (
    Chart,
    Insight,
    Spec,
    category,
    colour_and_dash,
    percent,
    percents,
    quantity,
    share,
)
from catdog.evaluation.charts.figures import Figures, Row
from catdog.evaluation.charts.quality import INTERVAL

_COLUMNS: Final = {"epoch": "Epoch", "pictures": "Images", "value": "Value"}
_EMPTY: Final = "This version has no record of its epochs. Train again to get one."


def _epochs(measure: str) -> Callable[[Figures], list[Row]]:
    """Return a function that finds a measure by epoch, on training and validation images."""

    def find(figures: Figures) -> list[Row]:
        return [
            {"epoch": epoch, "pictures": pictures, "value": found[key]}
            for key, pictures in ((measure, "training"), (f"val_{measure}", "validation"))
            for epoch, found in enumerate(figures.history, 1)
            if key in found
        ]

    return find


def _best_epoch(figures: Figures) -> Insight | None:
    losses = [loss for epoch in figures.history if (loss := epoch.get("val_loss")) is not None]
    if not losses:
        return None
    best = losses.index(min(losses))
    text = f"The validation loss was lowest in epoch {best + 1} of {len(losses)}, which was kept."
    if len(losses) > 1 and best == len(losses) - 1:
        return Insight("Learning", f"{text} It was still falling: try more epochs.", True)
    return Insight("Learning", text)


def _versions(figures: Figures) -> list[Row]:
    return [
        {
            "version": found["version"],
            "accuracy": found["accuracy"],
            "low": found["accuracy_ci"][0],
            "high": found["accuracy_ci"][1],
            "n": found["n"],
            "created_at": found["created_at"],
        }
        for found in figures.stats.get("versions", ())
    ]


def _best_version(figures: Figures) -> Insight | None:
    rows = figures.stats.get("versions", ())
    if len(rows) < 2:
        return None
    best, newest = max(rows, key=lambda row: row["accuracy"]), rows[-1]
    low, high = newest["accuracy_ci"]
    text = f"Of {len(rows)} versions, v{best['version']} has the best accuracy ({percent(best['accuracy'])})"
    if best["version"] == newest["version"]:
        return Insight("Versions", f"{text} and is the newest.")
    differs = not low <= best["accuracy"] <= high
    place = "outside" if differs else "within"
    text += f", {place} the 95\u00a0% interval of the newest, v{newest['version']} ({percent(low)} to {percent(high)})."
    return Insight("Versions", text, differs)


def _line(title: str, number_format: str) -> Spec:
    return {
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": quantity("epoch", title="epoch", axis={"tickMinStep": 1, "format": "d"}, scale={"zero": False}),
            "y": quantity("value", title=title, axis={"format": number_format}, scale={"zero": False}),
            **colour_and_dash("pictures"),
            "tooltip": [quantity("epoch"), category("pictures", title="images"), quantity("value", format=".4f")],
        },
    }


LOSS: Final = Chart(
    name="loss",
    title="Loss by epoch",
    about="Lower is better. If validation loss rises while training loss falls, the model overfits.",
    columns=_COLUMNS,
    empty=_EMPTY,
    find=_epochs("loss"),
    sentence=_best_epoch,
    drawing=_line("cross-entropy", ".3"),
)

LEARNING: Final = Chart(
    name="learning",
    title="Accuracy by epoch",
    about="On training images, and on the validation images that choose the best epoch.",
    columns=_COLUMNS,
    empty=_EMPTY,
    find=_epochs("accuracy"),
    in_percent=("value",),
    drawing=_line("accuracy", ".1%"),
)

_VERSION: Final = {"field": "version", "type": "ordinal"}
_ACROSS: Final = {**_VERSION, "title": "version", "axis": {"labelAngle": 0}}

VERSIONS: Final = Chart(
    name="versions",
    title="Accuracy by version",
    about="Each version on its own test images. Overlapping intervals mean no clear difference.",
    columns={"version": "Version", "accuracy": "Accuracy", **INTERVAL, "n": "Images", "created_at": "Created (UTC)"},
    empty="No version with test results yet. Train one.",
    find=_versions,
    sentence=_best_version,
    in_percent=("accuracy", *INTERVAL),
    drawing={
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"x": _ACROSS, "y": share("low", "accuracy", zero=False), "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
                "encoding": {
                    "x": _ACROSS,
                    "y": quantity("accuracy"),
                    "tooltip": [_VERSION, quantity("n"), *percents("accuracy low high", 2)],
                },
            },
        ]
    },
)
