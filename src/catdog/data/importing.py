"""Bring pictures into `data/`: from a folder, an archive, or a known data set that is downloaded first.

Pictures are copied as they are, into `data/<split>/<class>/`: aside first, and renamed into place once all of them are
there (`staging`). What is refused leaves nothing. Importing the same pictures again adds nothing.
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
"""Longest name that an archive may give a file or folder: file systems take 255, and `_copy` may add a hash."""

Progress = Callable[[int, int], None]
Accept = Callable[[Manifest], None]

_LINK: Final = "It is a link that leads to no file of the archive, and is passed over."
_CHUNK: Final = 1024 * 1024
_DRIVE: Final = re.compile(r"^/*[A-Za-z]:(?=/)")


@dataclass(frozen=True)
class ImportResult:
    """What an import did: pictures added by split and class, how many were there before, what was refused."""

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
    """Copy the usable pictures of a folder, zip or tar into `data/`: all of them, or none.

    Args:
        source: the folder or archive.
        settings: where `data/` lies, and limits.
        layout: what a person says about the folders.
        on_progress: called with (files done, files in all).
        accept: called with what `data/` would hold then, before anything is put there; what it raises ends the import.

    Raises:
        DatasetError: neither a folder nor an archive, an archive that cannot be read, no usable pictures in class
            folders, or not enough disk.
    """
    source = absolute(source)
    if source.is_dir():
        with prepare(settings.data_dir) as staging:
            return _import_folder(source, source, settings, layout, staging, on_progress, accept)
    try:
        found = is_archive(source)
    except DatasetError as error:
        raise DatasetError(f"The archive cannot be read: {error} Received: {source}.") from error
    if not found:
        raise DatasetError(f"A folder, zip or tar of pictures is needed. {_say_other(source)} Received: {source}.")
    with prepare(settings.data_dir) as staging:
        unpacked = staging.folder / "unpacked"
        unpacked.mkdir()
        refused = _unpack(source, unpacked, settings.max_picture_bytes)
        result = _import_folder(unpacked, source, settings, layout, staging, on_progress, accept, refused)
        return replace(result, rejected=(*refused, *result.rejected))


def download(
    name: str, settings: Settings, *, layout: Layout = GUESSED, on_progress: Progress | None = None
) -> ImportResult:
    """Download a known data set and import it. `name` is `kaggle:OWNER/DATASET`.

    Raises:
        DownloadError: not such a name, or it cannot be fetched; says how to do it by hand.
        MissingDependencyError: kagglehub is not installed.
    """
    kind, _, handle = name.partition(":")
    if kind != "kaggle" or not re.fullmatch(r"[^/\s]+/[^/\s]+", handle):
        raise DataSetNameError(f"A data set is named kaggle:OWNER/DATASET. Received: {name!r}.")
    try:
        import kagglehub
    except ImportError as error:
        raise MissingDependencyError("Downloading needs kagglehub: pip install 'catdog[train]'.") from error
    with (
        prepare(settings.data_dir) as staging,
        _environment("KAGGLEHUB_CACHE", str(staging.folder / "kaggle")),
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
        return _import_folder(fetched, Path(name), settings, layout, staging, on_progress)


def _alike(before: Iterable[str], new: Iterable[str]) -> list[str]:
    """Remark on classes that differ from one that is there already in case only."""
    known = {name.casefold(): name for name in before}
    pairs = [(name, known[name.casefold()]) for name in new if known.get(name.casefold(), name) != name]
    return [
        f"The class {visible(name)} is beside {visible(other)}, which was there before."
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
    """Import a folder; `shown` stands for it in what a person reads, where it was unpacked or downloaded."""
    manifest = read_folder(source, settings, layout=layout, on_progress=on_progress).manifest
    rejected = tuple(Rejected(shown / os.path.relpath(r.path, source), r.reason) for r in manifest.rejected)
    if not manifest.pictures:
        raise DatasetError(
            f"No usable pictures in class folders were found. {_why_none(manifest, refused)} Received: {shown}."
        )
    before = read_folder(settings.data_dir, settings).manifest
    require_distinct(dict.fromkeys((*before.classes, *manifest.classes)))
    present = {picture.sha256 for picture in before.pictures}
    new = [picture for picture in manifest.pictures if picture.sha256 not in present]
    if accept is not None:
        accept(_joined(before if before.pictures else replace(before, root=shown), manifest, new))
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
    remarks = (*manifest.remarks, *_alike(before.classes, manifest.classes))
    present_count = len(manifest.pictures) - len(new)
    return ImportResult(added, present_count, manifest.duplicates, rejected, settings.data_dir, remarks)


def _why_none(manifest: Manifest, refused: Sequence[Rejected]) -> str:
    """Say why a folder has no pictures to train on: what it holds, and what is wrong with the first of it."""
    unusable = [*refused, *manifest.rejected]
    count = len(unusable) + manifest.clutter
    if not count:
        return "It is empty."
    holds = f"It holds {counted(count, 'file')} that cannot be used"
    if not unusable:
        return f"{holds}: none is a picture."
    if nested := _name_nested(unusable):
        return f"{holds}.{nested}"
    if all(item.reason == NO_CLASS for item in unusable):
        return f"{holds}: the images lie in no class folder. Make a folder a class, such as cats/ and dogs/."
    return f"{holds}; the first: {unusable[0].path.name}: {unusable[0].reason}"


def _joined(before: Manifest, found: Manifest, new: Iterable[Picture]) -> Manifest:
    """Say what `data/` would hold with new pictures."""
    new = list(new)
    classes = tuple(sorted({*before.classes, *(found.classes[picture.label] for picture in new)}))
    moved = [
        replace(picture, label=classes.index(manifest.classes[picture.label]))
        for manifest, pictures in ((before, before.pictures), (found, new))
        for picture in pictures
    ]
    return replace(before, classes=classes, pictures=tuple(moved))


def _name_nested(rejected: Iterable[Rejected]) -> str:
    """Name the first files that are archives themselves: the pictures may be in them."""
    for item in rejected:
        with contextlib.suppress(OSError):
            reason = item.reason if not item.path.is_file() else why_nested(item.path.open("rb").read(512))
            if reason and reason.startswith(NESTED):
                return f" {item.path.name}: {reason}"
    return ""


def _require_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DatasetError(
            f"The disk has too little room: {needed:,} bytes are needed for the pictures, and {free:,} are free."
        )


def _unpack(archive: Path, target: Path, max_bytes: int) -> list[Rejected]:
    """Unpack regular files; names from the archive never lead out of `target`, and none takes another's place."""
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
            lost = links.settle(partial(_make_room, taken=taken), most)
            rejected.extend(Rejected(archive / name, _LINK) for name in lost)
    except DatasetError as error:
        why = why_part(archive.name) or error
        raise DatasetError(f"The archive cannot be read: {why} Received: {archive}.") from error
    return rejected


def _say_other(source: Path) -> str:
    """Say what is at a path that is neither a folder nor an archive."""
    if not source.exists():
        return "There is no such file."
    if not source.is_file():
        return "It is not a regular file."
    with source.open("rb") as file:
        return why_none(source.name, file.read(512))


def _unpack_one(member: Member, path: Path | None, max_bytes: int, taken: dict[Path, int]) -> str | None:
    """Write a member; gives why it was not written, if it was not."""
    if member.size > max_bytes:
        return f"The file is too large; at most {max_bytes:,} bytes are allowed. Received: {member.size:,}."
    if member.is_sparse:
        return "It is stored as a sparse file, which is not read. Pack it without --sparse."
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
    """Give a path of its own to a member whose name another has already, and to a file that is in a folder's place."""
    for above in reversed(path.parents):
        if above.is_file():
            above.rename(_free(above, taken))
    path.parent.mkdir(parents=True, exist_ok=True)
    return _free(path, taken) if path.exists() else path


def _free(path: Path, taken: dict[Path, int]) -> Path:
    while True:
        taken[path] = taken.get(path, 1) + 1
        free = path.with_name(f"{path.stem}~{taken[path]}{path.suffix}")
        if not free.exists():
            return free


def _safe_path(target: Path, name: str) -> Path | None:
    parts = PurePosixPath(_DRIVE.sub("", name.replace("\\", "/").replace("\0", ""))).parts
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
