"""Archives from elsewhere: their regular files, whatever their names, sizes and counts claim.

What an archive may cost is known before it is unpacked: entries are counted in its list, sizes summed, and what is
decompressed is bounded. Zips (stored and deflated) and tars (plain, gzip, bzip2, xz) are read.
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
"""Most entries of an archive that is imported; Python keeps about a kilobyte for each."""

MAX_DIRECTORY_BYTES: Final = 128 * 2**20
MAX_RATIO: Final = 200
"""Bytes that a byte of a large archive may unpack to. Pictures hardly shrink; bombs grow a thousandfold and more."""

FREE_BYTES: Final = 2**30
"""Bytes that any archive may unpack to, however small it is."""

ENTRY_BYTES: Final = 1024
"""Bytes of an uploaded zip's list that a file may take: 46, its name, what its maker added, and its folder's entry."""

NESTED: Final = "It is an archive itself"
"""How `why_nested` begins."""

_UNREADABLE: Final = (*UNREADABLE_TAR, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Member:
    """A regular file of an archive: its name, with slashes, the bytes that it says to have, and its content.

    A link has no content, but the name of the member that it `leads_to`, which is empty where that is none.
    """

    name: str
    size: int
    content: IO[bytes]
    is_sparse: bool = False
    leads_to: str | None = None

    def read(self, most: int) -> bytes:
        """Read at most so many bytes on.

        Raises:
            DatasetError: they cannot be read.
        """
        try:
            return self.content.read(most)
        except _UNREADABLE as error:
            why = " Its checksum differs." if "CRC" in str(error) else ""
            raise DatasetError(
                f"{self.name[:200]!r} in it is broken off or damaged.{why} Copy or download it again."
            ) from error


def is_archive(path: Path) -> bool:
    """Tell whether a file is an archive that is read, by content.

    Raises:
        DatasetError: it is one that is not; says what to do.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return kind_of(file) is not None or is_empty_tar(file)


@contextlib.contextmanager
def open_archive(file: IO[bytes]) -> Iterator[tuple[Iterator[Member], int | None]]:
    """Open a zip or tar: its regular files, each to be read before the next; and their bytes, for a zip.

    Args:
        file: the archive, open for reading and seeking.

    Raises:
        DatasetError: it cannot be read, or has more files or bytes than are allowed for its size; says what to do.
    """
    limit = most_unpacked(file.seek(0, 2))
    if kind_of(file) == "zip":
        with open_zip(file, max_files=MAX_MEMBERS, max_directory=MAX_DIRECTORY_BYTES) as zipped:
            infos = _files(zipped)
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
    """Say to how many bytes an archive of a size may unpack."""
    return max(FREE_BYTES, MAX_RATIO * size)


def is_zip(file: IO[bytes]) -> bool:
    """Tell whether a file is a zip; a picture with an archive behind it is a picture.

    Raises:
        DatasetError: it is an archive of another kind; says what to do.
    """
    kind = kind_of(file)
    file.seek(0)
    if kind == "tar":
        raise DatasetError("It is a tar, which is not read here. Send a zip of the pictures, or the pictures.")
    return kind == "zip"


def read_zip(file: IO[bytes], *, max_files: int, max_file_bytes: int, max_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of each file of a zip, one at a time in memory; nothing is written.

    Clutter is passed over. A file over `max_file_bytes` is yielded one byte longer than
    that and not read further. A zip in the zip is a file like any other.

    Args:
        file: the archive, open for reading and seeking.
        max_files: most files that it may hold.
        max_file_bytes: most bytes of one of them that are read.
        max_bytes: most bytes of all of them together, unpacked.

    Raises:
        DatasetError: it cannot be read, or is over `max_files` or `max_bytes`; files before that were yielded.
    """
    entries = 20 * max_files + 1000  # folders and hidden files are listed too
    with open_zip(file, max_files=entries, max_directory=max(64 * 1024, max_files * ENTRY_BYTES)) as zipped:
        infos = [info for info in _files(zipped) if not is_clutter(info.filename)]
        if len(infos) > max_files:
            raise DatasetError(f"It holds too many files; at most {max_files:,} are taken. It has {len(infos):,}.")
        _require_at_most(max_bytes, sum(_real(zipped, info).file_size for info in infos))
        for info in infos:
            for member in _open_member(zipped, _real(zipped, info)):
                yield info.filename, member.read(max_file_bytes + 1)


def why_nested(start: bytes) -> str | None:
    """Say why a member that is itself an archive, by its first bytes, is not used; None for any other."""
    kind = nested_kind(start)
    return f"{NESTED} ({kind}), and is not opened. Unpack it, and import what comes out." if kind else None


def _files(zipped: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """List the entries that are files; in zips from Windows a folder's may end in a backslash."""
    return [i for i in zipped.infolist() if not i.filename.endswith(("/", "\\"))]


def _open_member(zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[Member]:
    try:
        content = zipped.open(info)
    except _UNREADABLE as error:
        raise DatasetError(
            f"{info.filename[:200]!r} in it is not where the list says. Copy or download it again."
        ) from error
    with content:
        member = Member(info.filename, info.file_size, content)
        if is_symlink(info):
            target = member.read(LONGEST).decode(errors="replace")
            member = replace(member, leads_to=symlink_target(info.filename, target))
        yield member


def _real(zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """Give the file that a link in a zip leads to; of any other entry, and of a link to none, the entry itself."""
    if not is_symlink(info) or info.file_size > LONGEST:
        return info
    for member in _open_member(zipped, info):
        found = zipped.NameToInfo.get(member.leads_to or "", info)
    return found


def _require_at_most(limit: int, size: int) -> None:
    if size > limit:
        raise DatasetError(f"It would unpack to {counted(size, 'byte')}; at most {limit:,} are allowed for it.")
