"""Charts of recent predictions on this server."""

from collections.abc import Mapping
from typing import Any, Final

from catdog.evaluation.charts.chart import Chart, Insight, category, percents, quantity, share, told_apart
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
    kinds = {"test pictures": [sum(pair) for pair in zip(tested["right"], tested["wrong"], strict=True)]}
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
        text = "Too few pictures were sent in the last 6 hours to say whether they are like the test pictures."
        return Insight("Drift", text)
    text = (
        f"The last {counted(drift['n'], 'answer differs', 'answers differ')} from those on test pictures by "
        f"{drift['score']:.2f} (0 to 1), most in {drift['measure']}"
    )
    if drift["warning"]:
        return Insight("Drift", f"{text}. That is more than chance: look at what comes in, and retrain with it.", True)
    return Insight("Drift", f"{text}: too little, or too likely by chance, to call for anything.")


ACTIVITY: Final = Chart(
    name="activity",
    title="Predictions over time",
    about="Answers by hour over the last 48 hours, by verdict.",
    columns={"hour": "Hour (UTC)", "verdict": "Verdict", "predictions": "Predictions"},
    empty="Nothing was asked in the last 48 hours. Send a picture on the tab Predict.",
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
    title="Recent answers against the test",
    about=(
        "How sure the answers of the last 24 hours were, beside those on test pictures. Two shapes that differ say "
        "that other pictures come in now."
    ),
    columns={**BIN, "answers": "Answers", "share": "Share"},
    empty="Nothing was asked in the last 24 hours. Send a picture on the tab Predict.",
    find=_recent_and_tested,
    sentence=_has_drifted,
    in_percent=(*BIN, "share"),
    drawing={
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": quantity("from", title="confidence, from", axis={"format": "%"}, scale={"domain": [0, 1]}),
            "y": share("share", "share of the answers"),
            **told_apart("answers"),
            "tooltip": [category("answers"), quantity("from", format="%"), *percents("share", 1)],
        },
    },
)
