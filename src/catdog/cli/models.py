"""Commands about model versions: list, show, promote, roll back, export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catdog.choices import ExportFormat
from catdog.cli import console
from catdog.cli.console import JsonOption, out, print_json, say
from catdog.cli.ending import stoppable
from catdog.settings import load_settings
from catdog.wording import counted, listed

if TYPE_CHECKING:
    from catdog.store import ModelStore

model_commands = typer.Typer(help="List, show, promote, roll back and export versions.", no_args_is_help=True)

VersionArgument = Annotated[
    int, typer.Argument(min=1, max=console.MAX_VERSION, help="Number of the version.", metavar="V")
]


def _store() -> "ModelStore":
    """Open the store; one without a version gets the bundled model."""
    from catdog.starter import ensure_champion
    from catdog.store import ModelStore

    models_dir = load_settings().models_dir
    ensure_champion(models_dir)
    return ModelStore(models_dir)


@model_commands.command("list")
def list_command(as_json: JsonOption = False) -> None:
    """List all versions; the champion, which is served, is marked."""
    store = _store()
    champion, rows = store.champion(), store.summaries()
    if as_json:
        print_json({"champion": champion, "versions": rows})
    else:
        out.print(console.table("Versions", ("Version", "Made", "Classes", "Accuracy", "Backbone"), map(_cells, rows)))


@model_commands.command()
def show(version: VersionArgument, as_json: JsonOption = False) -> None:
    """Show what is known about a version."""
    found = _store().get(version)
    if as_json:
        print_json(dict(found.metadata))
        return
    metadata = found.metadata
    out.print(console.metrics_table(f"Version {version}", metadata["metrics"]))
    for key in ("created_at", "classes", "backbone", "precision", "images", "parameters", "data"):
        if key in metadata:
            say(f"{key}: {_shown(metadata[key])}")
    say(f"path: {found.path}")


@model_commands.command()
def promote(version: VersionArgument, as_json: JsonOption = False) -> None:
    """Make a version the champion."""
    _store().promote(version, "promoted by hand")
    _tell(f"Version {version} is the champion now.", version, as_json)


@model_commands.command()
def rollback(as_json: JsonOption = False) -> None:
    """Go back to the version that was champion before."""
    version = _store().rollback()
    _tell(f"Rolled back: version {version} is the champion now.", version, as_json)


@model_commands.command()
def export(
    version: VersionArgument,
    kind: Annotated[ExportFormat, typer.Option("--format", help="Format to write.")],
    target: Annotated[
        Path,
        typer.Option(
            "--out",
            help="File (.keras, .h5, .onnx, .tflite), or for openvino and saved_model a folder.",
            parser=console.path,
        ),
    ],
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="Pictures to compare on; by default $CATDOG_SHARED/cat-and-dog/test, or else made ones.",
            parser=console.path,
        ),
    ] = None,
    shared: Annotated[Path | None, typer.Option(envvar="CATDOG_SHARED", hidden=True, parser=console.path)] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a version in another format, run it there, and certify that it answers as catdog does.

    Classes and preprocessing are stated in it and beside it, and the comparison in parity.json; exit code 1 if under
    99.5 % of the labels agree.
    """
    from catdog.export import export_version
    from catdog.parity import choose_pictures

    chosen = choose_pictures(pictures, shared)
    with stoppable("The export is not complete."):
        made = export_version(_store().get(version), kind, target, load_settings(), chosen)
    if as_json:
        print_json(made.as_dict())
        return
    say(f"{target}: {made.bytes / 1e6:.1f} MB")
    rows = [
        (f"catdog, {name}", console.percent(found.agreement), f"{found.largest_difference:.2g}")
        for name, found in {
            f"as served ({made.served.precision})": made.served,
            f"in the arithmetic of the export ({made.alike.precision})": made.alike,
        }.items()
    ]
    title = f"Compared on {counted(made.pictures, 'made picture' if made.pictures_made else 'picture')}"
    out.print(console.table(title, ("With", "Same label", "Largest difference"), rows))


@model_commands.command()
def bundle(
    version: VersionArgument,
    target: Annotated[
        Path, typer.Option("--out", help="Folder for the bundle; must not hold one.", parser=console.path)
    ],
    as_json: JsonOption = False,
) -> None:
    """Write a version and its backbone as a bundle, such as the one that comes with catdog."""
    from catdog.starter import write_bundle

    with stoppable("The bundle is not complete."):
        size = write_bundle(_store().get(version), target)
    if as_json:
        print_json({"path": str(target), "bytes": size})
    else:
        say(f"Version {version} is in {target}: {size / 2**20:.1f} MiB")


def _tell(message: str, champion: int, as_json: bool) -> None:
    if as_json:
        print_json({"champion": champion})
    else:
        say(message)


def _shown(value: object) -> object:
    """Shorten what has an entry for each class: --json gives all of it."""
    if isinstance(value, list):
        return f"{len(value):,}: {listed(map(str, value))}" if len(value) > 10 else listed(map(str, value))
    if isinstance(value, dict):
        return listed((f"{key} {_shown(inner)}" for key, inner in value.items() if key != "counts"), most=20)
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
        _few(classes) if isinstance(classes, list) else classes,
        console.percent(accuracy) if isinstance(accuracy, float) else accuracy,
        str(row["backbone"]).removeprefix("mobilenetv2-"),
    )


def _few(classes: list[object]) -> str:
    """Name two classes, or count more, so that a row fits a terminal of 80 columns."""
    named = listed(map(str, classes))
    return named if len(classes) <= 2 and len(named) <= 16 else f"{len(classes):,}"
