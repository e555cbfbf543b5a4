"""Charts of a version's data set."""

from typing import Final

from catdog.data.labels import display_name
from catdog.evaluation.charts.chart import Chart, Insight, category, joined, percent, percents, quantity
from catdog.evaluation.charts.figures import SPLITS, Figures, Row
from catdog.text import counted

BALANCED: Final = 1.5
"""Ratio of the largest class to the smallest up to which classes count as balanced."""

_EMPTY: Final = "This version has no record of its training data. Train again to get one."


def _counts(figures: Figures) -> list[Row]:
    return [
        {"split": SPLITS[split], "class": display_name(name), "pictures": counts.get(name, 0)}
        for split, counts in figures.counts.items()
        if split in SPLITS and any(counts.values())
        for name in figures.classes
    ]


def _shares(figures: Figures) -> list[Row]:
    rows = [row for row in _counts(figures) if row["split"] in ("training", "test")]
    sums: dict[str, int] = {}
    for row in rows:
        sums[row["split"]] = sums.get(row["split"], 0) + row["pictures"]
    return [{**row, "share": row["pictures"] / sums[row["split"]]} for row in rows]


def _is_balanced(figures: Figures) -> Insight:
    counts = figures.counts.get("train", {})
    if not sum(counts.values()):
        return Insight("Balance", "This version has no record of its training images.", True)
    sizes = {name: counts.get(folder, 0) for folder, name in zip(figures.classes, figures.names, strict=True)}
    least, most = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
    if not sizes[least]:
        return Insight("Balance", f"{least} has no training images, so the model can't learn it.", True)
    total, ratio = sum(sizes.values()), sizes[most] / sizes[least]
    shares = joined([f"{percent(n / total)} {name}" for name, n in sizes.items()])
    verdict = (
        "The classes are balanced."
        if ratio <= BALANCED
        else f"{most} has {ratio:.1f} times as many as {least}; more images of {least} would help most."
    )
    return Insight("Balance", f"{counted(total, 'training image')}: {shares}. {verdict}", ratio > BALANCED)


_SPLIT_ORDER: Final = ["training", "test"]
_BARS: Final = {
    "x": quantity("share", title="share of the images", axis={"format": "%"}, scale={"domain": [0, 1]}),
    "y": category("class", title=None),
    "yOffset": category("split", sort=_SPLIT_ORDER),
}

DATASET: Final = Chart(
    name="dataset",
    title="Images in the data set",
    about="Images per class in each split.",
    columns={"split": "Split", "class": "Class", "pictures": "Images"},
    empty=_EMPTY,
    find=_counts,
    drawing={
        "mark": {"type": "bar"},
        "encoding": {
            "x": category("split", title=None, sort=list(SPLITS.values()), axis={"labelAngle": 0}),
            "xOffset": category("class"),
            "y": quantity("pictures", title="images"),
            "color": category("class", title=None),
            "tooltip": [category("split"), category("class"), quantity("pictures", title="images")],
        },
    },
)

BALANCE: Final = Chart(
    name="balance",
    title="Class balance",
    about="Share of each class. Training and test images should have similar shares.",
    columns={"split": "Split", "class": "Class", "share": "Share", "pictures": "Images"},
    empty=_EMPTY,
    find=_shares,
    sentence=_is_balanced,
    in_percent=("share",),
    drawing={
        "layer": [
            {
                "mark": {"type": "bar"},
                "encoding": {
                    **_BARS,
                    "color": category("split", title=None, sort=_SPLIT_ORDER),
                    "tooltip": [
                        category("split"),
                        category("class"),
                        quantity("pictures", title="images"),
                        *percents("share", 1),
                    ],
                },
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 5},
                "encoding": {**_BARS, "text": quantity("share", format=".1%")},
            },
        ]
    },
)
