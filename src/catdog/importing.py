"""Bring pictures into `data/`: from a folder, an archive, or a known data set that is downloaded first.

Pictures are copied as they are, into `data/<split>/<class>/`; each file appears whole or not at all. Importing the
same pictures again adds nothing.
"""

import contextlib
import hashlib
import logging
import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from catdog.dataset import read_folder
from catdog.errors import DatasetError, DownloadError, MissingDependencyError
from catdog.labels import require_distinct
from catdog.layout import GUESSED, Layout
from catdog.manifest import Manifest, Rejected
from catdog.settings import Settings
from catdog.split import Picture
from catdog.unpacking import UNREADABLE, open_members
from catdog.wording import counted, visible

MAX_NAME_BYTES: Final = 200
"""Longest name that an archive may give a file or folder: file systems take 255, and `_copy` may add a hash."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ImportResult:
    """What an import did: pictures added by split and class, how many were there before, what was refused."""

    added: dict[str, dict[str, int]]
    present: int
    duplicates: int
    rejected: tuple[Rejected, ...]
    data_dir: Path
    remarks: tuple[str, ...] = ()


def is_archive(path: Path) -> bool:
    """Tell whether a file is a zip or tar archive, by content."""
    return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))


def import_pictures(
    source: Path, settings: Settings, *, layout: Layout = GUESSED, on_progress: Progress | None = None
) -> ImportResult:
    """Copy the usable pictures of a folder, zip or tar into `data/`; `layout` is what a person says about its folders.

    Raises:
        DatasetError: neither a folder nor an archive, an archive that cannot be read, no usable pictures in class
            folders, or not enough disk.
    """
    source = source.expanduser().absolute()
    if source.is_dir():
        return _import_folder(source, source, settings, layout, on_progress)
    if not is_archive(source):
        raise DatasetError(f"A folder, zip or tar of pictures is needed. Received: {source}.")
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    # Hidden, so that a scan passes over it, and on the same disk, so that nothing is copied twice.
    with tempfile.TemporaryDirectory(prefix=".import-", dir=settings.data_dir) as unpacked:
        oversized = _unpack(source, Path(unpacked), settings.max_picture_bytes)
        result = _import_folder(Path(unpacked), source, settings, layout, on_progress)
        return replace(result, rejected=(*oversized, *result.rejected))


def download(
    name: str, settings: Settings, *, layout: Layout = GUESSED, on_progress: Progress | None = None
) -> ImportResult:
    """Download a known data set and import it. `name` is `kaggle:OWNER/DATASET`.

    Raises:
        DownloadError: not such a name, or it cannot be fetched; says how to do it by hand.
        MissingDependencyError: kagglehub is not installed.
    """
    kind, _, handle = name.partition(":")
    if kind != "kaggle" or handle.count("/") != 1:
        raise DownloadError(f"A data set is named kaggle:OWNER/DATASET. Received: {name!r}.")
    try:
        import kagglehub
    except ImportError as error:
        raise MissingDependencyError("Downloading needs kagglehub: pip install 'catdog[train]'.") from error
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".download-", dir=settings.data_dir) as folder,
        _environment("KAGGLEHUB_CACHE", folder),
        contextlib.redirect_stdout(sys.stderr),  # kagglehub talks, and stdout is for the answer
    ):
        logger = logging.getLogger("kagglehub")
        logger.handlers, logger.propagate = [], True
        try:
            fetched = Path(kagglehub.dataset_download(handle))
        except Exception as error:  # kagglehub, requests and the disk each have errors of their own
            raise DownloadError(
                f"{name} could not be downloaded: {error}. Where Kaggle cannot be reached, download "
                f"https://www.kaggle.com/datasets/{handle} in a browser and run `catdog data import FILE.zip`."
            ) from error
        return _import_folder(fetched, Path(name), settings, layout, on_progress)


def _import_folder(
    source: Path, shown: Path, settings: Settings, layout: Layout, on_progress: Progress | None
) -> ImportResult:
    """Import a folder; `shown` stands for it in what a person reads, where it was unpacked or downloaded."""
    manifest = read_folder(source, settings, layout=layout, on_progress=on_progress).manifest
    if not manifest.pictures:
        raise DatasetError(
            f"No usable pictures in class folders were found. Received: {shown}, with "
            f"{counted(len(manifest.rejected) + manifest.clutter, 'file')} that cannot be used."
        )
    size = sum(picture.path.stat().st_size for picture in manifest.pictures)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    _require_disk(settings.data_dir, size)
    before = read_folder(settings.data_dir, settings).manifest
    require_distinct(dict.fromkeys((*before.classes, *manifest.classes)))
    present = {p.sha256 for p in before.pictures}
    added: dict[str, dict[str, int]] = {}
    for picture in manifest.pictures:
        if picture.sha256 not in present:
            name = manifest.classes[picture.label]
            _copy(picture, settings.data_dir / picture.split / name)
            counts = added.setdefault(picture.split, {})
            counts[name] = counts.get(name, 0) + 1
    rejected = tuple(Rejected(shown / os.path.relpath(r.path, source), r.reason) for r in manifest.rejected)
    remarks = (*manifest.remarks, *_alike(before.classes, manifest.classes))
    present_count = _count_present(manifest, present)
    return ImportResult(added, present_count, manifest.duplicates, rejected, settings.data_dir, remarks)


def _alike(before: Iterable[str], new: Iterable[str]) -> list[str]:
    """Remark on classes that differ from one that is there already in case only."""
    known = {name.casefold(): name for name in before}
    pairs = [(name, known[name.casefold()]) for name in new if known.get(name.casefold(), name) != name]
    return [
        f"The class {visible(name)} is beside {visible(other)}, which was there before."
        for name, other in pairs
        if name not in known.values()
    ]


def _count_present(manifest: Manifest, present: set[str]) -> int:
    return sum(picture.sha256 in present for picture in manifest.pictures)


def _copy(picture: Picture, folder: Path) -> None:
    """Copy under its own name, or with the start of its hash where another picture has that name."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / picture.path.name
    if target.exists():
        target = folder / f"{picture.path.stem}-{picture.sha256[:12]}{picture.path.suffix}"
    partial = folder / f".{picture.sha256}.part"
    try:
        shutil.copyfile(picture.path, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _require_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DatasetError(f"{needed:,} bytes of disk are needed in {folder}. Received: {free:,} free.")


def _unpack(archive: Path, target: Path, max_bytes: int) -> list[Rejected]:
    """Unpack regular files; names from the archive never lead out of `target`."""
    try:
        with open_members(archive) as (members, total):
            _require_disk(target, total)
            rejected = []
            for name, size, open_member in members:
                path = _safe_path(target, name)
                if size > max_bytes:
                    reason = f"The file is too large; at most {max_bytes:,} bytes are allowed. Received: {size:,}."
                    rejected.append(Rejected(archive / name, reason))
                elif path is not None:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with open_member() as stream, path.open("wb") as file:
                        shutil.copyfileobj(stream, file)
            return rejected
    except UNREADABLE as error:
        raise DatasetError(f"The archive cannot be read: {error}. Received: {archive}.") from error


def _safe_path(target: Path, name: str) -> Path | None:
    parts = PurePosixPath(name.replace("\\", "/").replace("\0", "")).parts
    safe = [_short(part.replace(":", "_")) for part in parts if part.strip("/") not in ("", ".", "..")]
    return target.joinpath(*safe) if safe else None


def _short(name: str) -> str:
    """Cut a name that file systems do not take; its hash keeps it apart from others that begin alike."""
    encoded = os.fsencode(name)
    if len(encoded) <= MAX_NAME_BYTES:
        return name
    suffix = PurePosixPath(name).suffix if len(os.fsencode(PurePosixPath(name).suffix)) < 10 else ""
    return encoded[:150].decode(errors="ignore") + f"-{hashlib.sha256(encoded).hexdigest()[:12]}{suffix}"


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
