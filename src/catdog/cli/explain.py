"""The explain command."""

from pathlib import Path
from typing import Annotated

import typer

from catdog.cli import console
from catdog.cli.console import MANY, JsonOption, VersionOption, out, print_json, say
from catdog.cli.ending import stoppable
from catdog.errors import CatdogError
from catdog.settings import load_settings
from catdog.text import listed


def explain(
    path: Annotated[Path, typer.Argument(help="Image file.", parser=console.path)],
    folder: Annotated[
        Path,
        typer.Option("--out", help="Folder for heat_map.png, overlay.jpg and explanation.json.", parser=console.path),
    ],
    version: VersionOption = None,
    class_name: Annotated[
        str | None, typer.Option("--class", help="Class to explain; default: the predicted one.")
    ] = None,
    opacity: Annotated[
        float, typer.Option(min=0, max=1, callback=console.finite, help="Opacity of the heat map in the overlay.")
    ] = 0.5,
    similar: Annotated[int, typer.Option(min=0, max=MANY, help="Number of similar training images to list.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Explain a prediction: a heat map of the evidence, and the most similar training images."""
    from catdog.data.images.pixels import decode_upright, read_picture
    from catdog.data.labels import match_class
    from catdog.prediction.explanation import explain as explain_image
    from catdog.prediction.heatmap import OVERLAY_SIDE, overlay, render_heat_map
    from catdog.prediction.similar import readable
    from catdog.storage.files import write_atomically, write_json

    settings = load_settings()
    predictor = console.open_predictor(settings, version, threads=1)
    class_id = None if class_name is None else match_class(class_name, predictor.version.classes)
    if class_name is not None and class_id is None:
        raise typer.BadParameter(f"Unknown class {class_name!r}. Use one of {listed(predictor.keys)}.")
    data = read_picture(path, settings.max_picture_bytes)
    with stoppable("Nothing was written."):
        found = explain_image(predictor, data, similar=similar, class_id=class_id)
    height, width, _ = decode_upright(data, OVERLAY_SIDE, predictor.limits).shape
    heat_map = render_heat_map(found.heat_map, (width, height))
    laid_over = overlay(data, found.heat_map, opacity, predictor.limits)
    document = {"picture": readable(path), **found.as_dict()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "heat_map.png", heat_map)
        write_atomically(folder / "overlay.jpg", laid_over)
        write_json(folder / "explanation.json", document)
    except OSError as error:
        raise CatdogError(f"Can't write to the folder {folder}: {error.strerror}.") from error
    if as_json:
        print_json(document)
        return
    answer = found.prediction
    verdict = "" if answer.is_answered else f"  ({answer.verdict})"
    line = f"{document['picture']}: {answer.class_name}  {console.percent(answer.confidence)}{verdict}"
    say(line)
    rows = [(s.class_name, f"{s.distance:.4f}", readable(s.path) if s.path else s.sha256[:12]) for s in found.similar]
    if rows:
        out.print(console.table("Most similar training images", ("Class", "Distance", "Image"), rows))
    say(f"Evidence for {found.class_name}: {folder / 'overlay.jpg'}")
