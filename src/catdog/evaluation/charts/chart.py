"""A chart's definition: its rows, how they are drawn, and its key finding.

Specifications are Vega-Lite (https://vega.github.io/vega-lite/docs/). They are the same for every version: data are
named `rows`, and colours come from the configuration.
"""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from catdog.evaluation.charts.figures import Figures, Row
from catdog.text import for_spreadsheet

Spec = dict[str, Any]

ROWS: Final = "rows"
HEIGHT: Final = 240
SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v6.json"
_PERCENT: Final = "\u00a0%"  # with a no-break space


@dataclass(frozen=True)
class Insight:
    """A key finding: its topic, one or two sentences, and whether it needs attention."""

    topic: str
    text: str
    needs_attention: bool = False


def no_insight(_figures: Figures) -> None:
    """Return no key finding."""
    return


@dataclass(frozen=True)
class Chart:
    """A chart; without rows it is a definition, and `fill` returns it with those of a version.

    Attributes:
        name: in URLs.
        title, about: what it shows, and how to read it.
        columns: key of a row -> heading.
        empty: text shown if there are no rows.
        drawing: the Vega-Lite mark and encoding, or layers.
        find: returns the rows, one per mark; a value is a string, a number, or None.
        sentence: returns the key finding, if any.
        in_percent: keys whose values are shares in [0, 1].
    """

    name: str
    title: str
    about: str
    columns: Mapping[str, str]
    empty: str
    drawing: Spec
    find: Callable[[Figures], list[Row]]
    sentence: Callable[[Figures], Insight | None] = no_insight
    in_percent: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()

    def fill(self, figures: Figures) -> "Chart":
        """Return the chart with the rows of a version."""
        return replace(self, rows=tuple(self.find(figures)))

    def specification(self, *, width: int | None = None, config: Mapping[str, Any] | None = None) -> Spec:
        """Return the complete Vega-Lite specification with its rows.

        Args:
            width: in pixels; by default the container's.
            config: colours and fonts; by default Vega's.
        """
        return {
            "$schema": SCHEMA,
            "description": f"{self.title}. {self.about}",
            "width": width or "container",
            "height": HEIGHT,
            "data": {"name": ROWS},
            "datasets": {ROWS: list(self.rows)},
            **self.drawing,
            **({"config": dict(config)} if config else {}),
        }

    def written(self, most: int) -> list[list[str]]:
        """Return the rows formatted as text, sampled evenly to at most `most`."""
        step = max(1, -(-len(self.rows) // most))
        return [[self._write(key, row[key]) for key in self.columns] for row in self.rows[::step]]

    def _write(self, key: str, value: Any) -> str:
        if value is None:
            return "–"
        if key in self.in_percent:
            return f"{100 * value:.1f} %"
        if isinstance(value, float):
            return f"{value:.4f}"
        if key in ("hour", "created_at"):
            return str(value).replace("T", " ").replace("+00:00", "")
        return f"{value:,}" if isinstance(value, int) else str(value)

    def as_csv(self) -> str:
        """Return the rows as CSV, safe to open in a spreadsheet."""
        buffer = io.StringIO()
        writer = csv.writer(buffer)
        writer.writerow(self.columns.values())
        writer.writerows([for_spreadsheet(row[key]) for key in self.columns] for row in self.rows)
        return buffer.getvalue()


def category(field: str, **more: Any) -> Spec:
    """Encode a name; ordered as in the rows with `sort=None`."""
    return {"field": field, "type": "nominal", **more}


def quantity(field: str, **more: Any) -> Spec:
    """Encode a number."""
    return {"field": field, "type": "quantitative", **more}


def share(field: str, title: str, *, zero: bool = True) -> Spec:
    """Encode a share on an axis in percent, starting at 0 if `zero`."""
    return quantity(field, title=title, axis={"format": "%"}, scale={"zero": zero, "nice": True})


def percents(fields: str, digits: int) -> list[Spec]:
    """Encode shares for a tooltip; `fields` are separated by spaces."""
    return [quantity(field, format=f".{digits}%") for field in fields.split()]


def colour_and_dash(field: str) -> Spec:
    """Encode a name by colour and by dashes, which work without colour vision."""
    return {"color": category(field, title=None), "strokeDash": category(field, title=None)}


DIAGONAL: Final[Spec] = {
    "data": {"values": [{"at": 0}, {"at": 1}]},
    "mark": {"type": "line", "strokeDash": [5, 4], "opacity": 0.5, "color": "gray"},
    "encoding": {"x": quantity("at"), "y": quantity("at")},
}


def percent(value: float) -> str:
    """Format a share in percent, with enough digits that only 1 is 100 % and only 0 is 0 %."""
    if value in (0, 1):
        return f"{100 * value:.0f}{_PERCENT}"
    for digits in (1, 2, 3):
        text = f"{100 * value:.{digits}f}"
        if float(text) not in (0, 100):
            return text + _PERCENT
    return f"over 99.999{_PERCENT}" if value > 0.5 else f"under 0.001{_PERCENT}"


def joined(items: list[str]) -> str:
    """Return a list as `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
