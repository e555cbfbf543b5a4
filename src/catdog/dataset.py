"""Folders to a manifest: which pictures there are, of which class, in which split, and what cannot be used.

Classes are the names of folders. A file is judged by decoding it, never by its extension; what cannot be used is
listed with its reason and never stops the rest.
"""

import csv
import hashlib
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, select

from catdog import database, tables
from catdog.errors import DatasetError, PictureError
from catdog.layout import SPLITS, Place, Split, place, walk
from catdog.parallel import bounded_map
from catdog.preprocessing import Limits, read_picture, verify
from catdog.regular_files import absolute
from catdog.settings import Settings
from catdog.split import Picture, hold_out
from catdog.wording import counted

MIN_CLASSES: Final = 2
MIN_PICTURES: Final = 10
"""Fewest usable pictures in a class: under that, neither a fit nor a measurement means anything."""

MAX_PATH_BYTES: Final = 2000
"""A file whose path is longer is used, and read anew at each scan."""

_SHOWN_AS: Final = {"cats": "Cat", "dogs": "Dog"}


@dataclass(frozen=True)
class Rejected:
    """A file that was not used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Manifest:
    """What a data set holds. `classes` are folder names in alphabetical order; labels number them."""

    root: Path
    classes: tuple[str, ...]
    pictures: tuple[Picture, ...]
    rejected: tuple[Rejected, ...] = ()
    duplicates: int = 0

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


@dataclass(frozen=True)
class Scanned:
    """What reading one file found; `problem` is None where the file can be used."""

    path: Path
    size: int
    modified_ns: int
    sha256: str
    problem: str | None


@dataclass
class ScanResult:
    """A manifest with what `remember` needs to spare the next scan the reading."""

    manifest: Manifest
    read: list[Scanned] = field(default_factory=list)


def display_name(folder: str) -> str:
    """Name a class for people: `cats` is Cat, `dogs` is Dog, any other folder keeps its name."""
    return _SHOWN_AS.get(folder, folder)


def probability_key(folder: str) -> str:
    """Name a class in documents for machines: `cats` is `cat`, `dogs` is `dog`, any other keeps its name."""
    return _SHOWN_AS[folder].lower() if folder in _SHOWN_AS else folder


def match_class(name: str, classes: Sequence[str]) -> int | None:
    """Find the class that a person means by `name`, by folder, shown or key name, in any case; else None."""
    wanted = name.casefold()
    for index, folder in enumerate(classes):
        if wanted in (folder.casefold(), display_name(folder).casefold(), probability_key(folder).casefold()):
            return index
    return None


def scan(root: Path, settings: Settings, *, on_progress: Callable[[int, int], None] | None = None) -> ScanResult:
    """Read a folder into a manifest; writes nothing.

    The same bytes twice count once, in the test split where one of them lies there; the same bytes under two
    classes are rejected. Where the data has no test or validation folder, a fixed share by hash is held out.

    Args:
        root: the data set's folder.
        settings: limits, shares, threads, and the database that knows unchanged files from earlier scans.
        on_progress: called with (files done, files in all).

    Raises:
        DatasetError: no such folder, fewer than 2 classes, or fewer than 10 usable pictures in a class.
    """
    result = read_folder(root, settings, on_progress=on_progress)
    return ScanResult(make_trainable(result.manifest, settings), result.read)


def make_trainable(manifest: Manifest, settings: Settings) -> Manifest:
    """Hold out a share for testing where that is needed; raises what `scan` does where too little is there."""
    _require_enough(manifest)
    manifest = replace(manifest, pictures=hold_out(manifest.pictures, settings))
    _require_training(manifest)
    return manifest


def read_folder(root: Path, settings: Settings, *, on_progress: Callable[[int, int], None] | None = None) -> ScanResult:
    """Read a folder as `scan` does, without asking for a minimum and without holding anything out.

    Raises:
        DatasetError: no such folder.
    """
    root = absolute(root)
    if not root.is_dir():
        raise DatasetError(f"A folder of pictures is needed. Received: {root}, which is not a folder.")
    placed, stray = place(root, sorted(walk(root)))
    rejected = [Rejected(path, "It lies in no class folder.") for path in stray]
    known = _known_files(root, settings)
    limits = Limits(settings.max_pixels, settings.max_side)

    def look(path: Path) -> Scanned:
        return _look(path, known, limits, settings.max_picture_bytes)

    scanned = []
    for result in bounded_map(look, placed, settings.resolved_threads):
        scanned.append(result)
        if on_progress:
            on_progress(len(scanned), len(placed))
    manifest = _merge(root, placed, scanned, rejected)
    return ScanResult(manifest, [s for s in scanned if known.get(str(s.path)) != s])


def remember(engine: Engine, scanned: Iterable[Scanned]) -> None:
    """Keep what a scan read, so that the next one reads only new and changed files; another may do so meanwhile."""
    rows = [
        {
            "path": str(s.path),
            "size": s.size,
            "modified_ns": s.modified_ns,
            "sha256": s.sha256,
            "problem": s.problem,
        }
        for s in sorted(scanned, key=lambda s: str(s.path))  # one order for all, so that none waits in a circle
        if _can_be_kept(s.path)
    ]
    insert = database.insert_into(engine, tables.files)
    fresh = {column.name: insert.excluded[column.name] for column in tables.files.c if not column.primary_key}
    with engine.begin() as connection:
        if rows:
            connection.execute(insert.on_conflict_do_update(index_elements=["path"], set_=fresh), rows)


def _known_files(root: Path, settings: Settings) -> dict[str, Scanned]:
    if not (database.database_exists(settings) and _can_be_kept(root)):
        return {}
    table = tables.files
    engine = database.open_database(settings)
    with engine.connect() as connection:
        rows = connection.execute(select(table).where(table.c.path.startswith(f"{root}{os.sep}", autoescape=True)))
        known = {row.path: Scanned(Path(row.path), *row[1:]) for row in rows}
    engine.dispose()
    return known


def _can_be_kept(path: Path) -> bool:
    """Tell whether the database takes a path: a file's name may be any bytes, and Postgres' indexes end at 2,704."""
    is_text = not any("\udc80" <= character <= "\udcff" for character in str(path))
    return is_text and len(os.fsencode(path)) <= MAX_PATH_BYTES


def _look(path: Path, known: dict[str, Scanned], limits: Limits, max_bytes: int) -> Scanned:
    try:
        status = path.stat()
        before = known.get(str(path))
        # What was refused is read again: the limits, or what can be decoded, may be others now.
        unchanged = before and (before.size, before.modified_ns) == (status.st_size, status.st_mtime_ns)
        if before and unchanged and before.problem is None:
            return before
        if not stat.S_ISREG(status.st_mode):  # reading a pipe or device may never end
            return Scanned(path, -1, -1, "", "It is not a regular file.")
        if status.st_size > max_bytes:
            problem = f"The file is too large; at most {max_bytes:,} bytes are allowed. Received: {status.st_size:,}."
            return Scanned(path, status.st_size, status.st_mtime_ns, "", problem)
        data = read_picture(path, max_bytes)
    except (OSError, PictureError) as error:
        return Scanned(path, -1, -1, "", str(error))
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        verify(data, limits)
    except PictureError as error:
        return Scanned(path, status.st_size, status.st_mtime_ns, sha256, str(error))
    return Scanned(path, status.st_size, status.st_mtime_ns, sha256, None)


def _merge(
    root: Path,
    placed: dict[Path, Place],
    scanned: Sequence[Scanned],
    rejected: list[Rejected],
) -> Manifest:
    """Count each picture once, refuse contradictory labels, and number the classes."""
    rejected = [*rejected, *(Rejected(s.path, s.problem) for s in scanned if s.problem)]
    copies: dict[str, list[Path]] = defaultdict(list)
    for s in scanned:
        if s.problem is None:
            copies[s.sha256].append(s.path)
    classes = tuple(sorted({placed[path].folder for paths in copies.values() for path in paths}))
    numbers = {name: i for i, name in enumerate(classes)}
    pictures, duplicates = [], 0
    for sha256, paths in copies.items():
        names = sorted({placed[path].folder for path in paths})
        if len(names) > 1:
            reason = f"The same picture lies under several classes: {', '.join(names)}."
            rejected.extend(Rejected(path, reason) for path in paths)
            continue
        path = max(paths, key=lambda path: _PRECEDENCE[placed[path].split])
        pictures.append(Picture(path, sha256, numbers[names[0]], placed[path].split or "train"))
        duplicates += len(paths) - 1
    pictures.sort(key=lambda picture: picture.path)
    rejected.sort(key=lambda item: item.path)
    return Manifest(root, classes, tuple(pictures), tuple(rejected), duplicates)


# What is tested on must not be trained on: a copy in a held-out split takes the picture there.
_PRECEDENCE: Final[dict[Split | None, int]] = {None: 0, "train": 1, "validation": 2, "test": 3}


def _require_enough(manifest: Manifest) -> None:
    counts = Counter(picture.label for picture in manifest.pictures)
    found = ", ".join(f"{name}: {counts[i]}" for i, name in enumerate(manifest.classes)) or "none"
    if len(manifest.classes) < MIN_CLASSES:
        raise DatasetError(
            f"At least {MIN_CLASSES} class folders with usable pictures are needed, such as cats/ and dogs/, alone or "
            f"under train/ and test/. Received: {found}, in {manifest.root} "
            f"({counted(len(manifest.rejected), 'unusable file')})."
        )
    if len({probability_key(name) for name in manifest.classes}) < len(manifest.classes):
        raise DatasetError(
            "Classes need names of their own, and cats is also called cat, dogs also dog. "
            f"Received: {found}, in {manifest.root}."
        )
    if min(counts[i] for i in range(len(manifest.classes))) < MIN_PICTURES:
        raise DatasetError(
            f"At least {MIN_PICTURES} usable pictures a class are needed. Received: {found}, in {manifest.root} "
            f"({counted(len(manifest.rejected), 'file')} not usable; see `catdog data check`)."
        )


def _require_training(manifest: Manifest) -> None:
    for name, count in manifest.counts()["train"].items():
        if not count:
            raise DatasetError(
                f"Each class needs training pictures. Received: none of {name!r} outside the held-out folders, "
                f"in {manifest.root}."
            )
