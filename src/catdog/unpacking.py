"""Archives from elsewhere: their regular files, whatever their names, sizes and counts claim."""

import contextlib
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

from catdog.clutter import is_clutter
from catdog.errors import DatasetError
from catdog.wording import counted

MAX_ENTRY_BYTES: Final = 400
"""Bytes of a zip's directory that an entry may take on average: 46, its name, and what its maker added."""

UNREADABLE: Final = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
    *(EOFError, RuntimeError, NotImplementedError, UnicodeError),  # cut off; encrypted; unknown compression; names
    OSError,  # a damaged gzip or bzip2, a file and a folder of one name, a full disk
)

Member = tuple[str, int, Callable[[], IO[bytes]]]


@contextlib.contextmanager
def open_members(archive: Path) -> Iterator[tuple[Iterator[Member], int]]:
    """Open an archive: its regular files as (name, bytes, how to open), and their bytes together.

    Raises:
        one of `UNREADABLE`, here or while a file is read.
    """
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            yield _zip_members(zipped)
    else:
        with tarfile.open(archive) as tar:
            entries = [entry for entry in tar.getmembers() if entry.isreg()]
            streams = ((e.name, e.size, lambda e=e: _tar_stream(tar, e)) for e in entries)
            yield streams, sum(e.size for e in entries)


def _zip_members(zipped: zipfile.ZipFile) -> tuple[Iterator[Member], int]:
    infos = [info for info in zipped.infolist() if not info.is_dir()]
    members = ((i.filename, i.file_size, lambda i=i: zipped.open(i)) for i in infos)
    return members, sum(i.file_size for i in infos)


def _tar_stream(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    stream = tar.extractfile(entry)
    if stream is None:
        raise tarfile.ReadError(f"{entry.name} is no regular file")
    return stream


def is_zip(file: IO[bytes]) -> bool:
    """Tell whether a file begins as a zip archive does; a picture with an archive behind it is a picture."""
    file.seek(0)
    start = file.read(4)
    file.seek(0)
    return start in (b"PK\x03\x04", b"PK\x05\x06")


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
    require_small_directory(file, max_files)
    try:
        with zipfile.ZipFile(file) as zipped:
            members, total = _zip_members(zipped)
            shown = [member for member in members if not is_clutter(member[0])]
            if len(shown) > max_files or total > max_bytes:
                raise DatasetError(
                    f"The zip is too large; at most {max_files:,} files of {max_bytes:,} bytes together are allowed. "
                    f"Received: {counted(len(shown), 'file')} of {counted(total, 'byte')}."
                )
            for name, _, open_member in shown:
                with open_member() as stream:
                    yield name, stream.read(max_file_bytes + 1)
    except UNREADABLE as error:
        raise DatasetError(f"The zip cannot be read further. Received: {str(error)[:200]}") from error


def require_small_directory(file: IO[bytes], max_files: int) -> None:
    """Refuse a zip whose directory would take much memory, before it is read: a few megabytes can list millions."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2**16 - 42))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    directory = struct.unpack_from("<I", tail, at + 12)[0] if 0 <= at <= len(tail) - 22 else 0
    # Zip64 states other sizes elsewhere; only archives far over the limits need it.
    if directory > max_files * MAX_ENTRY_BYTES or b"PK\x06\x07" in tail[max(0, at - 20) : max(0, at)]:
        raise DatasetError(
            f"The zip lists too many files; at most {max_files:,} are allowed. Received: a directory of "
            f"{directory:,} bytes."
        )
