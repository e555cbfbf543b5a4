"""Untrusted tars, read once from front to back in bounded memory."""

import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO, Final

from catdog.data.archives.compressed import decompressed
from catdog.data.archives.links import symlink_target
from catdog.data.archives.names import mend_names
from catdog.errors import DatasetError
from catdog.text import counted

HEADER_BYTES: Final = 2**20
"""Maximum bytes of a member's headers: long names, attributes, maps of sparse files."""

UNREADABLE: Final = (
    *(tarfile.TarError, EOFError, zlib.error, OSError),
    *(ValueError, OverflowError, RuntimeError, LookupError),  # raised by `tarfile` for invalid fields
)
TRUNCATED: Final = "It is truncated or damaged after {count}. Copy or download it again."
_CHUNK: Final = 64 * 1024


def read_tar(file: IO[bytes], *, max_files: int, max_bytes: int) -> Iterator[tuple[str, tarfile.TarInfo, IO[bytes]]]:
    """Yield name, header and bytes of each regular file of a tar; the bytes must be read before the next file.

    Links are yielded without bytes. Devices and pipes are skipped.

    Args:
        file: open for reading and seeking; may be compressed with gzip, bzip2 or xz.
        max_files: maximum number of entries.
        max_bytes: maximum decompressed bytes, whether used or not.

    Raises:
        DatasetError: it is truncated, damaged or exceeds a limit; earlier files were yielded.
    """
    stream = _Forward(decompressed(file), max_bytes)
    count = 0
    try:
        tar = tarfile.TarFile(fileobj=stream, encoding="utf-8", errors="surrogateescape")  # type: ignore[arg-type]
        while (entry := _next(tar, stream)) is not None:
            count += 1
            if count > max_files:
                raise DatasetError(f"It has more than {max_files:,} entries. Split it into several archives.")
            if entry.isreg() and (content := tar.extractfile(entry)) is not None:
                yield mend_names([entry.name])[0], entry, content
            elif entry.islnk() or entry.issym():
                yield mend_names([entry.name])[0], entry, io.BytesIO()
    except UNREADABLE as error:
        raise DatasetError(TRUNCATED.format(count=counted(count, "entry", "entries"))) from error
    if stream.last != bytes(tarfile.BLOCKSIZE):  # `tarfile` treats a damaged or missing header as the end
        raise DatasetError(TRUNCATED.format(count=counted(count, "entry", "entries")))


def link_target(name: str, entry: tarfile.TarInfo) -> str | None:
    """Return the name of the member that a link leads to; None if an entry isn't a link."""
    target = mend_names([entry.linkname])[0]
    if entry.islnk():
        return target
    return symlink_target(name, target) if entry.issym() else None


def _next(tar: tarfile.TarFile, stream: "_Forward") -> tarfile.TarInfo | None:
    stream.allowance = HEADER_BYTES
    entry = tar.next()
    stream.allowance = None
    tar.members.clear()  # type: ignore[attr-defined]  # otherwise it keeps all of them
    return entry


class _Forward:
    """A stream for `tarfile` that seeks only forward and returns a limited number of bytes."""

    def __init__(self, file: IO[bytes], max_bytes: int) -> None:
        self.allowance: int | None = HEADER_BYTES
        self.last = b""
        self._file, self._left, self._position = file, max_bytes, 0

    def read(self, size: int) -> bytes:
        """Read `size` bytes, or fewer at the end."""
        if self.allowance is not None:
            self.allowance -= size
            if self.allowance < 0:
                raise DatasetError(f"The headers of one of its files have more than {HEADER_BYTES:,} bytes.")
        self.last = self._read(size)
        return self.last

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        """Skip to a later position."""
        if whence != os.SEEK_SET or position < self._position:
            raise tarfile.ReadError("can't seek backwards")
        while self._position < position and self._read(min(_CHUNK, position - self._position)):
            pass
        return self._position

    def close(self) -> None:
        """Do nothing, as the caller closes the file."""

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._position += len(data)
        self._left -= len(data)
        if self._left < 0:
            raise DatasetError("It unpacks to too many bytes for an archive of its size.")
        return data
