"""Commands for data sets: import, download, check, stats."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catdog.cli import console
from catdog.cli.console import JsonOption, LayoutOption, SplitNamesOption, out, print_json, say
from catdog.cli.ending import stoppable
from catdog.cli.sample import sample
from catdog.settings import load_settings
from catdog.text import counted

if TYPE_CHECKING:
    from catdog.data.importing import ImportResult
    from catdog.data.manifest import Manifest

data_commands = typer.Typer(help="Import, check, count and download images.", no_args_is_help=True)
data_commands.command()(sample)


@data_commands.command("import")
def import_command(
    source: Annotated[Path, typer.Argument(help="Folder, zip or tar of images in class folders.", parser=console.path)],
    layout: LayoutOption = None,
    split_names: SplitNamesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import the usable images of a folder, zip or tar into data/."""
    from catdog.data.importing import import_pictures

    _import(partial(import_pictures, layout=console.layout_of(layout, split_names)), source, as_json)


@data_commands.command("download")
def download_command(
    name: Annotated[str, typer.Argument(help="Data set name, such as kaggle:tongpython/cat-and-dog.")],
    layout: LayoutOption = None,
    split_names: SplitNamesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Download a known data set and import it into data/."""
    from catdog.data.importing import download

    _import(partial(download, layout=console.layout_of(layout, split_names)), name, as_json)


@data_commands.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Data set to check; it isn't changed.", parser=console.path)],
    layout: LayoutOption = None,
    split_names: SplitNamesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a data set: how its folders are read, its training and test images, and unusable files."""
    from catdog.data.dataset import divide, read_folder
    from catdog.data.layout.view import lines, rows

    settings, given = load_settings(), console.layout_of(layout, split_names)
    with stoppable("Nothing was written."), console.progress_bars() as bars:
        result = read_folder(
            folder, settings, layout=given, on_progress=lambda done, total: bars("import", done, total)
        )
    if as_json:
        manifest = divide(result.manifest, settings)
        rejected = [{"path": str(item.path), "error": item.reason} for item in manifest.rejected]
        print_json({**_summary(manifest), "reading": rows(result.reading), "rejected": rejected})
        return
    say(f"How {folder} is read:")
    for line in lines(result.reading):
        say(f"  {line}")
    manifest = result.manifest
    try:
        manifest = divide(manifest, settings)
    finally:  # an error that prevents training comes after the findings
        _show_counts(f"Images in {folder}", manifest)
        for remark in manifest.remarks:
            say(f"Note: {remark}")
        console.list_rejected(((str(item.path), item.reason) for item in manifest.rejected), write=say)


@data_commands.command()
def stats(as_json: JsonOption = False) -> None:
    """Count the images in data/."""
    from catdog.data.dataset import read_folder
    from catdog.data.manifest import Manifest

    settings = load_settings()
    if settings.data_dir.is_dir():
        manifest = read_folder(settings.data_dir, settings).manifest
    else:
        manifest = Manifest(settings.data_dir, (), ())
    if as_json:
        print_json(_summary(manifest))
    elif manifest.pictures:
        _show_counts(f"Images in {settings.data_dir}", manifest)
    else:
        say(f"No images in {settings.data_dir} yet: catdog data import SRC")


def _summary(manifest: "Manifest") -> dict[str, object]:
    return {
        "root": str(manifest.root),
        "classes": list(manifest.classes),
        "counts": manifest.counts(),
        "rejected": len(manifest.rejected),
        "duplicates": manifest.duplicates,
        "clutter": manifest.clutter,
        "remarks": list(manifest.remarks),
        "digest": manifest.digest,
    }


def _show_counts(title: str, manifest: "Manifest") -> None:
    out.print(console.counts_table(title, manifest.counts()))
    others = counted(manifest.clutter, "other file was skipped", "other files were skipped")
    say(f"{counted(len(manifest.rejected), 'file')} can't be used; {_copies(manifest.duplicates)}; {others}")


def _import(importer: "Callable[..., ImportResult]", source: Path | str, as_json: bool) -> None:
    """Import images into data/ with a progress bar, and print the result."""
    with stoppable("Nothing was added to data/."), console.progress_bars() as bars:
        result = importer(source, load_settings(), on_progress=lambda done, total: bars("import", done, total))
    _show_import(result, as_json)


def _copies(count: int) -> str:
    return counted(count, "is a duplicate", "are duplicates")


def _show_import(result: "ImportResult", as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "added": result.added,
                "present": result.present,
                "duplicates": result.duplicates,
                "rejected": [{"path": str(item.path), "error": item.reason} for item in result.rejected],
                "data": str(result.data_dir),
                "remarks": list(result.remarks),
            }
        )
        return
    console.list_rejected((str(item.path), item.reason) for item in result.rejected)
    console.note_all(result.remarks)
    out.print(console.counts_table(f"Added to {result.data_dir}", result.added))
    say(f"{counted(result.present, 'was', 'were')} already there; {_copies(result.duplicates)}")
