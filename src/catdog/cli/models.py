"""Commands for model versions: list, show, promote, roll back, export, bundle."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catdog.cli import console
from catdog.cli.console import JsonOption, out, print_json, say
from catdog.cli.ending import stoppable
from catdog.settings import load_settings
from catdog.text import counted, listed
from catdog.types import ExportFormat

if TYPE_CHECKING:
    from catdog.registry.store import ModelStore

model_commands = typer.Typer(help="List, show, promote, roll back and export versions.", no_args_is_help=True)

VersionArgument = Annotated[int, typer.Argument(min=1, max=console.MAX_VERSION, help="Version number.", metavar="V")]


def _store() -> "ModelStore":
    """Open the store, installing the bundled model if there is no version."""
    from catdog.registry.starter import ensure_champion
    from catdog.registry.store import ModelStore

    models_dir = load_settings().models_dir
    ensure_champion(models_dir)
    return ModelStore(models_dir)


@model_commands.command("list")
def list_command(as_json: JsonOption = False) -> None:
    """List all versions and mark the champion, which is in use."""
    store = _store()
    champion, rows = store.champion(), store.summaries()
    if as_json:
        print_json({"champion": champion, "versions": rows})
    else:
        out.print(
            console.table("Versions", ("Version", "Created", "Classes", "Accuracy", "Backbone"), map(_cells, rows))
        )


@model_commands.command()
def show(version: VersionArgument, as_json: JsonOption = False) -> None:
    """Show a version's details."""
    found = _store().get(version)
    if as_json:
        print_json(dict(found.metadata))
        return
    metadata = found.metadata
    out.print(console.metrics_table(f"Version {version}", metadata["metrics"]))
    for key in ("created_at", "classes", "backbone", "precision", "images", "parameters", "data"):
        if key in metadata:
            say(f"{key}: {_formatted(metadata[key])}")
    say(f"path: {found.path}")


@model_commands.command()
def promote(version: VersionArgument, as_json: JsonOption = False) -> None:
    """Make a version the champion."""
    _store().promote(version, "promoted by hand")
    _report(f"Version {version} is now the champion.", version, as_json)


@model_commands.command()
def rollback(as_json: JsonOption = False) -> None:
    """Roll back to the previous champion."""
    version = _store().rollback()
    _report(f"Rolled back: version {version} is now the champion.", version, as_json)


@model_commands.command()
def export(
    version: VersionArgument,
    kind: Annotated[ExportFormat, typer.Option("--format", help="Output format.")],
    target: Annotated[
        Path,
        typer.Option(
            "--out",
            help="File (.keras, .h5, .onnx, .tflite), or a folder for openvino and saved_model.",
            parser=console.path,
        ),
    ],
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="Images for the comparison; default: $CATDOG_SHARED/cat-and-dog/test, or synthetic ones.",
            parser=console.path,
        ),
    ] = None,
    shared: Annotated[Path | None, typer.Option(envvar="CATDOG_SHARED", hidden=True, parser=console.path)] = None,
    as_json: JsonOption = False,
) -> None:
    """Export a version to another format, run it there, and compare its predictions with catdog's.

    Classes and preprocessing are stored in and next to the export, the comparison in parity.json. Exit code 1 if fewer
    than 99.5 % of the labels agree.
    """
    from catdog.prediction.export import export_version
    from catdog.prediction.parity import choose_images

    chosen = choose_images(pictures, shared)
    with stoppable("The export is incomplete."):
        made = export_version(_store().get(version), kind, target, load_settings(), chosen)
    if as_json:
        print_json(made.as_dict())
        return
    say(f"{target}: {made.bytes / 1e6:.1f} MB")
    rows = [
        (f"catdog, {name}", console.percent(found.agreement), f"{found.largest_difference:.2g}")
        for name, found in {
            f"as served ({made.served.precision})": made.served,
            f"at the export's precision ({made.alike.precision})": made.alike,
        }.items()
    ]
    title = f"Compared on {counted(made.pictures, 'synthetic image' if made.pictures_made else 'image')}"
    out.print(console.table(title, ("With", "Same label", "Largest difference"), rows))


@model_commands.command()
def bundle(
    version: VersionArgument,
    target: Annotated[
        Path, typer.Option("--out", help="Folder for the bundle; must not contain one.", parser=console.path)
    ],
    as_json: JsonOption = False,
) -> None:
    """Write a version and its backbone as a bundle, like the one included in catdog."""
    from catdog.registry.starter import write_bundle

    with stoppable("The bundle is incomplete."):
        size = write_bundle(_store().get(version), target)
    if as_json:
        print_json({"path": str(target), "bytes": size})
    else:
        say(f"Version {version} is in {target}: {size / 2**20:.1f} MiB")


def _report(message: str, champion: int, as_json: bool) -> None:
    if as_json:
        print_json({"champion": champion})
    else:
        say(message)


def _formatted(value: object) -> object:
    """Format a value of the metadata, shortening long lists."""
    if isinstance(value, list):
        return f"{len(value):,}: {listed(map(str, value))}" if len(value) > 10 else listed(map(str, value))
    if isinstance(value, dict):
        return listed((f"{key} {_formatted(inner)}" for key, inner in value.items() if key != "counts"), most=20)
    return value


def _cells(row: dict[str, object]) -> tuple[object, ...]:
    name = f"{row['version']}{' (champion)' if row['champion'] else ''}"
    if "error" in row:
        return (name, "damaged", "", "", row["error"])
    classes = row["classes"]
    accuracy = row["accuracy"]
    return (
        name,
        str(row["created_at"])[:16].replace("T", " "),
        _class_summary(classes) if isinstance(classes, list) else classes,
        console.percent(accuracy) if isinstance(accuracy, float) else accuracy,
        str(row["backbone"]).removeprefix("mobilenetv2-"),
    )


def _class_summary(classes: list[object]) -> str:
    """Return the names of two classes, or the number of more, to fit 80 columns."""
    named = listed(map(str, classes))
    return named if len(classes) <= 2 and len(named) <= 16 else f"{len(classes):,}"
