"""Reading of untrusted archives: zips (stored and deflated) and tars (plain, gzip, bzip2, xz).

The numbers of entries and bytes are limited.
"""

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final

from catdog.data.archives.kinds import is_empty_tar, kind_of, nested_kind
from catdog.data.archives.links import LONGEST, is_symlink, symlink_target
from catdog.data.archives.tars import UNREADABLE as UNREADABLE_TAR
from catdog.data.archives.tars import link_target, read_tar
from catdog.data.archives.zips import open_zip
from catdog.data.clutter import is_clutter
from catdog.errors import DatasetError
from catdog.text import counted

MAX_MEMBERS: Final = 500_000
"""Maximum entries of an imported archive; Python takes about a kilobyte for each."""

MAX_DIRECTORY_BYTES: Final = 128 * 2**20
MAX_RATIO: Final = 200
"""Maximum compression ratio of a large archive. Images hardly shrink; zip bombs have ratios of a thousand and more."""

FREE_BYTES: Final = 2**30
"""Bytes that any archive may unpack to, however small."""

ENTRY_BYTES: Final = 1024
"""Maximum bytes per file in the directory of an uploaded zip: 46, names, extra fields, and the entry of its folder."""

NESTED: Final = "It is an archive itself"
"""Beginning of the messages of `why_nested`."""

_UNREADABLE: Final = (*UNREADABLE_TAR, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Member:
    """A regular file of an archive, or a link.

    Attributes:
        name: with slashes.
        size: declared bytes.
        content: empty for a link.
        is_sparse: whether it is stored as a sparse file.
        leads_to: name of the member that a link leads to, empty if there is none; None for files.
    """

    name: str
    size: int
    content: IO[bytes]
    is_sparse: bool = False
    leads_to: str | None = None

    def read(self, most: int) -> bytes:
        """Read up to `most` more bytes.

        Raises:
            DatasetError: the archive is damaged.
        """
        try:
            return self.content.read(most)
        except _UNREADABLE as error:
            why = " (its checksum differs)" if "CRC" in str(error) else ""
            raise DatasetError(
                f"Its file {self.name[:200]!r} is truncated or damaged{why}. Copy or download the archive again."
            ) from error


def is_archive(path: Path) -> bool:
    """Return whether a file is a supported archive, by content.

    Raises:
        DatasetError: it is an unsupported archive; says what to do.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return kind_of(file) is not None or is_empty_tar(file)


@contextlib.contextmanager
def open_archive(file: IO[bytes]) -> Iterator[tuple[Iterator[Member], int | None]]:
    """Open a zip or tar: its files, each of which must be read before the next, and for a zip their total bytes.

    Args:
        file: the archive, open for reading and seeking.

    Raises:
        DatasetError: it can't be read, or has too many files, or too many bytes for its size; says what to do.
    """
    limit = most_unpacked(file.seek(0, 2))
    if kind_of(file) == "zip":
        with open_zip(file, max_files=MAX_MEMBERS, max_directory=MAX_DIRECTORY_BYTES) as zipped:
            infos = _file_entries(zipped)
            _require_at_most(limit, total := sum(info.file_size for info in infos))
            yield (member for info in infos for member in _open_member(zipped, info)), total
    else:
        found = read_tar(file, max_files=MAX_MEMBERS, max_bytes=limit)
        yield (
            (
                Member(name, entry.size, content, entry.issparse(), link_target(name, entry))
                for name, entry, content in found
            ),
            None,
        )


def most_unpacked(size: int) -> int:
    """Return the bytes that an archive of `size` bytes may unpack to."""
    return max(FREE_BYTES, MAX_RATIO * size)


def is_zip(file: IO[bytes]) -> bool:
    """Return whether a file is a zip; an image followed by an archive isn't one.

    Raises:
        DatasetError: it is an archive of another type; says what to do.
    """
    kind = kind_of(file)
    file.seek(0)
    if kind == "tar":
        raise DatasetError("Tars can't be uploaded. Upload a zip of the images, or the images themselves.")
    return kind == "zip"


def read_zip(file: IO[bytes], *, max_files: int, max_file_bytes: int, max_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of each file of a zip, with one file at a time in memory; writes nothing.

    Clutter is skipped. A file over `max_file_bytes` is cut to one byte more than that. A nested zip is a file like any
    other.

    Args:
        file: the archive, open for reading and seeking.
        max_files: maximum number of files.
        max_file_bytes: maximum bytes per file.
        max_bytes: maximum bytes of all files together, unpacked.

    Raises:
        DatasetError: it can't be read, or exceeds `max_files` or `max_bytes`; earlier files were yielded.
    """
    entries = 20 * max_files + 1000  # includes folders and hidden files
    with open_zip(file, max_files=entries, max_directory=max(64 * 1024, max_files * ENTRY_BYTES)) as zipped:
        infos = [info for info in _file_entries(zipped) if not is_clutter(info.filename)]
        if len(infos) > max_files:
            raise DatasetError(f"It has {len(infos):,} files; the maximum is {max_files:,}.")
        _require_at_most(max_bytes, sum(_follow_link(zipped, info).file_size for info in infos))
        for info in infos:
            for member in _open_member(zipped, _follow_link(zipped, info)):
                yield info.filename, member.read(max_file_bytes + 1)


def why_nested(start: bytes) -> str | None:
    """Return why a member that is itself an archive, by its first bytes, isn't used; None for other files."""
    kind = nested_kind(start)
    return f"{NESTED} ({kind}), which isn't opened. Unpack it and import the result." if kind else None


def _file_entries(zipped: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the entries that are files."""
    # In zips from Windows, folders may end in a backslash.
    return [i for i in zipped.infolist() if not i.filename.endswith(("/", "\\"))]


def _open_member(zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[Member]:
    try:
        content = zipped.open(info)
    except _UNREADABLE as error:
        raise DatasetError(
            f"Its file {info.filename[:200]!r} is not where the directory says. Copy or download the archive again."
        ) from error
    with content:
        member = Member(info.filename, info.file_size, content)
        if is_symlink(info):
            target = member.read(LONGEST).decode(errors="replace")
            member = replace(member, leads_to=symlink_target(info.filename, target))
        yield member


def _follow_link(zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """Return the file that a link in a zip leads to; the entry itself if it is a file or a broken link."""
    if not is_symlink(info) or info.file_size > LONGEST:
        return info
    for member in _open_member(zipped, info):
        found = zipped.NameToInfo.get(member.leads_to or "", info)
    return found


def _require_at_most(limit: int, size: int) -> None:
    if size > limit:
        raise DatasetError(f"It would unpack to {counted(size, 'byte')}; the maximum is {limit:,}.")
