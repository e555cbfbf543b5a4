"""Drawn cats and dogs: made pictures that a network can tell apart, for tests without photographs."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from catdog.retraining.uploads.uploads import Uploads
from catdog.settings import Settings
from catdog.storage.database import open_database


def draw(animal: str, seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Draw a head: cats have upright pointed ears and whiskers, dogs hanging round ears and a long snout."""
    rng = np.random.default_rng([seed, len(animal), ord(animal[0])])
    width, height = size
    ground = (235, 225, 200) if animal.startswith("cat") else (70, 100, 150)  # what even a random network can see
    picture = Image.new("RGB", size, tuple(int(c) for c in rng.normal(ground, 12).clip(0, 255)))
    pen = ImageDraw.Draw(picture)
    radius = min(size) * rng.uniform(0.22, 0.3)
    x = width / 2 + rng.uniform(-0.15, 0.15) * width
    y = height * 0.55 + rng.uniform(-0.05, 0.05) * height
    if animal.startswith("cat"):
        fur = tuple(int(c) for c in rng.normal((215, 130, 40), 15).clip(0, 255))
        for side in (-1, 1):
            tip = (x + side * radius * 0.9, y - radius * 1.8)
            pen.polygon([(x + side * radius * 0.2, y - radius * 0.8), tip, (x + side * radius, y - radius * 0.2)], fur)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fur)
        for line in (-0.2, 0.0, 0.2):
            ends = (x - radius * 1.4, y + radius * line, x + radius * 1.4, y + radius * (0.3 - line))
            pen.line(ends, "black", 2)
    else:
        fur = tuple(int(c) for c in rng.normal((90, 60, 45), 12).clip(0, 255))
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fur)
        for side in (-1, 1):
            middle = x + side * radius
            box = (middle - radius * 0.35, y - radius * 0.8, middle + radius * 0.35, y + radius)
            pen.ellipse(box, tuple(c // 2 for c in fur))
        pen.ellipse((x - radius * 0.5, y, x + radius * 0.5, y + radius * 1.3), tuple(min(c + 60, 255) for c in fur))
    for side in (-1, 1):
        eye_x, eye_y, eye = x + side * radius * 0.4, y - radius * 0.2, radius * 0.12
        pen.ellipse((eye_x - eye, eye_y - eye, eye_x + eye, eye_y + eye), "black")
    return picture


def encode(picture: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """Encode a picture to bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def write_pictures(folder: Path, animal: str, count: int, *, first: int = 0) -> list[Path]:
    """Write `count` different drawings of an animal into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{animal}.{first + i}.jpg" for i in range(count)]
    for i, path in enumerate(paths):
        path.write_bytes(encode(draw(animal, first + i), quality=90))
    return paths


def add_drawings(
    settings: Settings, animal: str, count: int, *, first: int = 20_000, folder: str = "", checked: bool = False
) -> list[Path]:
    """Upload `count` different drawings of an animal, under its class or another."""
    pictures = [encode(draw(animal, first + i), quality=90) for i in range(count)]
    return add_uploads(settings, folder or f"{animal}s", pictures, checked=checked)


def add_uploads(settings: Settings, folder: str, pictures: Sequence[bytes], *, checked: bool = False) -> list[Path]:
    """Upload pictures of a class, whose label a person has confirmed where `checked`; gives the files that are kept."""
    engine = open_database(settings)
    uploads = Uploads(settings, engine)
    before = {picture.sha256 for picture in uploads.storage.find()}
    added = uploads.add([(f"{i}.jpg", data) for i, data in enumerate(pictures)], folder)
    assert not added.rejected
    new = [picture for picture in uploads.storage.find() if picture.sha256 not in before]
    if checked:
        uploads.confirm([picture.id for picture in new])
    engine.dispose()
    return [picture.path for picture in new]


def write_dataset(root: Path, train: int = 30, test: int = 10) -> Path:
    """Write a data set of drawn cats and dogs: `train/cats`, `train/dogs`, `test/cats`, `test/dogs`."""
    for animal in ("cat", "dog"):
        write_pictures(root / "train" / f"{animal}s", animal, train)
        if test:
            write_pictures(root / "test" / f"{animal}s", animal, test, first=10_000)
    return root
