"""Decompression of gzip, bzip2 and xz in bounded memory."""

import bz2
import gzip
import io
import lzma
from typing import IO, Any, Final, cast

from catdog.errors import DatasetError

XZ_MEMORY: Final = 128 * 2**20
"""Maximum bytes for the dictionary of an xz file. `xz -9` takes 65 MiB; the format allows 4 GiB."""

_CHUNK: Final = 64 * 1024


def decompressed(file: IO[bytes]) -> IO[bytes]:
    """Return a file that decompresses another, or the file itself if it isn't compressed.

    Reading it raises `EOFError`, `OSError` or `zlib.error` if it is truncated or damaged, and `DatasetError` if that
    takes too much memory.
    """
    file.seek(0)
    start = file.read(6)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=file, mode="rb"))
    if start.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if start.startswith((b"\xfd7zXZ\x00", b"\x5d\x00\x00")):
        return io.BufferedReader(_Xz(file), _CHUNK)
    return file


class _Xz(io.RawIOBase):
    """An xz file with a memory limit, which Python's own reader lacks."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decompressor = lzma.LZMADecompressor(memlimit=XZ_MEMORY)
        self._pending = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = b""
        try:
            while not data and self._prepare():
                data = self._decompressor.decompress(self._pending, len(buffer))
                self._pending = self._decompressor.unused_data if self._decompressor.eof else b""
        except lzma.LZMAError as error:
            if "emory" in str(error):
                most = XZ_MEMORY // 2**20
                raise DatasetError(
                    f"Unpacking it takes over {most} MiB of memory. Compress it again with xz -9 or less."
                ) from error
            raise OSError("its xz data is damaged") from error
        buffer[: len(data)] = data
        return len(data)

    def _prepare(self) -> bool:
        """Read input for the decompressor, starting a new one after each stream; False at the end of the file."""
        if self._decompressor.eof:
            self._pending = (self._pending or self._file.read(_CHUNK)).lstrip(b"\0")  # streams may be padded
            while not self._pending:
                if not (more := self._file.read(_CHUNK)):
                    return False
                self._pending = more.lstrip(b"\0")
            self._decompressor = lzma.LZMADecompressor(memlimit=XZ_MEMORY)
        elif self._decompressor.needs_input and not self._pending:
            self._pending = self._file.read(_CHUNK)
            if not self._pending:
                raise EOFError("the xz data is truncated")
        return True
