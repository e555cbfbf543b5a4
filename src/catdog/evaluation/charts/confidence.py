"""Charts of a version's confidence."""

from collections.abc import Mapping
from typing import Final

from catdog.evaluation.charts.chart import DIAGONAL, Chart, Insight, category, percent, percents, quantity, share
from catdog.evaluation.charts.figures import Figures, Row
from catdog.evaluation.charts.quality import INTERVAL, MIN_IMAGES, UNMEASURED
from catdog.evaluation.histograms import SHARE_BINS
from catdog.text import counted

CALIBRATED: Final = 0.02
"""Expected calibration error up to which confidence counts as calibrated."""

BIN: Final = {"from": "From", "to": "To"}
_POINT_KEYS: Final = ("from", "to", "n", "confidence", "accuracy", "low", "high")


def _reliability(figures: Figures) -> list[Row]:
    return [{key: found[key] for key in _POINT_KEYS} for found in figures.assessment.get("reliability", ())]


def _is_calibrated(figures: Figures) -> Insight | None:
    bins = figures.assessment.get("reliability")
    if not bins:
        return None
    n = sum(found["n"] for found in bins)
    confidence = sum(found["n"] * found["confidence"] for found in bins) / n
    accuracy = sum(found["n"] * found["accuracy"] for found in bins) / n
    error = sum(found["n"] * abs(found["confidence"] - found["accuracy"]) for found in bins) / n
    text = f"Mean confidence is {percent(confidence)}, accuracy {percent(accuracy)}"
    if error <= CALIBRATED:
        return Insight("Confidence", f"{text}. The model is well calibrated (calibration error {percent(error)}).")
    kind = "overconfident" if confidence > accuracy else "underconfident"
    return Insight("Confidence", f"{text}. The model is {kind} (calibration error {percent(error)}).", True)


def _confidence(figures: Figures) -> list[Row]:
    histogram = figures.assessment.get("confidence", {})
    return [
        {"from": i / SHARE_BINS, "to": (i + 1) / SHARE_BINS, "answers": kind, "pictures": count}
        for key, kind in (("right", "correct"), ("wrong", "wrong"))
        for i, count in enumerate(histogram.get(key, ()))
        if count
    ]


def _how_many_are_decided(figures: Figures) -> Insight | None:
    """Compare the share of images that get a class on this server and in the test."""
    by_verdict: Mapping[str, int] = figures.stats.get("predictions", {}).get("by_verdict", {})
    total, coverage = sum(by_verdict.values()), figures.metrics.get("coverage")
    if not total:
        return _decided_in_test(figures)
    unsure, neither = (by_verdict.get(verdict, 0) / total for verdict in ("unsure", "neither"))
    answered = 1 - unsure - neither
    text = (
        f"Of {counted(total, 'image')} on this server, {percent(answered)} got a class, {percent(unsure)} were unsure "
        f"and {percent(neither)} neither."
    )
    if coverage is None:
        return Insight("Verdicts", text)
    text += f" Of the test images, {percent(coverage)} got a class."
    return Insight("Verdicts", text, total >= MIN_IMAGES and answered < coverage - 0.2)


def _decided_in_test(figures: Figures) -> Insight | None:
    coverage, selective = (figures.metrics.get(key) for key in ("coverage", "selective_accuracy"))
    if coverage is None:
        return None
    correct = f", and {percent(selective)} of those are correct" if selective is not None else ""
    return Insight(
        "Verdicts", f"{percent(coverage)} of the test images get a class{correct}. The rest are unsure or neither."
    )


_MEAN: Final = share("confidence", "mean confidence")

RELIABILITY: Final = Chart(
    name="reliability",
    title="Calibration",
    about=(
        "Of predictions with 90 % confidence, 90 % should be correct (dashed line). Larger points stand for more "
        "images; vertical lines are 95 % intervals."
    ),
    columns={**BIN, "n": "Images", "confidence": "Mean confidence", "accuracy": "Accuracy", **INTERVAL},
    empty=UNMEASURED,
    find=_reliability,
    sentence=_is_calibrated,
    in_percent=(*BIN, "confidence", "accuracy", *INTERVAL),
    drawing={
        "layer": [
            DIAGONAL,
            {
                "mark": {"type": "rule", "strokeWidth": 1.5},
                "encoding": {"x": _MEAN, "y": share("low", "correct"), "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "opacity": 1},
                "encoding": {
                    "x": _MEAN,
                    "y": quantity("accuracy"),
                    "size": quantity("n", scale={"type": "sqrt", "range": [40, 500]}, legend=None),
                    "tooltip": [quantity("n"), *percents("confidence accuracy low high", 1)],
                },
            },
        ]
    },
)

CONFIDENCE: Final = Chart(
    name="confidence",
    title="Confidence",
    about="Predictions on test images by confidence. Wrong ones should have low confidence.",
    columns={**BIN, "answers": "Predictions", "pictures": "Images"},
    empty=UNMEASURED,
    find=_confidence,
    sentence=_how_many_are_decided,
    in_percent=tuple(BIN),
    drawing={
        "mark": {"type": "bar", "opacity": 0.75},
        "encoding": {
            "x": quantity("from", title="confidence", axis={"format": "%"}, bin="binned"),
            "x2": {"field": "to"},
            # Logarithmic, so a few wrong predictions are visible among thousands.
            "y": quantity(
                "pictures",
                title="images (logarithmic)",
                stack=None,
                scale={"type": "symlog"},
                axis={"values": [0, 1, 10, 100, 1000, 10_000, 100_000]},
            ),
            "color": category("answers", title=None, sort=["wrong", "correct"]),
            "tooltip": [
                category("answers", title="predictions"),
                quantity("pictures", title="images"),
                quantity("from", format="%"),
                quantity("to", format="%"),
            ],
        },
    },
)
