"""Charts of recent predictions on this server."""

from collections.abc import Mapping
from typing import Any, Final

from catdog.evaluation.charts.chart import Chart, Insight, category, colour_and_dash, percents, quantity, share
from catdog.evaluation.charts.confidence import BIN
from catdog.evaluation.charts.figures import Figures, Row
from catdog.evaluation.histograms import SHARE_BINS
from catdog.text import counted


def _activity(figures: Figures) -> list[Row]:
    return [
        {"hour": hour["hour"], "verdict": figures.verdict_name(verdict), "predictions": count}
        for hour in figures.stats.get("hours", ())
        for verdict, count in sorted(hour["by_verdict"].items())
    ]


def _recent_and_tested(figures: Figures) -> list[Row]:
    tested = figures.assessment.get("confidence", {})
    recent = figures.stats.get("confidence", {}).get("recent", {}).get("counts", ())
    if not (tested and any(recent)):
        return []
    kinds = {"test images": [sum(pair) for pair in zip(tested["right"], tested["wrong"], strict=True)]}
    kinds["last 24 hours"] = list(recent)
    return [
        {"from": i / SHARE_BINS, "to": (i + 1) / SHARE_BINS, "answers": kind, "share": count / sum(counts)}
        for kind, counts in kinds.items()
        for i, count in enumerate(counts)
        if count
    ]


def _has_drifted(figures: Figures) -> Insight | None:
    if not figures.stats:
        return None
    drift: Mapping[str, Any] | None = figures.stats.get("drift")
    if not drift:
        return Insight("Drift", "Too few predictions in the last 6 hours to measure input drift.")
    text = (
        f"Drift score {drift['score']:.2f} of 1 over the last {counted(drift['n'], 'prediction')}, mostly in "
        f"{drift['measure']}"
    )
    if drift["warning"]:
        return Insight(
            "Drift", f"{text}. Recent images differ from the test set: check them, and retrain with some of them.", True
        )
    return Insight("Drift", f"{text}. Recent images are similar to the test set.")


ACTIVITY: Final = Chart(
    name="activity",
    title="Predictions, last 48 hours",
    about="Per hour, by verdict.",
    columns={"hour": "Hour (UTC)", "verdict": "Verdict", "predictions": "Predictions"},
    empty="No predictions in the last 48 hours. Try an image on the Predict tab.",
    find=_activity,
    drawing={
        "mark": {"type": "bar", "size": 8},
        "encoding": {
            "x": {"field": "hour", "type": "temporal", "timeUnit": "yearmonthdatehours", "title": None},
            "y": quantity("predictions", title="predictions"),
            "color": category("verdict", title=None),
            "tooltip": [
                {"field": "hour", "type": "temporal", "format": "%Y-%m-%d %H:%M"},
                category("verdict"),
                quantity("predictions"),
            ],
        },
    },
)

DRIFT: Final = Chart(
    name="drift",
    title="Input drift",
    about=(
        "Confidence of predictions in the last 24 hours and on test images. Different shapes mean that recent images "
        "differ from the test set."
    ),
    columns={**BIN, "answers": "Predictions", "share": "Share"},
    empty="No predictions in the last 24 hours. Try an image on the Predict tab.",
    find=_recent_and_tested,
    sentence=_has_drifted,
    in_percent=(*BIN, "share"),
    drawing={
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": quantity("from", title="confidence, from", axis={"format": "%"}, scale={"domain": [0, 1]}),
            "y": share("share", "share of predictions"),
            **colour_and_dash("answers"),
            "tooltip": [category("answers", title="predictions"), quantity("from", format="%"), *percents("share", 1)],
        },
    },
)
