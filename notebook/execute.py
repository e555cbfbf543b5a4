"""Run the notebook from top to bottom, and write it back with what it showed, but without photographs.

    python notebook/execute.py --data pets [--limit 1000] [--backbone starter] [--out FILE]

It runs as it does for a person who opens it: in a new home folder, with the defaults of its first cell but for what is
given here. What a cell with the tag `photographs` shows keeps its captions and loses its pictures: those of a data set
belong to others. Nothing is written where a photograph or a path of this machine would be left.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import nbformat
from nbclient import NotebookClient

NOTEBOOK: Final = Path(__file__).with_name("cat_dog_classification.ipynb")
DRAWING: Final = NOTEBOOK.with_name("drawn_cat.png")

SECONDS: Final = 1800
"""Most that one cell may take: training on all pictures, on a slow machine, takes some minutes."""

WITH_PHOTOGRAPHS: Final = "photographs"
WITH_A_DRAWING: Final = "drawing"
LEFT_OUT: Final = "<p><em>Photographs are not kept in this file. Run the cell to see them.</em></p>"

IMAGE_ELEMENT: Final = re.compile(r"<img\b[^>]*>")
EMBEDDED: Final = re.compile(r"data:image/|<image\b")
"""Pictures inside HTML or SVG."""

MACHINE: Final = re.compile(r"(?<![\w.…/:])/(?:home|Users|root|tmp|var|private|mnt|work|workspace|opt|srv)/[\w.-]+")

Notebook = Any
"""nbformat's nodes: dictionaries whose keys are attributes too."""


def main() -> None:
    """Run, clean, check and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="photographs in train/cats, train/dogs, test/cats, …")
    parser.add_argument("--limit", type=int, help="training pictures a class, 0 for all; else as the notebook says")
    parser.add_argument("--backbone", help="starter, imagenet or a weights file; else as the notebook says")
    parser.add_argument("--out", type=Path, default=NOTEBOOK, help="file to write; else the notebook itself")
    given = parser.parse_args()
    if not given.data.is_dir():
        sys.exit(f"A folder of photographs is needed. Received: {given.data}, which is not a folder.")
    backbone = given.backbone
    if backbone and Path(backbone).is_file():
        backbone = Path(backbone).absolute()  # the cells run in another folder
    chosen = {"CATDOG_NOTEBOOK_LIMIT": given.limit, "CATDOG_NOTEBOOK_BACKBONE": backbone}
    variables = {name: str(value) for name, value in chosen.items() if value is not None}
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), given.data.absolute())
        run(notebook, Path(folder), variables)
        clean(notebook, Path(folder))
    if problems := list(find_problems(notebook)):
        sys.exit("Nothing was written: " + "; ".join(problems))
    nbformat.validate(notebook)
    nbformat.write(notebook, given.out)


def prepare(folder: Path, data: Path) -> None:
    """Make a folder like the notebook's, with the data where the first cell looks for it."""
    home = folder / "catdog-home"
    home.mkdir(exist_ok=True)
    (home / "data").symlink_to(data, target_is_directory=True)
    shutil.copy(DRAWING, folder)


def run(notebook: Notebook, folder: Path, variables: Mapping[str, str]) -> None:
    """Execute all cells in a folder, with variables of the environment; an error in one of them ends it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CATDOG_NOTEBOOK_")}
    ipython = str(folder / ".ipython")  # nothing of or for the person who runs this
    client = NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", record_timing=False, coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )  # fmt: skip
    client.execute(env={**inherited, "IPYTHONDIR": ipython, **variables})


def clean(notebook: Notebook, folder: Path) -> None:
    """Leave out of the outputs what belongs to others, to this machine, or to this run alone."""
    notebook.metadata["language_info"] = {"name": "python"}  # and not the version that ran it
    for cell in code_cells(notebook):
        tags = cell.metadata.get("tags", ())
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                data.pop("image/jpeg", None)  # Pillow gives both
            if WITH_PHOTOGRAPHS in tags:
                leave_out_pictures(data)
            for name in ("text/plain", "text/html", "text/markdown"):
                if name in data:
                    data[name] = without_folder(data[name], folder)
            if "text" in output:
                output["text"] = without_folder(output["text"], folder)


def leave_out_pictures(data: dict[str, Any]) -> None:
    """Take the pictures out of one output and say so; captions stay."""
    for name in [name for name in data if name.startswith("image/")]:
        del data[name]
    if IMAGE_ELEMENT.search(data.get("text/html", "")):
        data["text/html"] = LEFT_OUT + IMAGE_ELEMENT.sub("", data["text/html"])


def without_folder(text: str, folder: Path) -> str:
    """Make paths below the folder in which the notebook ran relative to it."""
    for start in {str(folder), str(folder.resolve())}:
        text = text.replace(f"{start}{os.sep}", "")
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def find_problems(notebook: Notebook) -> Iterator[str]:
    """Say what must not stand in the file."""
    for cell in code_cells(notebook):
        drawn = WITH_A_DRAWING in cell.metadata.get("tags", ())
        for output in cell.outputs:
            data = {"text/plain": output.get("text", ""), **output.get("data", {})}
            kinds = {name for name in data if name.startswith("image/")} - {"image/svg+xml"}
            text = "\n".join(str(value) for name, value in data.items() if name not in kinds)
            if EMBEDDED.search(text) or (kinds and not drawn):
                yield f"cell {cell.id} shows a picture and has neither the tag `photographs` nor `drawing`"
            if found := MACHINE.search(text):
                yield f"cell {cell.id} names a path of this machine: {found[0]}"


def code_cells(notebook: Notebook) -> Iterator[Notebook]:
    """Give the cells that are run."""
    return (cell for cell in notebook.cells if cell.cell_type == "code")


if __name__ == "__main__":
    main()
