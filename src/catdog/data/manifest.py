"""What a data set holds: its usable images with class and split, and the files that can't be used."""

import csv
import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catdog.data.layout.reading import GUESSED, Layout
from catdog.data.layout.split_words import SPLITS
from catdog.data.layout.vocabulary import Split
from catdog.data.split import Picture


@dataclass(frozen=True)
class Rejected:
    """A file that wasn't used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Manifest:
    """What a data set holds.

    Attributes:
        root: its folder.
        classes: names in alphabetical order; labels number them.
        pictures: what can be used, in order of their paths.
        rejected: files that can't be used.
        duplicates: copies of other files.
        remarks: sentences on how the folders were read, and on classes without images.
        clutter: how many files were passed over as system files, labels and documents.
        layout: what a person said about the folders.
    """

    root: Path
    classes: tuple[str, ...]
    pictures: tuple[Picture, ...]
    rejected: tuple[Rejected, ...] = ()
    duplicates: int = 0
    remarks: tuple[str, ...] = ()
    clutter: int = 0
    layout: Layout = GUESSED

    def select(self, split: Split) -> list[Picture]:
        """Return the pictures of one split, in the order of their paths."""
        return [picture for picture in self.pictures if picture.split == split]

    def paths(self, split: Split) -> list[Path]:
        """Return the paths of one split; `labels` are in the same order."""
        return [picture.path for picture in self.select(split)]

    def labels(self, split: Split) -> NDArray[np.int64]:
        """Return the class numbers of one split, `(N,) int64 in [0, classes)`."""
        return np.array([picture.label for picture in self.select(split)], np.int64)

    def counts(self) -> dict[str, dict[str, int]]:
        """Count the pictures: split -> class -> number."""
        table = Counter((picture.split, picture.label) for picture in self.pictures)
        return {split: {name: table[split, i] for i, name in enumerate(self.classes)} for split in SPLITS}

    @property
    def digest(self) -> str:
        """SHA-256 over every picture's hash, class and split: equal for equal data, wherever it lies."""
        lines = sorted(f"{p.sha256} {self.classes[p.label]} {p.split}" for p in self.pictures)
        return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()

    def write_csv(self, path: Path) -> None:
        """Write one line a picture: sha256, class, split and path relative to the root."""
        with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow(["sha256", "class", "split", "path"])
            for picture in self.pictures:
                relative = os.path.relpath(picture.path, self.root)
                writer.writerow([picture.sha256, self.classes[picture.label], picture.split, relative])
