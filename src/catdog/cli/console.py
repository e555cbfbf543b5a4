"""What commands share in talking to a person or a program: tables, progress, JSON, errors."""

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

from catdog import strict_json
from catdog.settings import Settings
from catdog.wording import counted, visible

if TYPE_CHECKING:
    from catdog.layout import Layout
    from catdog.prediction import Predictor

MAX_VERSION: Final = 2**31 - 1
MANY: Final = 10**9
"""Most of what is counted, in options."""

VersionOption = Annotated[
    int | None,
    typer.Option("--version", min=1, max=MAX_VERSION, help="Number of the version; the champion where not given."),
]
LayoutOption = Annotated[
    str | None,
    typer.Option("--layout", help="What each level of folders is, such as splits/classes; guessed where not given."),
]
SplitNamesOption = Annotated[
    list[str] | None,
    typer.Option("--split-names", help="Splits by folder, such as train=foo,test=bar; skip=foo leaves one out."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]

out: Final = Console()
notes: Final = Console(stderr=True)
"""Progress and remarks go to stderr, so that stdout can be piped."""

_STAGES: Final = {
    "draw": "Drawing",
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


def path(value: str) -> Path:
    """Read the path that an argument or option is given: the parser of each. An empty one would mean this folder."""
    if not value:
        raise typer.BadParameter("The path is empty. Name a file or folder; this folder is a dot.")
    return Path(value)


def new_file(value: str) -> Path:
    """Read the path of a file that is to be written, and see before the work that it can be."""
    found = path(value)
    if found.is_dir():
        raise typer.BadParameter(f"{value} is a folder. Name a file in it.")
    if not found.absolute().parent.is_dir():
        raise typer.BadParameter(f"A folder that exists is needed, and {found.parent} is none.")
    return found


def open_predictor(settings: Settings, version: int | None, threads: int | None = None) -> "Predictor":
    """Load a version, the champion where none is named; the bundled model where there is none yet."""
    from catdog.prediction import Predictor
    from catdog.starter import ensure_champion

    ensure_champion(settings.models_dir)
    return Predictor(version, settings=settings, threads=threads)


def layout_of(levels: str | None, split_names: list[str] | None) -> "Layout":
    """Read what `--layout` and `--split-names` say about a data set's folders."""
    from catdog.layout import Layout

    try:
        return Layout.parse(levels, split_names or ())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _json(document: Any, indent: int | None = None) -> str:
    """Write JSON as UTF-8 people can read; what is no text, moves a cursor or turns its direction is escaped."""
    text = strict_json.dumps(document, ensure_ascii=False, indent=indent)
    return "\n".join(line if line.isprintable() else _escaped(line) for line in text.split("\n"))


def _escaped(text: str) -> str:
    return "".join(c if visible(c) == c else json.dumps(c)[1:-1] for c in text)


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
    _print(out, sentence)


def note(sentence: str, *, style: str | None = None) -> None:
    """Print a remark on stderr, in one line."""
    _print(notes, sentence, style)


def note_all(remarks: Iterable[str]) -> None:
    """Print remarks on stderr, one per line."""
    for remark in remarks:
        note(f"Note: {remark}", style="yellow")


def _print(console: Console, sentence: str, style: str | None = None) -> None:
    """Print text that may hold names of a user's: no markup is read in it, and no control character goes out."""
    console.print(Text(visible(sentence)), style=style, highlight=False, soft_wrap=True)


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> Table:
    """Make a table; the first column is to the left, the others to the right. Cells are shown as they are."""
    made = Table(title=Text(visible(title)), title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        made.add_column(Text(visible(column)), justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        made.add_row(*(Text(visible(str(cell))) for cell in row))
    return made


def counts_table(title: str, counts: dict[str, dict[str, int]]) -> Table:
    """Make a table of pictures, split -> class -> number, with a row per class: it fits whatever their number."""
    names = list(dict.fromkeys(name for row in counts.values() for name in row))
    rows: list[tuple[Any, ...]] = []
    for name in names:
        row = [of_class.get(name, 0) for of_class in counts.values()]
        rows.append((name, *row, sum(row)))
    sums = [sum(of_class.values()) for of_class in counts.values()]
    return table(title, ("Class", *map(str.capitalize, counts), "Total"), [*rows, ("Total", *sums, sum(sums))])


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


def show_metrics(title: str, metrics: dict[str, Any], classes: Sequence[str]) -> None:
    """Print an evaluation's metrics and its most frequent confusions."""
    from catdog.labels import display_name

    out.print(metrics_table(title, metrics))
    confusions = confusions_table(metrics.get("confusion_matrix", []), [display_name(name) for name in classes])
    if confusions:
        out.print(confusions)


def confusions_table(matrix: list[list[int]], names: Sequence[str], *, most: int = 10) -> Table | None:
    """Make a table of the most frequent confusions; None if there is none. A whole matrix fits no terminal."""
    found = [(n, i, j) for i, row in enumerate(matrix) for j, n in enumerate(row) if n and i != j]
    rows = [(names[i], names[j], n) for n, i, j in sorted(found, key=lambda item: (-item[0], *item[1:]))[:most]]
    title = f"Confusions, the {most} most frequent of {len(found):,}" if len(found) > most else "Confusions"
    return table(title, ("Class", "Predicted", "Images"), rows) if rows else None


def list_rejected(
    rejected: Iterable[tuple[str, str]], *, most: int = 20, write: Callable[[str], None] | None = None
) -> None:
    """Tell which files were not used and why: the first few of them, then how many more for which reason.

    Args:
        rejected: path and reason of each.
        most: how many are listed one by one.
        write: says a line; on stderr where not given.
    """
    items = list(rejected)
    if items and write is None:
        note(f"{counted(len(items), 'file was', 'files were')} not used:", style="yellow")
    write = write or note
    for path, reason in items[:most]:
        write(f"  {path}: {reason}")
    if len(items) > most:
        write(f"  and {len(items) - most:,} more; `catdog data check DIR --json` lists all. They are, by reason:")
    for reason, count in Counter(reason for _, reason in items[most:]).most_common(5):
        write(f"    {count:,}: {reason}")
