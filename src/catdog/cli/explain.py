"""The command that shows why a picture got its answer."""

from pathlib import Path
from typing import Annotated

import typer

from catdog.cli import console
from catdog.cli.console import MANY, JsonOption, VersionOption, out, print_json, say
from catdog.cli.ending import stoppable
from catdog.errors import CatdogError
from catdog.settings import load_settings
from catdog.wording import listed


def explain(
    path: Annotated[Path, typer.Argument(help="The picture.", parser=console.path)],
    folder: Annotated[
        Path,
        typer.Option("--out", help="Folder for heat_map.png, overlay.jpg and explanation.json.", parser=console.path),
    ],
    version: VersionOption = None,
    class_name: Annotated[
        str | None, typer.Option("--class", help="Class to explain; the answered one where not given.")
    ] = None,
    opacity: Annotated[
        float, typer.Option(min=0, max=1, callback=console.finite, help="How much the heat map hides, in the overlay.")
    ] = 0.5,
    similar: Annotated[int, typer.Option(min=0, max=MANY, help="How many similar training pictures to list.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Show why a picture gets its answer: where the evidence lies, and which training pictures are most alike."""
    from catdog import explain as explaining
    from catdog.files import write_atomically, write_json
    from catdog.labels import match_class
    from catdog.preprocessing import decode_upright, read_picture

    settings = load_settings()
    predictor = console.open_predictor(settings, version, threads=1)
    class_id = None if class_name is None else match_class(class_name, predictor.version.classes)
    if class_name is not None and class_id is None:
        raise typer.BadParameter(f"--class must be one of {listed(predictor.keys)}. Received: {class_name}")
    data = read_picture(path, settings.max_picture_bytes)
    with stoppable("Nothing was written."):
        found = explaining.explain(predictor, data, similar=similar, class_id=class_id)
    height, width, _ = decode_upright(data, explaining.OVERLAY_SIDE, predictor.limits).shape
    heat_map = explaining.render_heat_map(found.heat_map, (width, height))
    laid_over = explaining.overlay(data, found.heat_map, opacity, predictor.limits)
    document = {"picture": explaining.readable(path), **found.as_dict()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "heat_map.png", heat_map)
        write_atomically(folder / "overlay.jpg", laid_over)
        write_json(folder / "explanation.json", document)
    except OSError as error:
        raise CatdogError(
            f"--out must be a folder that can be written to. Received: {folder} ({error.strerror})."
        ) from error
    if as_json:
        print_json(document)
        return
    answer = found.prediction
    verdict = "" if answer.is_answered else f"  ({answer.verdict})"
    line = f"{document['picture']}: {answer.class_name}  {console.percent(answer.confidence)}{verdict}"
    say(line)
    rows = [
        (s.class_name, f"{s.distance:.4f}", explaining.readable(s.path) if s.path else s.sha256[:12])
        for s in found.similar
    ]
    if rows:
        out.print(console.table("Most similar training pictures", ("Class", "Distance", "Picture"), rows))
    say(f"Evidence for {found.class_name}: {folder / 'overlay.jpg'}")
