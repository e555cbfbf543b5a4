"""What commands share in talking to a person or a program: tables, progress, JSON, errors."""

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from catdog.settings import Settings
from catdog.wording import counted

if TYPE_CHECKING:
    from catdog.prediction import Predictor

MAX_VERSION: Final = 2**31 - 1
MANY: Final = 10**9
"""Most of what is counted, in options."""

VersionOption = Annotated[
    int | None,
    typer.Option("--version", min=1, max=MAX_VERSION, help="Number of the version; the champion where not given."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]

out: Final = Console()
notes: Final = Console(stderr=True)
"""Progress and remarks go to stderr, so that stdout can be piped."""

PLAIN: Final[Any] = {"markup": False, "highlight": False, "soft_wrap": True}
"""How a sentence is printed: as it is, in one line."""

_STAGES: Final = {
    "import": "Reading pictures",
    "fine_tune": "Tuning the backbone",
    "embed": "Computing features",
    "fit": "Fitting the head",
    "evaluate": "Evaluating",
    "predict": "Predicting",
}


def finite(value: float | None) -> float | None:
    """Refuse what is a number by name only, for options: no range holds it, and none refuses it."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


def open_predictor(settings: Settings, version: int | None, threads: int | None = None) -> "Predictor":
    """Load a version, the champion where none is named; the bundled model where there is none yet."""
    from catdog.prediction import Predictor
    from catdog.starter import ensure_champion

    ensure_champion(settings.models_dir)
    return Predictor(version, settings=settings, threads=threads)


def _json(document: Any, indent: int | None = None) -> str:
    """Write JSON as UTF-8 people can read; what in a file's name is no UTF-8 is shown escaped."""
    return json.dumps(document, ensure_ascii=False, indent=indent).encode("utf-8", "backslashreplace").decode()


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(_json(document, indent=2) + "\n")


def print_json_line(document: Any) -> None:
    """Print one JSON document on one line of stdout, at once."""
    sys.stdout.write(_json(document) + "\n")
    sys.stdout.flush()


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar a stage on stderr, where that is a terminal; yields the function to report to."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=notes, disable=not notes.is_terminal) as progress:
        bars: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(_STAGES.get(stage, stage), total=total)
            progress.update(bars[stage], completed=done, total=total)

        yield report


def say(sentence: str) -> None:
    """Print a sentence on stdout in one line, as it is: a terminal breaks it by itself, a pipe needs it whole."""
    out.print(sentence, **PLAIN)


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> Table:
    """Make a table; the first column is to the left, the others to the right."""
    made = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        made.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        made.add_row(*(str(cell) for cell in row))
    return made


def percent(share: float | None) -> str:
    """Write a share in [0, 1] as a percentage."""
    return "n/a" if share is None else f"{100 * share:.2f} %"


def metrics_table(title: str, metrics: dict[str, Any]) -> Table:
    """Make the table of an evaluation's metrics."""
    low, high = metrics["accuracy_ci"]
    rows = [
        ("Pictures", metrics["n"]),
        ("Accuracy", f"{percent(metrics['accuracy'])}  ({percent(low)} to {percent(high)})"),
        ("Precision", percent(metrics["precision"])),
        ("Recall", percent(metrics["recall"])),
        ("F1", percent(metrics["f1_score"])),
        ("Cross-entropy", f"{metrics['loss']:.4f}"),
        ("Brier score", f"{metrics['brier']:.4f}"),
        ("Calibration error", f"{metrics['ece']:.4f}"),
        ("ROC AUC", "n/a" if metrics["roc_auc"] is None else f"{metrics['roc_auc']:.4f}"),
    ]
    if "coverage" in metrics:
        selective = percent(metrics["selective_accuracy"])
        rows.append(("Answered", f"{percent(metrics['coverage'])}, of them right {selective}"))
    return table(title, ("Metric", "Value"), rows)


def list_rejected(rejected: Iterable[tuple[str, str]], *, most: int = 20) -> None:
    """Tell on stderr which files were not used and why, the first few of them."""
    items = list(rejected)
    if items:
        notes.print(f"[yellow]{counted(len(items), 'file was', 'files were')} not used:[/]")
    for path, reason in items[:most]:
        notes.print(f"  {path}: {reason}", markup=False, highlight=False, soft_wrap=True)
    if len(items) > most:
        notes.print(f"  and {len(items) - most} more; `catdog data check` lists all")
