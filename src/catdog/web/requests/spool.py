"""The files of a large request in one temporary file, so their number costs neither memory nor descriptors."""

import io
import os
import tempfile
from pathlib import Path
from typing import IO, Any, cast

from catdog.storage.files import disk_full_errors


class Spool:
    """An unnamed file with the parts of a request one after another; opened for the first part."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._end = 0

    def part(self) -> IO[bytes]:
        """Return a file for the next part; earlier parts must be complete."""
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  # closed by close()
        return cast(IO[bytes], _Part(self._file.fileno(), self._end, self))

    def grow(self, size: int) -> None:
        """Record that the last part has grown by `size` bytes."""
        self._end += size

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


class _Part(io.RawIOBase):
    """A range of the spool, read and written like a file."""

    def __init__(self, descriptor: int, start: int, spool: Spool) -> None:
        self._descriptor, self._start, self._spool = descriptor, start, spool
        self._length = self._position = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), max(0, self._length - self._position))
        data = os.pread(self._descriptor, wanted, self._start + self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def write(self, data: Any) -> int:
        view = memoryview(data)
        written = 0
        with disk_full_errors(len(view)):
            while written < len(view):
                written += os.pwrite(self._descriptor, view[written:], self._start + self._length + written)
        self._length += written
        self._position = self._length
        self._spool.grow(written)
        return written

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position
