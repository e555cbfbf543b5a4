"""Run the notebook from top to bottom and save its outputs, without photos.

    python notebook/execute.py --data pets [--limit 1000] [--backbone starter] [--out FILE]

It runs in a new home folder, with the defaults of its first cell unless an option changes them. Images are removed from
the outputs of cells tagged `photographs`, since the data set belongs to others; captions are kept. If an output would
still contain a photo or a path of this machine, nothing is written.
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

CELL_TIMEOUT: Final = 1800
"""Timeout per cell: training on all images takes some minutes on a slow machine."""

PHOTOS_TAG: Final = "photographs"
DRAWING_TAG: Final = "drawing"
REMOVED_NOTE: Final = "<p><em>Photos aren't stored in this file. Run the cell to see them.</em></p>"

IMAGE_ELEMENT: Final = re.compile(r"<img\b[^>]*>")
EMBEDDED: Final = re.compile(r"data:image/|<image\b")
"""Images embedded in HTML or SVG."""

LOCAL_PATH: Final = re.compile(r"(?<![\w.…/:])/(?:home|Users|root|tmp|var|private|mnt|work|workspace|opt|srv)/[\w.-]+")

Notebook = Any
"""A node of nbformat: a dictionary with its keys as attributes."""


def main() -> None:
    """Run the notebook, clean its outputs, check them and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/cats, train/dogs, test/cats, …")
    parser.add_argument("--limit", type=int, help="training images per class, 0 for all (default: the notebook's)")
    parser.add_argument("--backbone", help="starter, imagenet or a weights file (default: the notebook's)")
    parser.add_argument("--out", type=Path, default=NOTEBOOK, help="output file (default: the notebook itself)")
    options = parser.parse_args()
    if not options.data.is_dir():
        sys.exit(f"--data must be a folder of images; {str(options.data)!r} isn't a folder.")
    backbone = options.backbone
    if backbone and Path(backbone).is_file():
        backbone = Path(backbone).absolute()  # the cells run in another folder
    values = {"CATDOG_NOTEBOOK_LIMIT": options.limit, "CATDOG_NOTEBOOK_BACKBONE": backbone}
    variables = {name: str(value) for name, value in values.items() if value is not None}
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), options.data.absolute())
        run(notebook, Path(folder), variables)
        clean(notebook, Path(folder))
    if problems := list(find_problems(notebook)):
        sys.exit("Notebook not written: " + "; ".join(problems))
    nbformat.validate(notebook)
    nbformat.write(notebook, options.out)


def prepare(folder: Path, data: Path) -> None:
    """Prepare a folder like the notebook's, with the data at the first cell's default path."""
    home = folder / "catdog-home"
    home.mkdir(exist_ok=True)
    (home / "data").symlink_to(data, target_is_directory=True)
    shutil.copy(DRAWING, folder)


def run(notebook: Notebook, folder: Path, variables: Mapping[str, str]) -> None:
    """Execute all cells in a folder, with environment variables; stop at the first error."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CATDOG_NOTEBOOK_")}
    ipython = str(folder / ".ipython")  # ignore the user's IPython profile
    client = NotebookClient(
        notebook, timeout=CELL_TIMEOUT, kernel_name="python3", record_timing=False, coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )  # fmt: skip
    client.execute(env={**inherited, "IPYTHONDIR": ipython, **variables})


def clean(notebook: Notebook, folder: Path) -> None:
    """Remove photos, and what depends on the machine or the run, from the outputs."""
    notebook.metadata["language_info"] = {"name": "python"}  # without the Python version
    for cell in code_cells(notebook):
        tags = cell.metadata.get("tags", ())
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                data.pop("image/jpeg", None)  # Pillow returns both
            if PHOTOS_TAG in tags:
                remove_images(data)
            for name in ("text/plain", "text/html", "text/markdown"):
                if name in data:
                    data[name] = relative_paths(data[name], folder)
            if "text" in output:
                output["text"] = relative_paths(output["text"], folder)


def remove_images(data: dict[str, Any]) -> None:
    """Remove the images from an output and add a note; keep captions."""
    for name in [name for name in data if name.startswith("image/")]:
        del data[name]
    if IMAGE_ELEMENT.search(data.get("text/html", "")):
        data["text/html"] = REMOVED_NOTE + IMAGE_ELEMENT.sub("", data["text/html"])


def relative_paths(text: str, folder: Path) -> str:
    """Make paths below the notebook's folder relative, and remove memory addresses."""
    for start in {str(folder), str(folder.resolve())}:
        text = text.replace(f"{start}{os.sep}", "")
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def find_problems(notebook: Notebook) -> Iterator[str]:
    """Yield what must not be in the file: photos and local paths."""
    for cell in code_cells(notebook):
        is_drawing = DRAWING_TAG in cell.metadata.get("tags", ())
        for output in cell.outputs:
            data = {"text/plain": output.get("text", ""), **output.get("data", {})}
            kinds = {name for name in data if name.startswith("image/")} - {"image/svg+xml"}
            text = "\n".join(str(value) for name, value in data.items() if name not in kinds)
            if EMBEDDED.search(text) or (kinds and not is_drawing):
                yield f"cell {cell.id} shows an image but isn't tagged `photographs` or `drawing`"
            if found := LOCAL_PATH.search(text):
                yield f"cell {cell.id} contains a local path: {found[0]}"


def code_cells(notebook: Notebook) -> Iterator[Notebook]:
    """Iterate over the code cells."""
    return (cell for cell in notebook.cells if cell.cell_type == "code")


if __name__ == "__main__":
    main()
