"""Scanning of folders into a manifest: images with class and split, and unusable files.

Classes are the names of folders. Whether a file is an image is decided by decoding it. Unusable files are listed with
the reason.
"""

import hashlib
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, select

from catdog.data.images.pixels import Limits, limits_of, read_picture, verify
from catdog.data.labels import require_distinct
from catdog.data.layout.reading import GUESSED, NO_CLASS, OWN, Layout, Place, Reading, read_layout
from catdog.data.layout.split_words import SPLITS
from catdog.data.layout.vocabulary import Split
from catdog.data.manifest import Manifest, Rejected
from catdog.data.split import Picture, hold_out
from catdog.data.walking import Listing, list_tree, walk
from catdog.errors import DatasetError, PictureError
from catdog.parallel import bounded_map
from catdog.settings import Settings
from catdog.storage import database, tables
from catdog.storage.regular_files import absolute
from catdog.text import counted, listed

MIN_CLASSES: Final = 2
MIN_PICTURES: Final = 10
"""Minimum usable images per class; with fewer, neither training nor evaluation is meaningful."""

MAX_COUNTED: Final = 10_000
"""Maximum files counted in a hidden folder, for a remark."""

MAX_PATH_BYTES: Final = 2000
"""Files with longer paths are used but read again in each scan."""


@dataclass(frozen=True)
class Scanned:
    """Result of reading a file; `problem` is None if it can be used."""

    path: Path
    size: int
    modified_ns: int
    sha256: str
    problem: str | None


@dataclass
class ScanResult:
    """A manifest, how the folders were read, and the files read, for `remember`."""

    manifest: Manifest
    reading: Reading
    read: list[Scanned] = field(default_factory=list)


def scan(
    root: Path,
    settings: Settings,
    *,
    layout: Layout = GUESSED,
    on_progress: Callable[[int, int], None] | None = None,
) -> ScanResult:
    """Read a folder into a manifest; writes nothing.

    Copies of a file count once, in the test split if one is there, and are rejected if they are in several classes. If
    there is no test or validation folder, a fixed share is held out by hash.

    Args:
        root: the data set's folder.
        settings: limits, shares, threads, and the database with unchanged files of earlier scans.
        layout: how to read the folders.
        on_progress: called with (files done, files in total).

    Raises:
        DatasetError: the folder is missing, its layout is unclear, or there are fewer than 2 classes or 10 usable
            images per class.
    """
    result = read_folder(root, settings, layout=layout, on_progress=on_progress)
    return replace(result, manifest=divide(result.manifest, settings))


def divide(manifest: Manifest, settings: Settings) -> Manifest:
    """Check that a data set can be trained on, hold out missing splits, and add remarks on missing images.

    Raises:
        DatasetError: there are too few classes or images, ambiguous names, or no training images.
    """
    _require_enough(manifest)
    divided = replace(manifest, pictures=hold_out(manifest.pictures, settings))
    _require_training(divided)
    return replace(divided, remarks=(*divided.remarks, *_missing(divided)))


def read_folder(
    root: Path,
    settings: Settings,
    *,
    layout: Layout = GUESSED,
    on_progress: Callable[[int, int], None] | None = None,
) -> ScanResult:
    """Read a folder like `scan`, but without a minimum and without holding out images.

    Raises:
        DatasetError: the folder is missing, or its layout is unclear.
    """
    root = absolute(root)
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder. Name a folder of images.")
    listing = list_tree(root)
    parts = {path: path.relative_to(root).parts for path in listing.files}
    folders = [path.relative_to(root).parts for path in listing.folders]
    own = layout == GUESSED and root == settings.data_dir.absolute() and _is_imported(folders)
    reading = read_layout(list(parts.values()), folders, OWN if own else layout)
    placed = {path: reading.places[at] for path, at in parts.items() if at in reading.places}
    rejected = [Rejected(root.joinpath(*at), NO_CLASS) for at in reading.stray]
    rejected += [Rejected(path, reason) for path, reason in listing.problems]
    known = _known_files(root, settings)
    limits = limits_of(settings)

    def look(path: Path) -> Scanned:
        return _scan_file(path, known, limits, settings.max_picture_bytes)

    scanned = []
    for result in bounded_map(look, placed, settings.resolved_threads):
        scanned.append(result)
        if on_progress:
            on_progress(len(scanned), len(placed))
    manifest = _merge(root, placed, scanned, rejected)
    manifest = replace(manifest, remarks=_remarks(reading, manifest, listing), clutter=listing.clutter, layout=layout)
    return ScanResult(manifest, reading, [s for s in scanned if known.get(str(s.path)) != s])


def _is_imported(folders: Sequence[tuple[str, ...]]) -> bool:
    """Return whether `data/` contains only imported images, whatever its classes are called."""
    fits = all(len(parts) <= 2 and parts[0] in SPLITS for parts in folders)
    return fits and any(len(parts) == 2 for parts in folders)


def _remarks(reading: Reading, manifest: Manifest, listing: Listing) -> tuple[str, ...]:
    remarks = list(reading.remarks)
    unusable = {place.folder for place in reading.places.values()} - set(manifest.classes)
    if unusable:
        remarks.append(f"Without usable images: {listed(sorted(unusable))}.")
    hidden = {folder: sum(1 for _ in islice(walk(folder), MAX_COUNTED)) for folder in listing.hidden}
    if sum(hidden.values()):
        names = [f"{folder.relative_to(manifest.root)}/" for folder, count in hidden.items() if count]
        remarks.append(
            f"Hidden folders are skipped, with {counted(sum(hidden.values()), 'file')}: {listed(names)}. Rename them "
            "if they are classes."
        )
    return tuple(remarks)


def _missing(manifest: Manifest) -> list[str]:
    """Return remarks on classes without images in a split that other classes have."""
    remarks = []
    for split, counts in manifest.counts().items():
        without = [name for name, count in counts.items() if not count]
        if without and any(counts.values()):
            found = "class has" if len(without) == 1 else "classes have"
            remarks.append(f"{len(without):,} {found} no {split} images: {listed(without)}.")
    return remarks


def remember(engine: Engine, scanned: Iterable[Scanned]) -> None:
    """Store the files read by a scan, so the next one reads only new and changed files."""
    rows = [
        {
            "path": str(s.path),
            "size": s.size,
            "modified_ns": s.modified_ns,
            "sha256": s.sha256,
            "problem": s.problem,
        }
        for s in sorted(scanned, key=lambda s: str(s.path))  # the same order in all processes avoids deadlocks
        if _is_storable_path(s.path)
    ]
    insert = database.insert_into(engine, tables.files)
    fresh = {column.name: insert.excluded[column.name] for column in tables.files.c if not column.primary_key}
    with engine.begin() as connection:
        if rows:
            connection.execute(insert.on_conflict_do_update(index_elements=["path"], set_=fresh), rows)


def _known_files(root: Path, settings: Settings) -> dict[str, Scanned]:
    if not (database.database_exists(settings) and _is_storable_path(root)):
        return {}
    table = tables.files
    engine = database.open_database(settings)
    with engine.connect() as connection:
        rows = connection.execute(select(table).where(table.c.path.startswith(f"{root}{os.sep}", autoescape=True)))
        known = {row.path: Scanned(Path(row.path), *row[1:]) for row in rows}
    engine.dispose()
    return known


def _is_storable_path(path: Path) -> bool:
    """Return whether the database can store a path: UTF-8, and short enough for PostgreSQL's index (2,704 bytes)."""
    is_text = not any("\udc80" <= character <= "\udcff" for character in str(path))
    return is_text and len(os.fsencode(path)) <= MAX_PATH_BYTES


def _scan_file(path: Path, known: dict[str, Scanned], limits: Limits, max_bytes: int) -> Scanned:
    try:
        status = path.stat()
        before = known.get(str(path))
        # Rejected files are read again, as the limits or decoders may have changed.
        unchanged = before and (before.size, before.modified_ns) == (status.st_size, status.st_mtime_ns)
        if before and unchanged and before.problem is None:
            return before
        if not stat.S_ISREG(status.st_mode):  # reading a pipe or device may never end
            return Scanned(path, -1, -1, "", "It is not a regular file.")
        if status.st_size > max_bytes:
            problem = f"The file is too large: it has {status.st_size:,} bytes. The maximum is {max_bytes:,}."
            return Scanned(path, status.st_size, status.st_mtime_ns, "", problem)
        data = read_picture(path, max_bytes)
    except (OSError, PictureError) as error:
        broken = isinstance(error, FileNotFoundError) and path.is_symlink()
        return Scanned(path, -1, -1, "", "It is a broken link." if broken else str(error))
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
    """Return a manifest with each image once, without contradictory labels, and with numbered classes."""
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
            reason = f"The same image is in several classes: {', '.join(names)}."
            rejected.extend(Rejected(path, reason) for path in paths)
            continue
        path = max(paths, key=lambda path: _PRECEDENCE[placed[path].split])
        pictures.append(Picture(path, sha256, numbers[names[0]], placed[path].split or "train"))
        duplicates += len(paths) - 1
    pictures.sort(key=lambda picture: picture.path)
    rejected.sort(key=lambda item: item.path)
    return Manifest(root, classes, tuple(pictures), tuple(rejected), duplicates)


# A copy in a held-out split takes precedence, as test images must not be trained on.
_PRECEDENCE: Final[dict[Split | None, int]] = {None: 0, "train": 1, "validation": 2, "test": 3}


def _require_enough(manifest: Manifest) -> None:
    counts = Counter(picture.label for picture in manifest.pictures)
    fewest_first = sorted(enumerate(manifest.classes), key=lambda item: len(manifest.classes) > 10 and counts[item[0]])
    found = listed(f"{name}: {counts[i]}" for i, name in fewest_first) or "none"
    unusable = counted(len(manifest.rejected), "unusable file")
    if len(manifest.classes) < MIN_CLASSES:
        raise DatasetError(
            f"At least {MIN_CLASSES} class folders with usable images are needed, such as cats/ and dogs/, on their "
            f"own or in train/ and test/. Found in {manifest.root}: {found} ({unusable}). `catdog data check` shows "
            "how the folders are read; --layout sets how to read them."
        )
    require_distinct(manifest.classes)
    if min(counts[i] for i in range(len(manifest.classes))) < MIN_PICTURES:
        raise DatasetError(
            f"At least {MIN_PICTURES} usable images per class are needed. Found in {manifest.root}: {found} "
            f"({unusable}; see `catdog data check`)."
        )


def _require_training(manifest: Manifest) -> None:
    without = [name for name, count in manifest.counts()["train"].items() if not count]
    if without:
        raise DatasetError(
            f"Each class needs training images. {manifest.root} has none of {listed(map(repr, without))} outside the "
            "held-out folders."
        )
