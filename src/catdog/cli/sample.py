"""The sample command."""

from pathlib import Path
from typing import Annotated

import typer

from catdog.cli import console
from catdog.cli.console import JsonOption, out, print_json, say
from catdog.cli.ending import stoppable


def sample(
    folder: Annotated[
        Path, typer.Argument(help="New or empty folder to write to.", metavar="DIR", parser=console.path)
    ],
    classes: Annotated[int, typer.Option(min=2, max=12, help="Number of classes: cats, dogs, then others.")] = 2,
    per_class: Annotated[
        int, typer.Option(min=10, max=10_000, help="Training images per class; a third as many for testing.")
    ] = 60,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The same seed draws the same images.")] = 42,
    as_json: JsonOption = False,
) -> None:
    """Draw a small labelled data set, to try catdog without photographs."""
    from catdog.data.sample import write_sample_data

    with stoppable("Nothing was written."), console.progress_bars() as bars:
        data = write_sample_data(
            folder,
            classes=classes,
            per_class=per_class,
            seed=seed,
            on_progress=lambda done, total: bars("draw", done, total),
        )
    if as_json:
        print_json({"folder": str(folder), "counts": data.counts, "other": data.other})
        return
    rows = [(name, data.counts["train"][name], data.counts["test"][name]) for name in data.counts["train"]]
    out.print(console.table(f"Drawn in {folder}", ("Class", "Train", "Test"), rows))
    say(f"{data.other} images of other objects: {folder / 'other'}")
    say(f"Next: catdog train {folder}")
