"""Commands for the images for retraining: add, list, review, purge."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Final

import typer

from catdog.cli import console
from catdog.cli.console import JsonOption, note, out, print_json, say
from catdog.cli.ending import stoppable
from catdog.errors import PictureError
from catdog.settings import load_settings
from catdog.text import counted
from catdog.types import UploadState

if TYPE_CHECKING:
    from catdog.retraining.uploads.intake import Added
    from catdog.retraining.uploads.uploads import Uploads

upload_commands = typer.Typer(help="Add, list, review and purge images for retraining.", no_args_is_help=True)

LISTED: Final = 50
_NEAR_COPIES: Final = (
    "near-duplicate of a test image",
    "near-duplicates of test images",
)


def _open() -> "Uploads":
    """Open the uploads, installing the bundled model if there is no version."""
    from catdog.registry.starter import ensure_champion
    from catdog.retraining.uploads.uploads import Uploads
    from catdog.storage.database import open_database

    settings = load_settings()
    ensure_champion(settings.models_dir)
    return Uploads.open(settings, open_database(settings))


@upload_commands.command()
def add(
    paths: Annotated[
        list[Path], typer.Argument(help="Images, zips, or folders of them.", metavar="PATH…", parser=console.path)
    ],
    category: Annotated[str, typer.Option(help="Class of the images, such as cats.")],
    batch: Annotated[str | None, typer.Option(help="Batch name, to remove or restore them together.")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Include subfolders.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Add images of one class for the next retraining; exit code 1 if any is rejected."""
    from catdog.data.walking import find_pictures

    uploads = _open()
    added = uploads.begin(category, batch)
    try:
        with stoppable("Images added so far are kept; run the same command to add the rest."):
            uploads.add_to(added, _opened(find_pictures(paths, recursive=recursive), added))
    except BaseException:
        if added.files:  # the error follows; with --json, stdout is for JSON only
            (note if as_json else say)(_summary(added))
        raise
    _print_result(added, as_json)
    skipped = [] if recursive else _folders_in(paths)
    if skipped:
        count = counted(len(skipped), "folder was", "folders were")
        note(f"{count} skipped, such as {skipped[0]}; use --recursive to include them.")
    if added.rejected:
        raise typer.Exit(1)
    if not added.files:
        raise PictureError(f"No files in {', '.join(map(str, paths))}.")


def _print_result(added: "Added", as_json: bool) -> None:
    if as_json:
        counts = {key: getattr(added, key) for key in ("folder", "batch", "accepted", "duplicates")}
        print_json({**counts, "rejected": [vars(file) for file in added.rejected]})
        return
    console.list_rejected((file.name, file.reason) for file in added.rejected)
    say(_summary(added))


def _summary(added: "Added") -> str:
    """Return what was added, and the batch if it isn't empty."""
    return f"{added}; batch {added.batch}." if added.accepted else f"{added}."


def _folders_in(paths: Iterable[Path]) -> list[Path]:
    """Return the subfolders of the given folders."""
    inside = (entry for path in paths if path.is_dir() for entry in sorted(path.iterdir()))
    return [entry for entry in inside if entry.is_dir() and not entry.name.startswith(".")]


@upload_commands.command("list")
def list_command(
    state: Annotated[UploadState | None, typer.Option(help="Only images in this state.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List images for retraining, those that need review first."""
    found, total = _open().page(limit=10**9 if as_json else LISTED, state=state)
    if as_json:
        print_json({"total": total, "images": [upload.as_dict() for upload in found]})
        return
    rows = [(p.id, p.folder, p.state, p.batch, p.predicted or "", p.verdict or "", p.problem or "") for p in found]
    headings = ("ID", "Class", "State", "Batch", "Predicted", "Verdict", "Problem")
    out.print(console.table(f"{len(found)} of {counted(total, 'image')} for retraining", headings, rows))


@upload_commands.command("review")
def review_command(as_json: JsonOption = False) -> None:
    """Find wrong labels and near-duplicates of test images, and exclude them from the next retraining."""
    from catdog.retraining.uploads.review import review

    with stoppable("Features computed so far are kept."), console.progress_bars() as bars:
        findings = review(_open(), on_progress=lambda done, total: bars("embed", done, total))
    if as_json:
        print_json(findings)
        return
    headings = ("batch", "unchecked", "doubted", "share", "verdict")
    rows = [[row[key] for key in headings] for row in findings["batches"]]
    out.print(console.table("Batches", [heading.capitalize() for heading in headings], rows))
    say(f"{counted(len(findings['near_copies']), *_NEAR_COPIES)} excluded")


@upload_commands.command()
def purge(
    days: Annotated[
        float | None,
        typer.Option(min=0, max=36_500, callback=console.finite, help="Removed more than this many days ago."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Permanently delete images removed more than CATDOG_REMOVED_DAYS days ago."""
    deleted = _open().purge(days)
    if as_json:
        print_json({"deleted": deleted})
    else:
        say(f"{counted(deleted, 'removed image was', 'removed images were')} deleted")


def _opened(paths: Iterable[Path], added: "Added") -> Iterator[tuple[str, IO[bytes]]]:
    """Open the files one by one; those that can't be opened are rejected."""
    from catdog.storage.regular_files import open_regular

    for path in paths:
        try:
            file = open_regular(path)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            added.reject(str(path), f"Can't read the file: {why}.")
            continue
        with file:
            yield path.name, file
