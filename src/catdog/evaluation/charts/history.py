"""Charts of how a version learned, and of versions one after another."""

from collections.abc import Callable
from typing import Final

from catdog.evaluation.charts.chart import (
    Chart,
    Insight,
    Spec,
    category,
    percent,
    percents,
    quantity,
    share,
    told_apart,
)
from catdog.evaluation.charts.figures import Figures, Row
from catdog.evaluation.charts.quality import INTERVAL

_COLUMNS: Final = {"epoch": "Epoch", "pictures": "Pictures", "value": "Value"}
_EMPTY: Final = "This version keeps no figures of its epochs. A new training does."


def _epochs(measure: str) -> Callable[[Figures], list[Row]]:
    """Return what finds a measure by epoch, on training and on validation images."""

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
    text = f"The validation loss was lowest in epoch {best + 1} of {len(losses)}, and that epoch is kept."
    if len(losses) > 1 and best == len(losses) - 1:
        return Insight("Learning", f"{text} It was still falling: more epochs may help.", True)
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
    text = f"Of {len(rows)} versions, {best['version']} measured best ({percent(best['accuracy'])})"
    if best["version"] == newest["version"]:
        return Insight("Versions", f"{text}; it is the newest.")
    apart = not low <= best["accuracy"] <= high
    meaning = "outside" if apart else "within"
    text += f"; that is {meaning} the interval of the newest, {newest['version']} ({percent(low)} to {percent(high)})."
    return Insight("Versions", text, apart)


def _line(title: str, number_format: str) -> Spec:
    return {
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": quantity("epoch", title="epoch", axis={"tickMinStep": 1, "format": "d"}, scale={"zero": False}),
            "y": quantity("value", title=title, axis={"format": number_format}, scale={"zero": False}),
            **told_apart("pictures"),
            "tooltip": [quantity("epoch"), category("pictures"), quantity("value", format=".4f")],
        },
    }


LOSS: Final = Chart(
    name="loss",
    title="How it learned: loss",
    about="By epoch, less is better. Validation rising while training falls is overfitting.",
    columns=_COLUMNS,
    empty=_EMPTY,
    find=_epochs("loss"),
    sentence=_best_epoch,
    drawing=_line("cross-entropy", ".3"),
)

LEARNING: Final = Chart(
    name="learning",
    title="How it learned: accuracy",
    about="By epoch, on the training pictures and on those that choose the epoch.",
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
    title="Accuracy over versions",
    about="Each on the test pictures that it had. Intervals that overlap say little.",
    columns={"version": "Version", "accuracy": "Accuracy", **INTERVAL, "n": "Pictures", "created_at": "Made at (UTC)"},
    empty="There is no measured version. Train one.",
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
