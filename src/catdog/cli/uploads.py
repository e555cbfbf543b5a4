"""Commands about pictures for retraining: add, list, review, purge."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Final

import typer

from catdog.choices import UploadState
from catdog.cli import console
from catdog.cli.console import JsonOption, note, out, print_json, say
from catdog.cli.ending import stoppable
from catdog.errors import PictureError
from catdog.settings import load_settings
from catdog.wording import counted

if TYPE_CHECKING:
    from catdog.collection import Uploads
    from catdog.intake import Added

upload_commands = typer.Typer(help="Add, list, review and purge pictures for retraining.", no_args_is_help=True)

LISTED: Final = 50
_NEAR_COPIES: Final = (
    "picture is nearly a test picture, and is",
    "pictures are nearly test pictures, and are",
)


def _open() -> "Uploads":
    """Open the uploads; an empty model store gets the bundled model first."""
    from catdog.collection import Uploads
    from catdog.database import open_database
    from catdog.starter import ensure_champion

    settings = load_settings()
    ensure_champion(settings.models_dir)
    return Uploads.open(settings, open_database(settings))


@upload_commands.command()
def add(
    paths: Annotated[
        list[Path], typer.Argument(help="Pictures, zips, and folders of them.", metavar="PATH…", parser=console.path)
    ],
    category: Annotated[str, typer.Option(help="Their class, such as cats.")],
    batch: Annotated[str | None, typer.Option(help="Name to remove or restore them by together.")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Enter folders in folders.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Keep pictures of one class for the next retraining; exit code 1 if one of them could not be kept."""
    from catdog.walking import find_pictures

    uploads = _open()
    added = uploads.begin(category, batch)
    try:
        with stoppable("What was added so far is kept; run the same command to add the rest."):
            uploads.add_to(added, _opened(find_pictures(paths, recursive=recursive), added))
    except BaseException:
        if added.files:  # what ends it is told behind this, on stdout too where that is JSON
            (note if as_json else say)(_summary(added))
        raise
    _tell(added, as_json)
    passed_over = [] if recursive else _folders_in(paths)
    if passed_over:
        count = counted(len(passed_over), "folder was", "folders were")
        note(f"{count} passed over, such as {passed_over[0]}; --recursive enters them.")
    if added.rejected:
        raise typer.Exit(1)
    if not added.files:
        raise PictureError(f"There are no files in {', '.join(map(str, paths))}.")


def _tell(added: "Added", as_json: bool) -> None:
    if as_json:
        counts = {key: getattr(added, key) for key in ("folder", "batch", "accepted", "duplicates")}
        print_json({**counts, "rejected": [vars(file) for file in added.rejected]})
        return
    console.list_rejected((file.name, file.reason) for file in added.rejected)
    say(_summary(added))


def _summary(added: "Added") -> str:
    """Say what was added; a batch is named only if it holds something."""
    return f"{added}; the batch is {added.batch}." if added.accepted else f"{added}."


def _folders_in(paths: Iterable[Path]) -> list[Path]:
    """List the folders that lie in the folders that are named."""
    inside = (entry for path in paths if path.is_dir() for entry in sorted(path.iterdir()))
    return [entry for entry in inside if entry.is_dir() and not entry.name.startswith(".")]


@upload_commands.command("list")
def list_command(
    state: Annotated[UploadState | None, typer.Option(help="Only these; otherwise all.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List pictures for retraining; what most needs a look comes first."""
    found, total = _open().page(limit=10**9 if as_json else LISTED, state=state)
    if as_json:
        print_json({"total": total, "images": [picture.as_dict() for picture in found]})
        return
    rows = [(p.id, p.folder, p.state, p.batch, p.predicted or "", p.verdict or "", p.problem or "") for p in found]
    headings = ("Number", "Class", "State", "Batch", "Answered", "Verdict", "Problem")
    out.print(console.table(f"{len(found)} of {counted(total, 'picture')} for retraining", headings, rows))


@upload_commands.command("review")
def review_command(as_json: JsonOption = False) -> None:
    """Find labels that look wrong and copies of test pictures, and keep them out of the next retraining."""
    from catdog.review import review

    with stoppable("Features computed so far are kept."), console.progress_bars() as bars:
        findings = review(_open(), on_progress=lambda done, total: bars("embed", done, total))
    if as_json:
        print_json(findings)
        return
    headings = ("batch", "unchecked", "doubted", "share", "verdict")
    rows = [[row[key] for key in headings] for row in findings["batches"]]
    out.print(console.table("Batches", [heading.capitalize() for heading in headings], rows))
    say(f"{counted(len(findings['near_copies']), *_NEAR_COPIES)} kept out")


@upload_commands.command()
def purge(
    days: Annotated[
        float | None, typer.Option(min=0, max=36_500, callback=console.finite, help="Removed longer ago than that.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Delete for good what was removed longer ago than CATDOG_REMOVED_DAYS says."""
    deleted = _open().purge(days)
    if as_json:
        print_json({"deleted": deleted})
    else:
        say(f"{counted(deleted, 'removed picture was', 'removed pictures were')} deleted")


def _opened(paths: Iterable[Path], added: "Added") -> Iterator[tuple[str, IO[bytes]]]:
    """Open one file after another; one that cannot be opened is counted as refused, and the others go on."""
    from catdog.regular_files import open_regular

    for path in paths:
        try:
            file = open_regular(path)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            added.reject(str(path), f"The file cannot be read: {why}.")
            continue
        with file:
            yield path.name, file
