"""The numbers behind the charts, as tables: what a chart draws, a page lists, and a CSV file holds.

Nothing here draws, so that a web process needs no charting library for it.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from catdog.histograms import SHARE_BINS
from catdog.labels import display_name, probability_key

Row = dict[str, Any]

SPLITS: Final = {"train": "training", "validation": "validation", "test": "test", "retrain": "for retraining"}
_SHARES: Final = {
    "share", "value", "low", "high", "accuracy", "confidence", "recall", "precision", "false_rate", "true_rate",
    "from", "to",
}  # fmt: skip
_RATES: Final = {"precision": "Precision", "recall": "Recall"}


@dataclass(frozen=True)
class Figures:
    """What is known of a version and of what the server did with it; what is not known is empty.

    Attributes:
        classes: folder names, C of them, in the order of the probabilities.
        counts: pictures by split (a key of `SPLITS`) and class.
        metrics, history: as in the version's `metadata.json`.
        assessment: as `assessment.assess` gives it.
        stats: as `GET /api/stats` gives it.
    """

    classes: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, float | None]] = ()
    assessment: Mapping[str, Any] = field(default_factory=dict)
    stats: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_version(
        cls, metadata: Mapping[str, Any], assessment: Mapping[str, Any] | None, stats: Mapping[str, Any] | None = None
    ) -> "Figures":
        """Collect what a version's `metadata.json`, its assessment and a server's statistics say."""
        classes = tuple(metadata["classes"])
        on_disk = (stats or {}).get("dataset", {})
        counts = dict(metadata.get("data", {}).get("counts", {}))
        waiting = {name: on_disk.get(f"retrain_{name}", 0) for name in classes}
        if any(waiting.values()):
            counts["retrain"] = waiting
        metrics, history = metadata.get("metrics") or {}, metadata.get("history") or ()
        return cls(classes, counts, metrics, history, assessment or {}, stats or {})

    @property
    def names(self) -> list[str]:
        """Names of the classes for people."""
        return [display_name(name) for name in self.classes]

    def verdict_name(self, verdict: str) -> str:
        """Name a verdict for people: `cat` is Cat, `neither` and `unsure` stay."""
        shown = {probability_key(name): display_name(name) for name in self.classes}
        return shown.get(verdict, verdict)


@dataclass(frozen=True)
class Table:
    """The rows behind a chart.

    Attributes:
        name: in addresses.
        title, about: what it shows, and how to read it.
        columns: key of a row -> heading.
        rows: one a mark; a value is a string, a number, or None.
        empty: what to do where there are no rows.
    """

    name: str
    title: str
    about: str
    columns: Mapping[str, str]
    rows: list[Row]
    empty: str

    def written(self, most: int) -> list[list[str]]:
        """Write the rows for people: shares in percent, numbers with separators; of more than `most`, evenly chosen."""
        step = max(1, -(-len(self.rows) // most))
        return [[self._write(key, row[key]) for key in self.columns] for row in self.rows[::step]]

    def _write(self, key: str, value: Any) -> str:
        if value is None:
            return "–"
        if key in _SHARES and self.name != "loss":
            return f"{100 * value:.1f} %"
        if isinstance(value, float):
            return f"{value:.4f}"
        if key in ("hour", "created_at"):
            return str(value).replace("T", " ").replace("+00:00", "")
        return f"{value:,}" if isinstance(value, int) else str(value)

    def as_csv(self) -> str:
        """Write the rows as CSV; what a spreadsheet would take for a formula is quoted."""
        buffer = io.StringIO()
        writer = csv.writer(buffer)
        writer.writerow(self.columns.values())
        writer.writerows([_plain(row[key]) for key in self.columns] for row in self.rows)
        return buffer.getvalue()


def tables(figures: Figures) -> list[Table]:
    """Make the table of every chart, in the order of the page."""
    return [
        Table(name, title, about, columns, make(figures), empty) for name, title, about, columns, make, empty in _TABLES
    ]


def _plain(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _dataset(figures: Figures) -> list[Row]:
    return [
        {"split": SPLITS[split], "class": display_name(name), "pictures": counts.get(name, 0)}
        for split, counts in figures.counts.items()
        if split in SPLITS and any(counts.values())
        for name in figures.classes
    ]


def _balance(figures: Figures) -> list[Row]:
    rows = [row for row in _dataset(figures) if row["split"] in ("training", "test")]
    sums: dict[str, int] = {}
    for row in rows:
        sums[row["split"]] = sums.get(row["split"], 0) + row["pictures"]
    return [{**row, "share": row["pictures"] / sums[row["split"]]} for row in rows]


def _metrics(figures: Figures) -> list[Row]:
    metrics = figures.metrics
    if not metrics:
        return []
    low, high = metrics["accuracy_ci"]
    rows = [{"of": "all", "measure": "Accuracy", "value": metrics["accuracy"], "low": low, "high": high}]
    for rate in figures.assessment.get("rates", ()):
        name = figures.names[rate["class"]]
        found = {key: rate[key] for key in ("value", "low", "high")}
        rows.append({"of": name, "measure": f"{_RATES[rate['measure']]}, {name}", **found})
    return rows


def _confusion(figures: Figures) -> list[Row]:
    matrix = figures.metrics.get("confusion_matrix", ())
    return [
        {"true": true, "answered": answered, "pictures": count, "share": count / sum(counts) if sum(counts) else None}
        for true, counts in zip(figures.names, matrix, strict=False)
        for answered, count in zip(figures.names, counts, strict=True)
    ]


def _curve(key: str, x: str, y: str) -> Callable[[Figures], list[Row]]:
    def make(figures: Figures) -> list[Row]:
        return [
            {"class": name, "order": order, x: across, y: up}
            for name, curve in zip(figures.names, figures.assessment.get(key, ()), strict=False)
            if curve
            for order, (across, up) in enumerate(curve["points"])
        ]

    return make


def _reliability(figures: Figures) -> list[Row]:
    keys = ("from", "to", "n", "confidence", "accuracy", "low", "high")
    return [{key: found[key] for key in keys} for found in figures.assessment.get("reliability", ())]


def _epochs(measure: str) -> Callable[[Figures], list[Row]]:
    def make(figures: Figures) -> list[Row]:
        return [
            {"epoch": epoch, "pictures": pictures, "value": found[key]}
            for key, pictures in ((measure, "training"), (f"val_{measure}", "validation"))
            for epoch, found in enumerate(figures.history, 1)
            if key in found
        ]

    return make


def _confidence(figures: Figures) -> list[Row]:
    histogram = figures.assessment.get("confidence", {})
    return [
        {"from": i / SHARE_BINS, "to": (i + 1) / SHARE_BINS, "answers": kind, "pictures": count}
        for kind in ("right", "wrong")
        for i, count in enumerate(histogram.get(kind, ()))
        if count
    ]


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


def _activity(figures: Figures) -> list[Row]:
    return [
        {"hour": hour["hour"], "verdict": figures.verdict_name(verdict), "predictions": count}
        for hour in figures.stats.get("hours", ())
        for verdict, count in sorted(hour["by_verdict"].items())
    ]


def _drift(figures: Figures) -> list[Row]:
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


_BIN: Final = {"from": "From", "to": "To"}
_INTERVAL: Final = {"low": "95 % from", "high": "95 % to"}
_EPOCHS: Final = {"epoch": "Epoch", "pictures": "Pictures", "value": "Value"}
_UNTAUGHT: Final = "This version keeps no figures of its epochs. A new training does."
_UNMEASURED: Final = "This version keeps no answers on test pictures. A new training does."

# Of each chart: name, title, how to read it, columns, rows, what to do where there is nothing.
_TABLES: Final[tuple[tuple[str, str, str, dict[str, str], Callable[[Figures], list[Row]], str], ...]] = (
    ("dataset", "Pictures in the data set", "How many pictures of each class the version was made with.",
     {"split": "Used for", "class": "Class", "pictures": "Pictures"}, _dataset,
     "This version does not say what it was trained on. A new training does."),
    ("balance", "Training against test", "The share of each class. Both bars alike: the test is like the training.",
     {"split": "Used for", "class": "Class", "share": "Share", "pictures": "Pictures"}, _balance,
     "This version does not say what it was trained on. A new training does."),
    ("metrics", "How good it is", "Measured on the test pictures. A line is the 95 % interval: more pictures, shorter.",
     {"measure": "Measure", "value": "Value", **_INTERVAL}, _metrics, _UNMEASURED),
    ("confusion", "Confusion matrix", "Rows: what a picture shows. Columns: what was answered. Each row sums to 100 %.",
     {"true": "Shows", "answered": "Answered", "pictures": "Pictures", "share": "Share of the row"}, _confusion,
     _UNMEASURED),
    ("roc", "ROC curve", "How many of a class are found, for how many false alarms. The upper left corner is perfect.",
     {"class": "Class", "false_rate": "False positive rate", "true_rate": "True positive rate"},
     _curve("roc", "false_rate", "true_rate"), _UNMEASURED),
    ("precision-recall", "Precision and recall", "How right the answers stay as more of a class are to be found.",
     {"class": "Class", "recall": "Recall", "precision": "Precision"},
     _curve("precision_recall", "recall", "precision"), _UNMEASURED),
    ("reliability", "Is its confidence right?", "Of answers with a confidence of 90 %, 90 % should be right: the "
     "dashed line. A larger point is more pictures, an upright line the 95 % interval.",
     {**_BIN, "n": "Pictures", "confidence": "Mean confidence", "accuracy": "Accuracy", **_INTERVAL}, _reliability,
     _UNMEASURED),
    ("confidence", "How sure it is", "Answers on test pictures by their confidence. Wrong ones should be unsure ones.",
     {**_BIN, "answers": "Answers", "pictures": "Pictures"}, _confidence, _UNMEASURED),
    ("loss", "How it learned: loss", "By epoch, less is better. Validation rising while training falls is overfitting.",
     _EPOCHS, _epochs("loss"), _UNTAUGHT),
    ("learning", "How it learned: accuracy", "By epoch, on the training pictures and on those that choose the epoch.",
     _EPOCHS, _epochs("accuracy"), _UNTAUGHT),
    ("versions", "Accuracy over versions", "Each on the test pictures that it had. Intervals that overlap say little.",
     {"version": "Version", "accuracy": "Accuracy", **_INTERVAL, "n": "Pictures", "created_at": "Made at (UTC)"},
     _versions, "There is no measured version. Train one."),
    ("activity", "Predictions over time", "Answers by hour over the last 48 hours, by verdict.",
     {"hour": "Hour (UTC)", "verdict": "Verdict", "predictions": "Predictions"}, _activity,
     "Nothing was asked in the last 48 hours. Send a picture on the tab Predict."),
    ("drift", "Recent answers against the test", "How sure the answers of the last 24 hours were, beside those on test "
     "pictures. Two shapes that differ say that other pictures come in now.",
     {**_BIN, "answers": "Answers", "share": "Share"}, _drift,
     "Nothing was asked in the last 24 hours. Send a picture on the tab Predict."),
)  # fmt: skip

NAMES: Final = tuple(row[0] for row in _TABLES)
