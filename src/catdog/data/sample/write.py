"""Write drawings into `train/`, `test/` and `other/`, atomically."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from catdog.data.sample import creatures, extras, pets, things
from catdog.data.sample.camera import SIZES, Camera
from catdog.data.sample.canvas import Canvas
from catdog.errors import DatasetError
from catdog.parallel import bounded_map
from catdog.settings import available_cores
from catdog.storage.regular_files import absolute

Draw = Callable[[Canvas], None]
Progress = Callable[[int, int], None]

CLASSES: Final[dict[str, Draw]] = {
    "cats": pets.cat,
    "dogs": pets.dog,
    "rabbits": pets.rabbit,
    "birds": creatures.bird,
    "fish": creatures.fish,
    "butterflies": creatures.butterfly,
    "turtles": creatures.turtle,
    "flowers": things.flower,
    "mushrooms": things.mushroom,
    "cars": things.car,
    "boats": things.boat,
    "houses": things.house,
}
"""Class folders in the order in which a number of classes takes them."""

_EXTRAS: Final[tuple[Draw, ...]] = (
    extras.mug,
    extras.umbrella,
    extras.balloon,
    extras.cactus,
    extras.clock,
    extras.apple,
)

OTHER: Final = 12
"""Images in `other/`."""

MIN_PER_CLASS: Final = 10
"""Training images per class: with fewer, nothing can be trained."""


@dataclass(frozen=True)
class SampleData:
    """A data set that was drawn: its folder, and the number of images by split and class."""

    folder: Path
    counts: dict[str, dict[str, int]]
    other: int


@dataclass(frozen=True)
class _Image:
    """An image to be drawn: its path, drawing function and seed."""

    path: str
    draw: Draw
    seed: tuple[int, ...]

    def render(self) -> bytes:
        """Draw the image and return its JPEG file."""
        rng = np.random.default_rng(self.seed)
        canvas = Canvas(SIZES[int(rng.integers(len(SIZES)))], rng)
        self.draw(canvas)
        return Camera.drawn(rng).take(canvas.finish(), rng)


def write_sample_data(
    folder: Path,
    *,
    classes: int = 2,
    per_class: int = 60,
    seed: int = 42,
    on_progress: Progress | None = None,
) -> SampleData:
    """Draw a labelled data set: `train/CLASS`, `test/CLASS`, and `other/` with things of no class.

    Args:
        folder: where to write; it must be new or empty.
        classes: number of classes, 2 to 12: cats and dogs first.
        per_class: training images per class, 10 or more; a third as many are drawn for the test split.
        seed: the same seed gives the same images. An image doesn't depend on how many others are drawn.
        on_progress: called with the number of images drawn and the number to draw.

    Raises:
        DatasetError: the folder isn't empty, or a number is out of range.
    """
    if not 2 <= classes <= len(CLASSES):
        raise DatasetError(f"The sample data has 2 to {len(CLASSES)} classes, not {classes}.")
    if per_class < MIN_PER_CLASS or seed < 0:
        raise DatasetError(f"At least {MIN_PER_CLASS} images per class are needed, and a seed of 0 or more.")
    counts = {"train": per_class, "test": -(-per_class // 3)}
    names = list(CLASSES)[:classes]
    images = [*_labelled(names, counts, seed), *_other(names, seed)]
    with _new_folder(absolute(folder)) as new:
        for path in {new / image.path for image in images}:
            path.parent.mkdir(parents=True, exist_ok=True)
        files = bounded_map(_Image.render, images, available_cores())
        for done, (image, data) in enumerate(zip(images, files, strict=True), 1):
            (new / image.path).write_bytes(data)
            if on_progress:
                on_progress(done, len(images))
    return SampleData(folder, {split: dict.fromkeys(names, count) for split, count in counts.items()}, OTHER)


def _labelled(names: list[str], counts: dict[str, int], seed: int) -> Iterator[_Image]:
    for part, (split, count) in enumerate(counts.items()):
        for number, name in enumerate(names):
            draw = CLASSES[name]
            for i in range(count):
                yield _Image(f"{split}/{name}/{draw.__name__}.{i + 1:04}.jpg", draw, (seed, number, part, i))


def _other(names: list[str], seed: int) -> Iterator[_Image]:
    draws = [*_EXTRAS, *(draw for name, draw in CLASSES.items() if name not in names)]
    for i in range(OTHER):
        draw = draws[i % len(draws)]
        yield _Image(f"other/{draw.__name__}.{i + 1:04}.jpg", draw, (seed, len(CLASSES), 2, i))


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder, whose contents are moved to `folder` at the end.

    Raises:
        DatasetError: `folder` isn't empty, or isn't a folder.
    """
    _require_empty(folder)
    exists = folder.is_dir()
    made = [path for path in folder.parents if not path.exists()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Inside an existing folder, which may be a mount or a working directory; next to a new one.
        with tempfile.TemporaryDirectory(prefix=".sample-", dir=folder if exists else folder.parent) as aside:
            new = Path(aside) / "new"
            new.mkdir()
            yield new
            if not exists:
                _require_empty(folder)  # it may have been created meanwhile
            _move(new, folder)
    except BaseException:
        with suppress(OSError):  # not empty any more
            for path in made:
                path.rmdir()
        raise


def _require_empty(folder: Path) -> None:
    if folder.is_dir():
        if any(folder.iterdir()):
            raise DatasetError(f"The folder {folder} isn't empty. Name a new folder, or empty this one first.")
    elif folder.exists() or folder.is_symlink():
        raise DatasetError(f"{folder} is a file. Name a folder, new or empty.")


def _move(new: Path, folder: Path) -> None:
    if not folder.exists():
        new.rename(folder)
        return
    moved: list[Path] = []
    try:
        for part in sorted(new.iterdir()):
            target = folder / part.name
            part.rename(target)
            moved.append(target)
    except BaseException:
        for target in moved:
            target.rename(new / target.name)
        raise
