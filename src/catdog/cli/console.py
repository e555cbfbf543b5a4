"""Output of all commands (tables, progress, JSON, notes) and common options."""

import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from catdog.settings import Settings
from catdog.storage import strict_json
from catdog.text import counted, visible

if TYPE_CHECKING:
    from catdog.data.layout.reading import Layout
    from catdog.prediction.predictor import Predictor

MAX_VERSION: Final = 2**31 - 1
MANY: Final = 10**9
"""Upper bound of options that count something."""

VersionOption = Annotated[
    int | None,
    typer.Option("--version", min=1, max=MAX_VERSION, help="Version number; default: the champion."),
]
LayoutOption = Annotated[
    str | None,
    typer.Option("--layout", help="Meaning of each folder level, such as splits/classes; detected by default."),
]
SplitNamesOption = Annotated[
    list[str] | None,
    typer.Option("--split-names", help="Splits by folder, such as train=foo,test=bar; skip=foo excludes one."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print a single JSON document on stdout.")]

out: Final = Console()
notes: Final = Console(stderr=True)
"""Progress and notes go to stderr, which keeps stdout pipeable."""

_STAGES: Final = {
    "draw": "Drawing",
    "import": "Reading images",
    "fine_tune": "Fine-tuning the backbone",
    "embed": "Computing features",
    "fit": "Fitting the head",
    "evaluate": "Evaluating",
    "predict": "Predicting",
}


def finite(value: float | None) -> float | None:
    """Validate that an option is a finite number, as ranges don't reject NaN."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


def path(value: str) -> Path:
    """Parse the path of an argument or option; an empty one is rejected, as it would mean the current folder."""
    if not value:
        raise typer.BadParameter("The path is empty. Use a dot for the current folder.")
    return Path(value)


def new_file(value: str) -> Path:
    """Parse the path of an output file, and check that its folder exists."""
    found = path(value)
    if found.is_dir():
        raise typer.BadParameter(f"{value} is a folder. Give a file name in it.")
    if not found.absolute().parent.is_dir():
        raise typer.BadParameter(f"The folder {found.parent} doesn't exist.")
    return found


def open_predictor(settings: Settings, version: int | None, threads: int | None = None) -> "Predictor":
    """Load a version, by default the champion; install the bundled model if there is no version yet."""
    from catdog.prediction.predictor import Predictor
    from catdog.registry.starter import ensure_champion

    ensure_champion(settings.models_dir)
    return Predictor(version, settings=settings, threads=threads)


def layout_of(levels: str | None, split_names: list[str] | None) -> "Layout":
    """Parse `--layout` and `--split-names`."""
    from catdog.data.layout.reading import Layout

    try:
        return Layout.parse(levels, split_names or ())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _json(document: Any, indent: int | None = None) -> str:
    """Return readable JSON, with control characters, direction marks and invalid characters escaped."""
    text = strict_json.dumps(document, ensure_ascii=False, indent=indent)
    return "\n".join(line if line.isprintable() else _escaped(line) for line in text.split("\n"))


def _escaped(text: str) -> str:
    return "".join(c if visible(c) == c else json.dumps(c)[1:-1] for c in text)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(_json(document, indent=2) + "\n")


def print_json_line(document: Any) -> None:
    """Print a JSON document on one line of stdout, and flush."""
    sys.stdout.write(_json(document) + "\n")
    sys.stdout.flush()


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show a progress bar per stage on stderr if it is a terminal; yield the function to report progress."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=notes, disable=not notes.is_terminal) as progress:
        bars: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(_STAGES.get(stage, stage), total=total)
            progress.update(bars[stage], completed=done, total=total)

        yield report


def say(sentence: str) -> None:
    """Print a sentence on stdout as one unwrapped line."""
    _print(out, sentence)


def note(sentence: str, *, style: str | None = None) -> None:
    """Print a note on stderr, on one line."""
    _print(notes, sentence, style)


def note_all(remarks: Iterable[str]) -> None:
    """Print notes on stderr, one per line."""
    for remark in remarks:
        note(f"Note: {remark}", style="yellow")


def _print(console: Console, sentence: str, style: str | None = None) -> None:
    """Print text that may contain user-chosen names, without markup or control characters."""
    console.print(Text(visible(sentence)), style=style, highlight=False, soft_wrap=True)


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> Table:
    """Return a table with the first column left-aligned and the others right-aligned; cells aren't parsed as markup."""
    made = Table(title=Text(visible(title)), title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        made.add_column(Text(visible(column)), justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        made.add_row(*(Text(visible(str(cell))) for cell in row))
    return made


def counts_table(title: str, counts: dict[str, dict[str, int]]) -> Table:
    """Return a table of image counts, split -> class -> number, with one row per class."""
    names = list(dict.fromkeys(name for row in counts.values() for name in row))
    rows: list[tuple[Any, ...]] = []
    for name in names:
        row = [of_class.get(name, 0) for of_class in counts.values()]
        rows.append((name, *row, sum(row)))
    sums = [sum(of_class.values()) for of_class in counts.values()]
    return table(title, ("Class", *map(str.capitalize, counts), "Total"), [*rows, ("Total", *sums, sum(sums))])


def percent(share: float | None) -> str:
    """Format a share in [0, 1] as a percentage."""
    return "n/a" if share is None else f"{100 * share:.2f} %"


def metrics_table(title: str, metrics: dict[str, Any]) -> Table:
    """Return the table of an evaluation's metrics."""
    low, high = metrics["accuracy_ci"]
    rows = [
        ("Images", metrics["n"]),
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
        rows.append(("Coverage", f"{percent(metrics['coverage'])}, with accuracy {selective}"))
    return table(title, ("Metric", "Value"), rows)


def show_metrics(title: str, metrics: dict[str, Any], classes: Sequence[str]) -> None:
    """Print an evaluation's metrics and its most frequent confusions."""
    from catdog.data.labels import display_name

    out.print(metrics_table(title, metrics))
    confusions = confusions_table(metrics.get("confusion_matrix", []), [display_name(name) for name in classes])
    if confusions:
        out.print(confusions)


def confusions_table(matrix: list[list[int]], names: Sequence[str], *, most: int = 10) -> Table | None:
    """Return a table of the most frequent confusions; None if there are none."""
    found = [(n, i, j) for i, row in enumerate(matrix) for j, n in enumerate(row) if n and i != j]
    rows = [(names[i], names[j], n) for n, i, j in sorted(found, key=lambda item: (-item[0], *item[1:]))[:most]]
    title = f"Confusions, top {most} of {len(found):,}" if len(found) > most else "Confusions"
    return table(title, ("True class", "Predicted", "Images"), rows) if rows else None


def list_rejected(
    rejected: Iterable[tuple[str, str]], *, most: int = 20, write: Callable[[str], None] | None = None
) -> None:
    """Print the first rejected files with their reasons, then the number of others by reason.

    Args:
        rejected: path and reason of each.
        most: number of files listed individually.
        write: prints a line; by default on stderr.
    """
    items = list(rejected)
    if items and write is None:
        note(f"{counted(len(items), 'file was', 'files were')} rejected:", style="yellow")
    write = write or note
    for path, reason in items[:most]:
        write(f"  {path}: {reason}")
    if len(items) > most:
        write(f"  and {len(items) - most:,} more; `catdog data check DIR --json` lists all. By reason:")
    for reason, count in Counter(reason for _, reason in items[most:]).most_common(5):
        write(f"    {count:,}: {reason}")
