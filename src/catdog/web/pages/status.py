"""The context of the tab "Model status"."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from flask import request

from catdog.errors import CatdogError
from catdog.evaluation.metrics import Measure, measures
from catdog.monitoring import drift
from catdog.monitoring.summary import HOURS_SHOWN
from catdog.prediction.predictor import NEITHER, UNSURE
from catdog.registry.store import read_metadata
from catdog.web.memory import server_memory
from catdog.web.problems import describe, without_paths
from catdog.web.service import current_settings, live_model, server_status

PROMOTIONS_SHOWN: Final = 30
CHART_HEIGHT: Final = 100.0
COLOURS: Final = 4
"""Number of class colours in components.css; further classes reuse them."""


@dataclass(frozen=True)
class Block:
    """A part of a column in a chart: its position, height, and CSS class."""

    x: int
    y: float
    height: float
    kind: str


@dataclass(frozen=True)
class Mix:
    """Counts of predictions by kind: totals, and per hour as blocks and as rows."""

    legend: list[tuple[str, str, int]]
    blocks: list[Block]
    rows: list[tuple[str, list[int]]]
    most: int


def status_context() -> dict[str, Any]:
    """Return the template's context; `?compare=` names a version to compare with the one in use."""
    status, stats = server_status().model(), server_status().statistics()
    names = (
        dict(zip(live_model().predictor.keys, live_model().predictor.names, strict=True))
        if live_model().is_ready
        else {}
    )
    if refused := status["refused"]:
        status["refused"] = {**refused, "error": without_paths(refused["error"], current_settings())}
    return {
        "status": status,
        "memory": server_memory(),
        "measures": measures(stats["model_metrics"] or {}, status["metadata"].get("classes", ())),
        "mixes": {
            "by class": _mix(stats, "by_class", {name: name for name in names.values()}),
            "by verdict": _mix(stats, "by_verdict", {**names, UNSURE: "Not sure", NEITHER: "Neither"}),
        },
        "hours_shown": HOURS_SHOWN,
        "versions": _versions(),
        "earlier": _earlier_champion(),
        "comparison": _comparison(status["version"]),
        "promotions": status["history"][: -PROMOTIONS_SHOWN - 1 : -1],
        "drift_threshold": current_settings().drift_threshold,
        "drift_hours": drift.HOURS,
        "drift_smallest": drift.SMALLEST,
    }


def _versions() -> list[dict[str, Any]]:
    try:
        return live_model().store.summaries()
    except CatdogError:  # as in `_earlier_champion`
        return []


def _earlier_champion() -> int | None:
    try:
        return live_model().store.earlier_champion()
    except CatdogError:  # the page shows the fault elsewhere
        return None


def _mix(stats: Mapping[str, Any], field: str, names: Mapping[str, str]) -> Mix:
    """Return the counts of a field of `stats`; `names` maps its values, in order, to display names."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    counted = {row["hour"]: row[field] for row in stats["hours"]}
    known = {
        **names,
        **{key: key for key in stats["predictions"][field] if key not in names},
    }  # classes of earlier versions
    colours = {key: _colour(key, number) for number, key in enumerate(known)}
    hours = [(now - timedelta(hours=back)).isoformat(timespec="seconds") for back in reversed(range(HOURS_SHOWN))]
    columns = [[counted.get(hour, {}).get(key, 0) for key in known] for hour in hours]
    most = max(map(sum, columns), default=0)
    return Mix(
        [(name, colours[key], stats["predictions"][field].get(key, 0)) for key, name in known.items()],
        list(_blocks(columns, list(colours.values()), most)),
        [(hour, column) for hour, column in zip(hours, columns, strict=True) if any(column)][::-1],
        most,
    )


def _blocks(columns: Sequence[Sequence[int]], colours: Sequence[str], most: int) -> Iterator[Block]:
    """Yield the stacked blocks of each hour, from the bottom up; the largest hour reaches the top."""
    for x, column in enumerate(columns):
        y = CHART_HEIGHT
        for count, colour in zip(column, colours, strict=True):
            if count:
                height = CHART_HEIGHT * count / most
                y -= height
                yield Block(x, round(y, 2), round(height, 2), colour)


def _colour(key: str, number: int) -> str:
    return f"verdict-{key}" if key in (NEITHER, UNSURE) else f"class-{number % COLOURS}"


def _measures(metadata: Mapping[str, Any]) -> list[Measure]:
    return measures(metadata.get("metrics", {}), metadata.get("classes", ()))


def _comparison(champion: int | None) -> dict[str, Any] | None:
    """Return the comparison of the version in `?compare=` with the one in use, measure by measure."""
    asked = request.args.get("compare", "")
    if champion is None or not (asked.isascii() and asked.isdecimal() and len(asked) < 10):
        return None
    try:
        ours, theirs = (read_metadata(live_model().store.get(number).path) for number in (champion, int(asked)))
    except CatdogError as error:
        return {"version": asked, "error": describe(error, current_settings())[1]}
    ours_by_name = {measure.name: measure for measure in _measures(ours)}
    return {
        "version": int(asked),
        "same_pictures": ours.get("data", {}).get("digest") == theirs.get("data", {}).get("digest"),
        "rows": list(_pairs(ours_by_name, _measures(theirs))),
    }


def _pairs(ours: Mapping[str, Measure], theirs: Sequence[Measure]) -> Iterator[tuple[str, Measure, Measure, float]]:
    for measure in theirs:
        if measure.name in ours:
            yield measure.name, ours[measure.name], measure, measure.value - ours[measure.name].value
