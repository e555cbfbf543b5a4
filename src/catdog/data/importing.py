"""Import of images into `data/` from a folder, an archive, or a downloaded data set.

Images are copied unchanged to `data/<split>/<class>/`, by way of a staging folder, so a failed import leaves nothing.
Importing the same images again adds nothing.
"""

import contextlib
import hashlib
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

from catdog.data.archives.kinds import why_none, why_part
from catdog.data.archives.links import Links
from catdog.data.archives.unpacking import NESTED, Member, is_archive, most_unpacked, open_archive, why_nested
from catdog.data.dataset import read_folder
from catdog.data.labels import require_distinct
from catdog.data.layout.reading import GUESSED, NO_CLASS, Layout
from catdog.data.manifest import Manifest, Rejected
from catdog.data.split import Picture
from catdog.data.staging import Staging, prepare
from catdog.errors import DatasetError, DataSetNameError, DownloadError, MissingDependencyError
from catdog.settings import Settings
from catdog.storage.regular_files import absolute
from catdog.text import counted, visible

MAX_NAME_BYTES: Final = 200
"""Maximum length of a name from an archive: file systems allow 255, and a hash may be added."""

Progress = Callable[[int, int], None]
Accept = Callable[[Manifest], None]

_LINK: Final = "It is a link to no file of the archive and was skipped."
_CHUNK: Final = 1024 * 1024
_DRIVE: Final = re.compile(r"^/*[A-Za-z]:(?=/)")


@dataclass(frozen=True)
class ImportResult:
    """Result of an import: images added by split and class, images present before, duplicates and rejected files."""

    added: dict[str, dict[str, int]]
    present: int
    duplicates: int
    rejected: tuple[Rejected, ...]
    data_dir: Path
    remarks: tuple[str, ...] = ()


def import_pictures(
    source: Path,
    settings: Settings,
    *,
    layout: Layout = GUESSED,
    on_progress: Progress | None = None,
    accept: Accept | None = None,
) -> ImportResult:
    """Copy all usable images of a folder, zip or tar into `data/`, atomically.

    Args:
        source: the folder or archive.
        settings: location of `data/`, and limits.
        layout: how to read the folders.
        on_progress: called with (files done, files in total).
        accept: called with the resulting manifest of `data/` before anything is copied; may raise to cancel the import.

    Raises:
        DatasetError: the source is neither a folder nor a readable archive, has no usable images in class folders, or
            the disk is too full.
    """
    source = absolute(source)
    if source.is_dir():
        with prepare(settings.data_dir) as staging:
            return _import_folder(source, source, settings, layout, staging, on_progress, accept)
    try:
        found = is_archive(source)
    except DatasetError as error:
        raise DatasetError(f"Can't read the archive {source}: {error}") from error
    if not found:
        raise DatasetError(f"{source} is not a folder, zip or tar of images. {_why_no_archive(source)}")
    with prepare(settings.data_dir) as staging:
        unpacked = staging.folder / "unpacked"
        unpacked.mkdir()
        refused = _unpack(source, unpacked, settings.max_picture_bytes)
        result = _import_folder(unpacked, source, settings, layout, staging, on_progress, accept, refused)
        return replace(result, rejected=(*refused, *result.rejected))


def download(
    name: str, settings: Settings, *, layout: Layout = GUESSED, on_progress: Progress | None = None
) -> ImportResult:
    """Download the data set `kaggle:OWNER/DATASET` and import it.

    Raises:
        DownloadError: the name is invalid, or the download failed; says how to do it by hand.
        MissingDependencyError: kagglehub isn't installed.
    """
    kind, _, handle = name.partition(":")
    if kind != "kaggle" or not re.fullmatch(r"[^/\s]+/[^/\s]+", handle):
        raise DataSetNameError(f"Names of data sets look like kaggle:OWNER/DATASET: {name!r}.")
    try:
        import kagglehub
    except ImportError as error:
        raise MissingDependencyError("Downloading needs kagglehub: pip install 'catdog[train]'.") from error
    with (
        prepare(settings.data_dir) as staging,
        _environment("KAGGLEHUB_CACHE", str(staging.folder / "kaggle")),
        contextlib.redirect_stdout(sys.stderr),  # kagglehub prints to stdout, which is for results
    ):
        logger = logging.getLogger("kagglehub")
        logger.handlers, logger.propagate = [], True
        try:
            fetched = Path(kagglehub.dataset_download(handle))
        except Exception as error:  # kagglehub, requests and the disk raise different errors
            raise DownloadError(
                f"Can't download {name}: {error}. If Kaggle can't be reached, download "
                f"https://www.kaggle.com/datasets/{handle} in a browser and run `catdog data import FILE.zip`."
            ) from error
        return _import_folder(fetched, Path(name), settings, layout, staging, on_progress)


def _case_remarks(before: Iterable[str], new: Iterable[str]) -> list[str]:
    """Return remarks on new classes that differ from an existing one only in case."""
    known = {name.casefold(): name for name in before}
    pairs = [(name, known[name.casefold()]) for name in new if known.get(name.casefold(), name) != name]
    return [
        f"The new class {visible(name)} differs from the existing {visible(other)} only in case."
        for name, other in pairs
        if name not in known.values()
    ]


def _import_folder(
    source: Path,
    shown: Path,
    settings: Settings,
    layout: Layout,
    staging: Staging,
    on_progress: Progress | None,
    accept: Accept | None = None,
    refused: Sequence[Rejected] = (),
) -> ImportResult:
    """Import a folder, named `shown` in messages."""
    manifest = read_folder(source, settings, layout=layout, on_progress=on_progress).manifest
    rejected = tuple(Rejected(shown / os.path.relpath(r.path, source), r.reason) for r in manifest.rejected)
    if not manifest.pictures:
        raise DatasetError(f"No usable images in class folders were found in {shown}. {_why_none(manifest, refused)}")
    before = read_folder(settings.data_dir, settings).manifest
    require_distinct(dict.fromkeys((*before.classes, *manifest.classes)))
    present = {picture.sha256 for picture in before.pictures}
    new = [picture for picture in manifest.pictures if picture.sha256 not in present]
    if accept is not None:
        accept(_merged(before if before.pictures else replace(before, root=shown), manifest, new))
    is_ours = source.is_relative_to(staging.folder)
    if not is_ours:
        _require_disk(settings.data_dir, sum(picture.path.stat().st_size for picture in new))
    added: dict[str, dict[str, int]] = {}
    for picture in new:
        name = manifest.classes[picture.label]
        staging.add(picture.path, Path(picture.split, name), picture.sha256, move=is_ours)
        counts = added.setdefault(picture.split, {})
        counts[name] = counts.get(name, 0) + 1
    staging.commit()
    remarks = (*manifest.remarks, *_case_remarks(before.classes, manifest.classes))
    present_count = len(manifest.pictures) - len(new)
    return ImportResult(added, present_count, manifest.duplicates, rejected, settings.data_dir, remarks)


def _why_none(manifest: Manifest, refused: Sequence[Rejected]) -> str:
    """Return why a folder has no images to train on: what it contains, and the first problem."""
    unusable = [*refused, *manifest.rejected]
    count = len(unusable) + manifest.clutter
    if not count:
        return "It is empty."
    holds = f"It has {counted(count, 'unusable file')}"
    if not unusable:
        return f"{holds}; none is an image."
    if nested := _nested_archive(unusable):
        return f"{holds}.{nested}"
    if all(item.reason == NO_CLASS for item in unusable):
        return f"{holds}; the images aren't in class folders. Make one folder per class, such as cats/ and dogs/."
    return f"{holds}. The first is {unusable[0].path.name}: {unusable[0].reason}"


def _merged(before: Manifest, found: Manifest, new: Iterable[Picture]) -> Manifest:
    """Return the manifest of `data/` with new images."""
    new = list(new)
    classes = tuple(sorted({*before.classes, *(found.classes[picture.label] for picture in new)}))
    moved = [
        replace(picture, label=classes.index(manifest.classes[picture.label]))
        for manifest, pictures in ((before, before.pictures), (found, new))
        for picture in pictures
    ]
    return replace(before, classes=classes, pictures=tuple(moved))


def _nested_archive(rejected: Iterable[Rejected]) -> str:
    """Return name and reason of the first nested archive, which may contain the images."""
    for item in rejected:
        with contextlib.suppress(OSError):
            reason = item.reason if not item.path.is_file() else why_nested(item.path.open("rb").read(512))
            if reason and reason.startswith(NESTED):
                return f" {item.path.name}: {reason}"
    return ""


def _require_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DatasetError(f"The disk is too full: the images need {needed:,} bytes, and {free:,} are free.")


def _unpack(archive: Path, target: Path, max_bytes: int) -> list[Rejected]:
    """Unpack regular files into `target`, without overwriting any, and return the rejected ones."""
    taken: dict[Path, int] = {}
    links = Links()
    try:
        with archive.open("rb") as file, open_archive(file) as (members, total):
            _require_disk(target, total or 0)
            rejected = []
            for member in members:
                _require_disk(target, 0 if total else member.size)
                path = _safe_path(target, member.name)
                if path and member.leads_to is not None:
                    links.add(member.name, path, _safe_path(target, member.leads_to))
                elif reason := _unpack_one(member, path, max_bytes, taken):
                    rejected.append(Rejected(archive / member.name, reason))
            most = most_unpacked(archive.stat().st_size)
            lost = links.create(partial(_make_room, taken=taken), most)
            rejected.extend(Rejected(archive / name, _LINK) for name in lost)
    except DatasetError as error:
        why = why_part(archive.name) or error
        raise DatasetError(f"Can't read the archive {archive}: {why}") from error
    return rejected


def _why_no_archive(source: Path) -> str:
    """Return what is at a path that is neither a folder nor an archive."""
    if not source.exists():
        return "There is no such file."
    if not source.is_file():
        return "It is not a regular file."
    with source.open("rb") as file:
        return why_none(source.name, file.read(512))


def _unpack_one(member: Member, path: Path | None, max_bytes: int, taken: dict[Path, int]) -> str | None:
    """Write a member to disk; return the reason if it is rejected."""
    if member.size > max_bytes:
        return f"The file is too large: it has {member.size:,} bytes. The maximum is {max_bytes:,}."
    if member.is_sparse:
        return "It is a sparse file, which isn't supported. Pack it without --sparse."
    if path is None:
        return None
    data = member.read(_CHUNK)
    if reason := why_nested(data):
        return reason
    with _make_room(path, taken).open("xb") as file:
        while data:
            file.write(data)
            data = member.read(_CHUNK)
    return None


def _make_room(path: Path, taken: dict[Path, int]) -> Path:
    """Return an unused path for a member, renaming files that are in the place of its folders."""
    for above in reversed(path.parents):
        if above.is_file():
            above.rename(_unused_path(above, taken))
    path.parent.mkdir(parents=True, exist_ok=True)
    return _unused_path(path, taken) if path.exists() else path


def _unused_path(path: Path, taken: dict[Path, int]) -> Path:
    while True:
        taken[path] = taken.get(path, 1) + 1
        free = path.with_name(f"{path.stem}~{taken[path]}{path.suffix}")
        if not free.exists():
            return free


def _safe_path(target: Path, name: str) -> Path | None:
    parts = PurePosixPath(_DRIVE.sub("", name.replace("\\", "/").replace("\0", ""))).parts
    safe = [_shortened(part.replace(":", "_")) for part in parts if part.strip("/") not in ("", ".", "..")]
    return target.joinpath(*safe) if safe else None


def _shortened(name: str) -> str:
    """Return a name shortened for file systems; a hash keeps it distinct."""
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
