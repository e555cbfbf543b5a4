"""Tars of any origin, read once from front to back: no header and no dictionary makes them take much memory."""

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
"""Bytes that the headers of one member may take together: long names, attributes, maps of sparse files."""

UNREADABLE: Final = (
    *(tarfile.TarError, EOFError, zlib.error, OSError),
    *(ValueError, OverflowError, RuntimeError, LookupError),  # what `tarfile` raises for fields that make no sense
)
BROKEN_OFF: Final = "It is broken off or damaged after {count}. Copy or download it again."
_CHUNK: Final = 64 * 1024


def read_tar(file: IO[bytes], *, max_files: int, max_bytes: int) -> Iterator[tuple[str, tarfile.TarInfo, IO[bytes]]]:
    """Yield each regular file of a tar: its name as text, its header, and its bytes, to be read before the next.

    Links are yielded too, without bytes; devices and pipes are passed over.

    Args:
        file: open for reading and seeking; compressed by gzip, bzip2 or xz, or not.
        max_files: most entries.
        max_bytes: most bytes that come out of the decompression, whether they are used or not.

    Raises:
        DatasetError: it is broken off, damaged, or has more than that; what came before was yielded.
    """
    stream = _Forward(decompressed(file), max_bytes)
    count = 0
    try:
        tar = tarfile.TarFile(fileobj=stream, encoding="utf-8", errors="surrogateescape")  # type: ignore[arg-type]
        while (entry := _next(tar, stream)) is not None:
            count += 1
            if count > max_files:
                raise DatasetError(f"It has too many entries; at most {max_files:,} are read. Pack it into several.")
            if entry.isreg() and (content := tar.extractfile(entry)) is not None:
                yield mend_names([entry.name])[0], entry, content
            elif entry.islnk() or entry.issym():
                yield mend_names([entry.name])[0], entry, io.BytesIO()
    except UNREADABLE as error:
        raise DatasetError(BROKEN_OFF.format(count=counted(count, "entry", "entries"))) from error
    if stream.last != bytes(tarfile.BLOCKSIZE):  # `tarfile` takes a damaged header, and nothing, for the end
        raise DatasetError(BROKEN_OFF.format(count=counted(count, "entry", "entries")))


def link_target(name: str, entry: tarfile.TarInfo) -> str | None:
    """Name the member that a link leads to, if an entry is one."""
    target = mend_names([entry.linkname])[0]
    if entry.islnk():
        return target
    return symlink_target(name, target) if entry.issym() else None


def _next(tar: tarfile.TarFile, stream: "_Forward") -> tarfile.TarInfo | None:
    stream.allowance = HEADER_BYTES
    entry = tar.next()
    stream.allowance = None
    tar.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
    return entry


class _Forward:
    """A stream that `tarfile` reads as a file: it seeks forward only, and hands out a bounded number of bytes."""

    def __init__(self, file: IO[bytes], max_bytes: int) -> None:
        self.allowance: int | None = HEADER_BYTES
        self.last = b""
        self._file, self._left, self._position = file, max_bytes, 0

    def read(self, size: int) -> bytes:
        """Read so many bytes, fewer only at the end."""
        if self.allowance is not None:
            self.allowance -= size
            if self.allowance < 0:
                raise DatasetError(f"The headers of a file in it take more than {HEADER_BYTES:,} bytes.")
        self.last = self._read(size)
        return self.last

    def tell(self) -> int:
        """Tell how many bytes were read or passed over."""
        return self._position

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        """Pass over the bytes up to a position."""
        if whence != os.SEEK_SET or position < self._position:
            raise tarfile.ReadError("a tar is read from front to back")
        while self._position < position and self._read(min(_CHUNK, position - self._position)):
            pass
        return self._position

    def close(self) -> None:
        """Leave the file open: whoever opened it closes it."""

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._position += len(data)
        self._left -= len(data)
        if self._left < 0:
            raise DatasetError("It unpacks to more bytes than are allowed for an archive of its size.")
        return data
