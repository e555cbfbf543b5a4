"""Charts of how far a version's confidence can be trusted."""

from collections.abc import Mapping
from typing import Final

from catdog.evaluation.charts.chart import DIAGONAL, Chart, Insight, category, percent, percents, quantity, share
from catdog.evaluation.charts.figures import Figures, Row
from catdog.evaluation.charts.quality import FEW_PICTURES, INTERVAL, UNMEASURED
from catdog.evaluation.histograms import SHARE_BINS
from catdog.text import counted

CALIBRATED: Final = 0.02
"""Expected calibration error below which confidence may be read as a probability, to about a percent or two."""

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
    text = f"It is {percent(confidence)} sure on average, and right in {percent(accuracy)}"
    if error <= CALIBRATED:
        return Insight("Confidence", f"{text}: a confidence can be read as a probability, to about {percent(error)}.")
    kind = "too sure of itself" if confidence > accuracy else "more right than it says"
    return Insight("Confidence", f"{text}; over all ranges the two differ by {percent(error)}. It is {kind}.", True)


def _confidence(figures: Figures) -> list[Row]:
    histogram = figures.assessment.get("confidence", {})
    return [
        {"from": i / SHARE_BINS, "to": (i + 1) / SHARE_BINS, "answers": kind, "pictures": count}
        for kind in ("right", "wrong")
        for i, count in enumerate(histogram.get(kind, ()))
        if count
    ]


def _how_many_are_decided(figures: Figures) -> Insight | None:
    """Compare the share that gets a class on this server with that on the test images."""
    by_verdict: Mapping[str, int] = figures.stats.get("predictions", {}).get("by_verdict", {})
    total, coverage = sum(by_verdict.values()), figures.metrics.get("coverage")
    if not total:
        return _decided_in_test(figures)
    unsure, neither = (by_verdict.get(verdict, 0) / total for verdict in ("unsure", "neither"))
    answered = 1 - unsure - neither
    text = (
        f"Of {counted(total, 'picture that was', 'pictures that were')} sent, {percent(answered)} got a class, "
        f"{percent(unsure)} were unsure and {percent(neither)} showed neither."
    )
    if coverage is None:
        return Insight("Verdicts", text)
    text += f" On the test pictures {percent(coverage)} got a class."
    return Insight("Verdicts", text, total >= FEW_PICTURES and answered < coverage - 0.2)


def _decided_in_test(figures: Figures) -> Insight | None:
    coverage, selective = (figures.metrics.get(key) for key in ("coverage", "selective_accuracy"))
    if coverage is None:
        return None
    right = f"; of these, {percent(selective)} are right" if selective is not None else ""
    return Insight(
        "Verdicts", f"{percent(coverage)} of the test pictures get a class{right}. The others are unsure or neither."
    )


_MEAN: Final = share("confidence", "mean confidence")

RELIABILITY: Final = Chart(
    name="reliability",
    title="Is its confidence right?",
    about=(
        "Of answers with a confidence of 90 %, 90 % should be right: the dashed line. A larger point is more pictures, "
        "an upright line the 95 % interval."
    ),
    columns={**BIN, "n": "Pictures", "confidence": "Mean confidence", "accuracy": "Accuracy", **INTERVAL},
    empty=UNMEASURED,
    find=_reliability,
    sentence=_is_calibrated,
    in_percent=(*BIN, "confidence", "accuracy", *INTERVAL),
    drawing={
        "layer": [
            DIAGONAL,
            {
                "mark": {"type": "rule", "strokeWidth": 1.5},
                "encoding": {"x": _MEAN, "y": share("low", "right"), "y2": {"field": "high"}},
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
    title="How sure it is",
    about="Answers on test pictures by their confidence. Wrong ones should be unsure ones.",
    columns={**BIN, "answers": "Answers", "pictures": "Pictures"},
    empty=UNMEASURED,
    find=_confidence,
    sentence=_how_many_are_decided,
    in_percent=tuple(BIN),
    drawing={
        "mark": {"type": "bar", "opacity": 0.75},
        "encoding": {
            "x": quantity("from", title="confidence", axis={"format": "%"}, bin="binned"),
            "x2": {"field": "to"},
            # Logarithmic: a few wrong answers are to be seen beside a thousand right ones.
            "y": quantity(
                "pictures",
                title="pictures (logarithmic)",
                stack=None,
                scale={"type": "symlog"},
                axis={"values": [0, 1, 10, 100, 1000, 10_000, 100_000]},
            ),
            "color": category("answers", title=None, sort=["wrong", "right"]),
            "tooltip": [
                category("answers"),
                quantity("pictures"),
                quantity("from", format="%"),
                quantity("to", format="%"),
            ],
        },
    },
)
