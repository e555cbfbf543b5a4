"""The main commands: train, evaluate, predict, doctor."""

import logging
import os
from collections.abc import Iterator
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.logging import RichHandler

from catdog import __version__
from catdog.cli import console
from catdog.cli.console import (
    MANY,
    JsonOption,
    LayoutOption,
    SplitNamesOption,
    VersionOption,
    notes,
    out,
    print_json,
    print_json_line,
    say,
)
from catdog.cli.csv_answers import csv_writer
from catdog.cli.data import data_commands
from catdog.cli.ending import run, stoppable
from catdog.cli.explain import explain
from catdog.cli.jobs import job_commands, retrain, worker
from catdog.cli.models import model_commands
from catdog.cli.serve import serve
from catdog.cli.uploads import upload_commands
from catdog.errors import BackboneError, PictureError
from catdog.settings import load_settings
from catdog.storage.regular_files import file_in_the_way
from catdog.text import counted

if TYPE_CHECKING:
    from catdog.prediction.predictor import Prediction

app = typer.Typer(
    name="catdog",
    help="Train, evaluate and serve an image classifier from a folder of photos.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(data_commands, name="data")
app.add_typer(model_commands, name="models")
app.add_typer(upload_commands, name="uploads")
app.add_typer(job_commands, name="jobs")
app.command()(explain)
app.command()(serve)
app.command()(retrain)
app.command()(worker)


def main() -> None:
    """Run the command line."""
    run(lambda: app(standalone_mode=False))


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(f"catdog {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def catdog(
    home: Annotated[
        Path | None,
        typer.Option(
            help="Folder for everything catdog stores; default CATDOG_HOME, or the current folder.", parser=console.path
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Train, evaluate and serve an image classifier from a folder of photos."""
    if home:  # later reads of the settings use the same home
        os.environ["CATDOG_HOME"] = str(home)
    logging.basicConfig(
        level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=notes, show_path=False)]
    )


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="Folder, zip or tar of images in class folders.", parser=console.path)],
    backbone: Annotated[
        str, typer.Option(help="starter, imagenet, a weights file (PATH.weights.h5), or a version number.")
    ] = "starter",
    image_size: Annotated[
        int, typer.Option(min=32, max=2048, help="Image side in pixels, for imagenet and weights files.")
    ] = 224,
    fine_tune: Annotated[
        str | None,
        typer.Option(help="Fine-tune the backbone first: `all` layers, or the number of last blocks (1 to 17)."),
    ] = None,
    tune_epochs: Annotated[int, typer.Option(min=1, max=MANY, help="Epochs of fine-tuning.")] = 5,
    views: Annotated[
        int, typer.Option(min=1, max=1000, help="Views per training image: the plain one and augmented ones.")
    ] = 4,
    epochs: Annotated[int, typer.Option(min=1, max=MANY, help="Maximum epochs; early stopping may end sooner.")] = 30,
    batch: Annotated[int, typer.Option(min=1, max=MANY, help="Batch size of the head.")] = 256,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed for shuffling, dropout and initial weights.")
    ] = 42,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, max=MANY, help="Maximum training images per class, for experiments; the version isn't promoted."
        ),
    ] = None,
    promote: Annotated[
        bool | None,
        typer.Option(
            "--promote/--no-promote",
            help="Always or never promote the new version. Default: promote it unless it is significantly worse or "
            "--limit is given.",
        ),
    ] = None,
    layout: LayoutOption = None,
    split_names: SplitNamesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train on a folder of images: import, embed, fit, evaluate, save, promote."""
    from catdog.training.backbones import parse_fine_tuning, require_backbone_name
    from catdog.training.pipeline import TrainOptions
    from catdog.training.pipeline import train as run_training

    try:
        tuning = parse_fine_tuning(fine_tune, tune_epochs, seed, image_size)
    except BackboneError as error:
        raise typer.BadParameter(str(error)) from error
    require_backbone_name(backbone)
    folders = console.layout_of(layout, split_names)
    options = TrainOptions(backbone, image_size, tuning, views, epochs, batch, seed, limit, promote, folders)
    kept = "Features computed so far are kept; run the same command to continue."
    with stoppable(kept), console.progress_bars() as report:
        result = run_training(data, load_settings(), options, report)
    if as_json:
        print_json(result.as_dict())
        return
    console.list_rejected((str(item.path), item.reason) for item in result.rejected)
    console.note_all(result.trained.manifest.remarks)
    console.show_metrics(f"Version {result.version.number}", result.metrics, result.trained.manifest.classes)
    fitted = {
        **result.images,
        "train": result.images["train"] - result.images["validation"],
    }  # as in `data check`
    images = ", ".join(f"{count:,} {name}" for name, count in fitted.items())
    say(f"Images: {images}; {result.embedded} embedded, the rest from the cache")
    say("Seconds: " + ", ".join(f"{stage} {spent:.1f}" for stage, spent in result.seconds.items()))
    say(("Promoted: " if result.promoted else "Not promoted: ") + result.reason)
    say(f"Report: {result.version.report_path}")


@app.command()
def evaluate(
    data: Annotated[
        Path, typer.Option(help="Labelled folder; its test split is used if there is one.", parser=console.path)
    ],
    version: VersionOption = None,
    other: Annotated[
        Path | None,
        typer.Option(help="Folder of images of none of the classes, to evaluate 'neither'.", parser=console.path),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write an HTML report to this file.", parser=console.new_file)
    ] = None,
    layout: LayoutOption = None,
    split_names: SplitNamesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a version on labelled images, in the same way as it is served."""
    from catdog.evaluation.measure import evaluate as run_evaluation
    from catdog.evaluation.report import write_report

    settings = load_settings()
    folders = console.layout_of(layout, split_names)
    with stoppable("Nothing was written."), console.progress_bars() as bars:
        predictor = console.open_predictor(settings, version)
        result, probabilities, labels = run_evaluation(
            predictor,
            data,
            settings,
            layout=folders,
            other=other,
            on_progress=lambda done, total: bars("evaluate", done, total),
        )
    if report:
        write_report(
            report,
            title=f"Version {result.model_version} on {data.resolve().name}",
            classes=result.classes,
            metrics=result.metrics,
            probabilities=probabilities,
            labels=labels,
            mistakes=result.mistakes,
            facts={"Data": data, "Version": result.model_version, "Precision": predictor.precision},
            made_from=predictor.version.metadata,
        )
    if as_json:
        print_json(result.as_dict())
        return
    console.list_rejected(result.rejected)
    if result.seen_in_training:
        seen = counted(result.seen_in_training, "image was", "images were")
        console.note(f"{seen} in the training data, so these metrics are too optimistic.", style="yellow")
    console.note_all(result.remarks)
    console.show_metrics(f"Version {result.model_version} on {data}", result.metrics, result.classes)
    if result.other:
        accepted = f"{console.percent(result.other.accepted_share)} wrongly assigned a class"
        say(f"Other images: {result.other.n}; {accepted}; AUROC of novelty {result.other.auroc:.4f}")
    rows = [(m.path, m.true, m.predicted, console.percent(m.confidence)) for m in result.mistakes[:10]]
    if rows:
        out.print(console.table("Most confident mistakes", ("Image", "True class", "Predicted", "Confidence"), rows))


@app.command()
def predict(
    paths: Annotated[
        list[Path], typer.Argument(help="Images, or folders of images.", metavar="PATH…", parser=console.path)
    ],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Include subfolders.")] = False,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Also write the predictions to this CSV file.", parser=console.new_file)
    ] = None,
    version: VersionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Classify images, one JSON line each; exit code 1 if any image can't be read.

    On a terminal, the lines are plain text unless --json is given.
    """
    from catdog.data.walking import find_pictures

    show = print_json_line if as_json or not out.is_terminal else _show_prediction
    failed, count = False, 0
    with stoppable("The predictions so far are complete."):
        predictor = console.open_predictor(load_settings(), version)
        sources, images = tee(find_pictures(paths, recursive=recursive))
        with csv_writer(csv_file, predictor.keys) as write:
            for path, outcome in zip(sources, predictor.predict_stream(images), strict=True):
                row = {"path": str(path), **_as_row(outcome)}
                failed, count = failed or isinstance(outcome, PictureError), count + 1
                write(row)
                show(row)
    if not count:
        raise PictureError(f"No files in {', '.join(map(str, paths))}. Use --recursive to include subfolders.")
    if failed:
        raise typer.Exit(1)


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Check this machine and installation, and report problems with their solutions."""
    from catdog.cli.doctor import diagnose

    settings = load_settings()
    diagnosis = diagnose(settings)
    if as_json:
        print_json({**diagnosis.facts, "problems": list(diagnosis.problems)})
        _require_usable_home(settings.home)
        return
    out.print(console.table("catdog doctor", ("Item", "Value"), _flatten(diagnosis.facts)))
    for problem in diagnosis.problems:
        say(f"! {problem}")
    if not diagnosis.problems:
        out.print("No problems found.")
    _require_usable_home(settings.home)


def _require_usable_home(home: Path) -> None:
    if file_in_the_way(home):
        raise typer.Exit(1)


def _as_row(outcome: "Prediction | PictureError") -> dict[str, Any]:
    return {"error": str(outcome)} if isinstance(outcome, PictureError) else outcome.as_dict()


def _show_prediction(row: dict[str, Any]) -> None:
    outcome = row.get("error") or f"{row['verdict']}  ({row['class']} {console.percent(row['confidence'])})"
    say(f"{row['path']}: {outcome}")


def _flatten(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from ((f"{name} {key}", text) for key, text in _flatten(value))
        else:
            yield name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)
