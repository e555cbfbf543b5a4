"""Altair charts of the tables of `figures`: the same ones in the page, the HTML report and the notebook.

A specification names its data `rows` and says nothing of colours, so that it is the same for every version: it is made
once, and `fill` adds the rows of a table. Altair takes 50 MB of memory, so only functions import it; a web process
reads what `chart_files` made in a process of its own.
"""

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from catdog.figures import Table

Spec = dict[str, Any]
Drawing = Any
"""A chart of Altair, most of whose methods say no more of what they return."""

ROWS: Final = "rows"
WIDTH: Final = 420
"""Pixels across, where nothing stretches a chart to its place."""

HEIGHT: Final = 240
PAPER: Final[Spec] = {
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
"""Colours for a report or a file, which tell apart in grey too; the page has its own, light and dark."""


def specifications() -> dict[str, Spec]:
    """Make the Vega-Lite specification of every table, by its name, without data and colours."""
    return {name: make().properties(width="container", height=HEIGHT).to_dict() for name, make in _MAKERS.items()}


def fill(
    specification: Spec, table: Table, *, width: int | None = None, config: Mapping[str, Any] | None = None
) -> Spec:
    """Give a specification with the rows of its table, ready to be drawn.

    Args:
        specification: of `specifications`.
        table: the one of the same name.
        width: pixels across; that of its place where not given.
        config: colours and fonts; Vega's own where not given.
    """
    filled = copy.deepcopy(specification)
    filled["datasets"] = {**filled.get("datasets", {}), ROWS: table.rows}
    filled["description"] = f"{table.title}. {table.about}"
    if width:
        filled["width"] = width
    if config:
        filled["config"] = {**filled.get("config", {}), **config}
    return filled


def to_svg(specification: Spec, table: Table) -> str:
    """Draw a table as SVG with the colours of the report; no script, and nothing from elsewhere."""
    import vl_convert

    filled = fill(specification, table, width=WIDTH, config=PAPER)
    return str(vl_convert.vegalite_to_svg(json.dumps(filled)))


def _base() -> Drawing:
    import altair as alt

    return alt.Chart(alt.NamedData(ROWS))


def _share_axis(title: str, *, zero: bool = True) -> dict[str, Any]:
    import altair as alt

    return {"title": title, "axis": alt.Axis(format="%"), "scale": alt.Scale(zero=zero, nice=True)}


def _dataset() -> Drawing:
    import altair as alt

    order = ["training", "validation", "test", "for retraining"]
    bars = _base().mark_bar()
    return bars.encode(
        x=alt.X("split:N", title=None, sort=order, axis=alt.Axis(labelAngle=0)),
        y=alt.Y("pictures:Q", title="pictures"),
        xOffset="class:N",
        color=alt.Color("class:N", title=None),
        tooltip=["split:N", "class:N", "pictures:Q"],
    )


def _balance() -> Drawing:
    import altair as alt

    base = _base().encode(
        x=alt.X("share:Q", title="share of the pictures", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
        y=alt.Y("class:N", title=None),
        yOffset=alt.YOffset("split:N", sort=["training", "test"]),
    )
    bars = base.mark_bar().encode(
        color=alt.Color("split:N", title=None, sort=["training", "test"]),
        tooltip=["split:N", "class:N", "pictures:Q", alt.Tooltip("share:Q", format=".1%")],
    )
    text = base.mark_text(align="left", dx=5).encode(text=alt.Text("share:Q", format=".1%"))
    return alt.layer(bars, text)


def _metrics() -> Drawing:
    import altair as alt

    base = _base().encode(y=alt.Y("measure:N", title=None, sort=None, axis=alt.Axis(labelLimit=220)))
    rule = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("low:Q", **_share_axis("share, with its 95 % interval", zero=False)), x2="high:Q"
    )
    percents = [alt.Tooltip(f"{key}:Q", format=".2%") for key in ("value", "low", "high")]
    point = base.mark_point(filled=True, size=90, opacity=1).encode(x="value:Q", tooltip=["measure:N", *percents])
    return alt.layer(rule, point)


def _confusion() -> Drawing:
    import altair as alt

    base = _base().encode(
        x=alt.X("answered:N", title="answered", sort=None, axis=alt.Axis(orient="top", labelAngle=0)),
        y=alt.Y("true:N", title="shows", sort=None),
    )
    share = alt.Color("share:Q", title="share of the row", scale=alt.Scale(domain=[0, 1]), legend=None)
    tooltip = ["true:N", "answered:N", "pictures:Q", alt.Tooltip("share:Q", format=".2%")]
    cells = base.mark_rect().encode(color=share, tooltip=tooltip)
    contrast = alt.condition("datum.share > 0.5", alt.value("white"), alt.value("black"))
    text = base.mark_text(fontSize=14, baseline="bottom").encode(text="pictures:Q", color=contrast)
    percent = base.mark_text(fontSize=11, dy=10).encode(text=alt.Text("share:Q", format=".1%"), color=contrast)
    return alt.layer(cells, text, percent)


def _curve(x: str, y: str, titles: tuple[str, str], *, chance: bool) -> Drawing:
    import altair as alt

    line = (
        _base()
        .mark_line(strokeWidth=2.5)
        .encode(
            x=alt.X(f"{x}:Q", **_share_axis(titles[0])),
            y=alt.Y(f"{y}:Q", **_share_axis(titles[1])),
            order="order:Q",
            color=alt.Color("class:N", title=None),
            strokeDash=alt.StrokeDash("class:N", title=None),
            tooltip=["class:N", alt.Tooltip(f"{x}:Q", format=".2%"), alt.Tooltip(f"{y}:Q", format=".2%")],
        )
    )
    return alt.layer(_diagonal(), line) if chance else line


def _diagonal() -> Drawing:
    import altair as alt

    ends = alt.InlineData(values=[{"at": 0}, {"at": 1}])
    return alt.Chart(ends).mark_line(strokeDash=[5, 4], opacity=0.5, color="gray").encode(x="at:Q", y="at:Q")


def _reliability() -> Drawing:
    import altair as alt

    base = _base().encode(x=alt.X("confidence:Q", **_share_axis("mean confidence")))
    rule = base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q", **_share_axis("right")), y2="high:Q")
    size = alt.Size("n:Q", scale=alt.Scale(type="sqrt", range=[40, 500]), legend=None)
    percents = [alt.Tooltip(f"{key}:Q", format=".1%") for key in ("confidence", "accuracy", "low", "high")]
    point = base.mark_point(filled=True, opacity=1).encode(y="accuracy:Q", size=size, tooltip=["n:Q", *percents])
    return alt.layer(_diagonal(), rule, point)


def _epochs(title: str, fmt: str) -> Drawing:
    import altair as alt

    return (
        _base()
        .mark_line(point=True)
        .encode(
            x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d"), scale=alt.Scale(zero=False)),
            y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=False), axis=alt.Axis(format=fmt)),
            color=alt.Color("pictures:N", title=None),
            strokeDash=alt.StrokeDash("pictures:N", title=None),
            tooltip=["epoch:Q", "pictures:N", alt.Tooltip("value:Q", format=".4f")],
        )
    )


def _confidence() -> Drawing:
    import altair as alt

    logarithmic = alt.Scale(type="symlog")  # a few wrong answers are to be seen beside a thousand right ones
    return (
        _base()
        .mark_bar(opacity=0.75)
        .encode(
            x=alt.X("from:Q", title="confidence", axis=alt.Axis(format="%"), bin="binned"),
            x2="to:Q",
            y=alt.Y(
                "pictures:Q",
                title="pictures (logarithmic)",
                stack=None,
                scale=logarithmic,
                axis=alt.Axis(values=[0, 1, 10, 100, 1000, 10_000, 100_000]),
            ),
            color=alt.Color("answers:N", title=None, sort=["wrong", "right"]),
            tooltip=["answers:N", "pictures:Q", alt.Tooltip("from:Q", format="%"), alt.Tooltip("to:Q", format="%")],
        )
    )


def _versions() -> Drawing:
    import altair as alt

    base = _base().encode(x=alt.X("version:O", title="version", axis=alt.Axis(labelAngle=0)))
    rule = base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", **_share_axis("accuracy", zero=False)), y2="high:Q")
    percents = [alt.Tooltip(f"{key}:Q", format=".2%") for key in ("accuracy", "low", "high")]
    point = base.mark_point(filled=True, size=90, opacity=1)
    return alt.layer(rule, point.encode(y="accuracy:Q", tooltip=["version:O", "n:Q", *percents]))


def _activity() -> Drawing:
    import altair as alt

    return (
        _base()
        .mark_bar(size=8)
        .encode(
            x=alt.X("hour:T", timeUnit="yearmonthdatehours", title=None),
            y=alt.Y("predictions:Q", title="predictions"),
            color=alt.Color("verdict:N", title=None),
            tooltip=[alt.Tooltip("hour:T", format="%Y-%m-%d %H:%M"), "verdict:N", "predictions:Q"],
        )
    )


def _drift() -> Drawing:
    import altair as alt

    return (
        _base()
        .mark_line(point=True)
        .encode(
            x=alt.X("from:Q", title="confidence, from", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
            y=alt.Y("share:Q", **_share_axis("share of the answers")),
            color=alt.Color("answers:N", title=None),
            strokeDash=alt.StrokeDash("answers:N", title=None),
            tooltip=["answers:N", alt.Tooltip("from:Q", format="%"), alt.Tooltip("share:Q", format=".1%")],
        )
    )


_MAKERS: Final[dict[str, Callable[[], Any]]] = {
    "dataset": _dataset,
    "balance": _balance,
    "metrics": _metrics,
    "confusion": _confusion,
    "roc": lambda: _curve("false_rate", "true_rate", ("false positive rate", "true positive rate"), chance=True),
    "precision-recall": lambda: _curve("recall", "precision", ("recall", "precision"), chance=False),
    "reliability": _reliability,
    "confidence": _confidence,
    "loss": lambda: _epochs("cross-entropy", ".3"),
    "learning": lambda: _epochs("accuracy", ".1%"),
    "versions": _versions,
    "activity": _activity,
    "drift": _drift,
}
