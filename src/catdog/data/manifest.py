"""Contents of a data set: usable images with class and split, and unusable files."""

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
    """Contents of a data set.

    Attributes:
        root: its folder.
        classes: names in alphabetical order; labels are indices into them.
        pictures: usable images, sorted by path.
        rejected: unusable files.
        duplicates: number of copies of other files.
        remarks: sentences on how the folders were read, and on classes without images.
        clutter: number of skipped system files, labels and documents.
        layout: how the user asked to read the folders.
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
        """Return the images of one split, sorted by path."""
        return [picture for picture in self.pictures if picture.split == split]

    def paths(self, split: Split) -> list[Path]:
        """Return the paths of one split; `labels` are in the same order."""
        return [picture.path for picture in self.select(split)]

    def labels(self, split: Split) -> NDArray[np.int64]:
        """Return the class numbers of one split, `(N,) int64 in [0, classes)`."""
        return np.array([picture.label for picture in self.select(split)], np.int64)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of images by split and class."""
        table = Counter((picture.split, picture.label) for picture in self.pictures)
        return {split: {name: table[split, i] for i, name in enumerate(self.classes)} for split in SPLITS}

    @property
    def digest(self) -> str:
        """SHA-256 over the hash, class and split of all images, independent of their location."""
        lines = sorted(f"{p.sha256} {self.classes[p.label]} {p.split}" for p in self.pictures)
        return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()

    def write_csv(self, path: Path) -> None:
        """Write one line per image: sha256, class, split, and path relative to the root."""
        with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow(["sha256", "class", "split", "path"])
            for picture in self.pictures:
                relative = os.path.relpath(picture.path, self.root)
                writer.writerow([picture.sha256, self.classes[picture.label], picture.split, relative])
