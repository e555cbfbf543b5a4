"""Commands about pictures: import, check, count, download."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catdog.cli import console
from catdog.cli.console import JsonOption, out, print_json, say
from catdog.cli.ending import stoppable
from catdog.settings import load_settings
from catdog.wording import counted

if TYPE_CHECKING:
    from catdog.dataset import Manifest
    from catdog.importing import ImportResult

data_commands = typer.Typer(help="Import, check, count and download pictures.", no_args_is_help=True)


@data_commands.command("import")
def import_command(
    source: Annotated[Path, typer.Argument(help="Folder, zip or tar, with pictures in class folders.")],
    as_json: JsonOption = False,
) -> None:
    """Copy the usable pictures of a folder, zip or tar into data/."""
    from catdog.importing import import_pictures

    _import(import_pictures, source, as_json)


@data_commands.command("download")
def download_command(
    name: Annotated[str, typer.Argument(help="Known data set, such as kaggle:tongpython/cat-and-dog.")],
    as_json: JsonOption = False,
) -> None:
    """Download a known data set and import it into data/."""
    from catdog.importing import download

    _import(download, name, as_json)


@data_commands.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Data set to look at; nothing is changed.")],
    as_json: JsonOption = False,
) -> None:
    """Look at a data set: what would be trained and tested on, and what cannot be used and why."""
    from catdog.dataset import scan

    with stoppable("Nothing was written."), console.progress_bars() as bars:
        manifest = scan(folder, load_settings(), on_progress=lambda done, total: bars("import", done, total)).manifest
    if as_json:
        rejected = [{"path": str(item.path), "error": item.reason} for item in manifest.rejected]
        print_json({**_summary(manifest), "rejected": rejected})
        return
    _show_counts(f"Pictures in {folder}", manifest)
    for item in manifest.rejected:
        say(f"  {item.path}: {item.reason}")


@data_commands.command()
def stats(as_json: JsonOption = False) -> None:
    """Count the pictures in data/."""
    from catdog.dataset import Manifest, read_folder

    settings = load_settings()
    if settings.data_dir.is_dir():
        manifest = read_folder(settings.data_dir, settings).manifest
    else:
        manifest = Manifest(settings.data_dir, (), ())
    if as_json:
        print_json(_summary(manifest))
    elif manifest.pictures:
        _show_counts(f"Pictures in {settings.data_dir}", manifest)
    else:
        say(f"No pictures in {settings.data_dir} yet: catdog data import SRC")


def _summary(manifest: "Manifest") -> dict[str, object]:
    return {
        "root": str(manifest.root),
        "classes": list(manifest.classes),
        "counts": manifest.counts(),
        "rejected": len(manifest.rejected),
        "duplicates": manifest.duplicates,
        "digest": manifest.digest,
    }


def _show_counts(title: str, manifest: "Manifest") -> None:
    rows = [(split, *counts.values(), sum(counts.values())) for split, counts in manifest.counts().items()]
    out.print(console.table(title, ("Split", *manifest.classes, "Together"), rows))
    say(f"{counted(len(manifest.rejected), 'file')} cannot be used; {_copies(manifest.duplicates)}")


def _import(bring: "Callable[..., ImportResult]", source: Path | str, as_json: bool) -> None:
    """Bring pictures into data/ with a function of `importing`, under a bar, and tell what became of them."""
    with stoppable("Nothing was added to data/."), console.progress_bars() as bars:
        result = bring(source, load_settings(), on_progress=lambda done, total: bars("import", done, total))
    _show_import(result, as_json)


def _copies(count: int) -> str:
    return counted(count, "is a copy of another", "are copies of others")


def _show_import(result: "ImportResult", as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "added": result.added,
                "present": result.present,
                "duplicates": result.duplicates,
                "rejected": [{"path": str(item.path), "error": item.reason} for item in result.rejected],
                "data": str(result.data_dir),
            }
        )
        return
    console.list_rejected((str(item.path), item.reason) for item in result.rejected)
    rows = [(split, name, count) for split, counts in result.added.items() for name, count in counts.items()]
    out.print(console.table(f"Added to {result.data_dir}", ("Split", "Class", "Pictures"), rows))
    say(f"{counted(result.present, 'was', 'were')} there before; {_copies(result.duplicates)}")
