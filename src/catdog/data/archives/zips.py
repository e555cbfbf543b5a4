"""Untrusted zips, whose directory is checked before Python's reader gets it."""

import io
import os
import struct
import zipfile
from typing import IO, Any, Final

from catdog.data.archives.names import name_encoding
from catdog.errors import DatasetError

_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = struct.Struct("<4sLQL")
_ENTRY: Final = 46
"""Bytes of a directory entry without its name, extra field and comment."""

_LOCAL: Final = 30
"""Bytes of the header before a member's name and data."""

_MOST_PADDING: Final = 2**28
"""Maximum zeros skipped after a zip."""

_METHODS: Final = {0: "stored", 8: "deflated"}
_METHOD_NAMES: Final = {
    1: "shrunk",
    6: "imploded",
    9: "Deflate64",
    12: "bzip2",
    14: "LZMA",
    93: "zstd",
    95: "xz",
    98: "PPMd",
}
_ENCRYPTED: Final = 0x1
_UTF8: Final = 0x800

TRUNCATED: Final = "It is truncated: the directory at its end is missing. Copy or download it again."
_DAMAGED: Final = "Its directory is damaged. Copy or download it again."
_IN_PARTS: Final = "It is one part of a split archive. Join the parts first: zip -s 0 ARCHIVE.zip --out WHOLE.zip"


def open_zip(file: IO[bytes], *, max_files: int, max_directory: int) -> zipfile.ZipFile:
    """Open a zip whose members are stored or deflated and don't overlap.

    It may have a comment, a program before it, and Zip64 records.

    Args:
        file: open for reading and seeking.
        max_files: maximum number of entries.
        max_directory: maximum bytes of the directory.

    Raises:
        DatasetError: it is truncated, damaged, encrypted, split, compressed by another method, exceeds a limit, or has
            members that overlap; says what to do.
    """
    start, size, offset = _find_directory(file)
    if size > max_directory:
        raise DatasetError(
            f"It has too many files: its directory has {size:,} bytes; the maximum is {max_directory:,}."
        )
    file.seek(start)
    directory = file.read(size)
    names = _raw_names(directory, max_files)
    encoding = name_encoding(name for name, flags in names if not flags & _UTF8)
    end = _new_end(len(names), size, offset)
    try:
        zipped = zipfile.ZipFile(io.BufferedReader(_WithNewEnd(file, start + size, end)), metadata_encoding=encoding)
    except (zipfile.BadZipFile, NotImplementedError, UnicodeError, ValueError, struct.error, OSError) as error:
        raise DatasetError(_DAMAGED) from error
    _require_supported(zipped)
    _require_no_overlap(zipped, start)
    return zipped


def _find_directory(file: IO[bytes]) -> tuple[int, int, int]:
    """Return the directory's start, its size, and its declared start."""
    last = _without_padding(file)
    at_tail = max(0, last - 2**16 - _END.size - _LOCATOR.size - _END64.size)
    file.seek(at_tail)
    tail = file.read(last - at_tail + 2**16)  # the end record or its comment may end in zeros
    at = _find_end(tail)
    if at is None:
        file.seek(0)
        raise DatasetError(_IN_PARTS if file.read(4) == b"PK\x07\x08" else TRUNCATED)
    _, disk, first_disk, _, entries, size, offset, _ = _END.unpack_from(tail, at)
    end = at_tail + at
    if at >= _LOCATOR.size and tail[at - _LOCATOR.size :].startswith(b"PK\x06\x07"):
        _, _, record, disks = _LOCATOR.unpack_from(tail, at - _LOCATOR.size)
        found = _read_end64(file, record, end - _LOCATOR.size)
        if found is not None:
            end, disk, first_disk, size, offset = found
        elif entries == 0xFFFF or 0xFFFFFFFF in (size, offset):
            raise DatasetError(_DAMAGED)
        disk = max(disk, disks - 1)
    if disk not in (0, 0xFFFF) or first_disk not in (0, 0xFFFF):
        raise DatasetError(_IN_PARTS)
    return _directory_start(file, size, offset, end), size, offset


def _without_padding(file: IO[bytes]) -> int:
    """Return the file's size without trailing zeros, which disks and downloads may add."""
    at = file.seek(0, os.SEEK_END)
    least = max(0, at - _MOST_PADDING)
    while at > least:
        start = max(least, at - 2**20)
        file.seek(start)
        rest = file.read(at - start).rstrip(b"\0")
        if rest:
            return start + len(rest)
        at = start
    return at


def _find_end(tail: bytes) -> int | None:
    """Return the position of the end record: the last whose comment fills the rest of the file, or fits into it."""
    fitting = None
    at = tail.rfind(b"PK\x05\x06", 0)
    while at >= 0:
        if at + _END.size <= len(tail):
            rest = len(tail) - at - _END.size - _END.unpack_from(tail, at)[-1]
            if rest == 0:
                return at
            if rest > 0 and fitting is None:
                fitting = at
        at = tail.rfind(b"PK\x05\x06", 0, at)
    return fitting


def _read_end64(file: IO[bytes], record: int, locator: int) -> tuple[int, int, int, int, int] | None:
    """Return the position and fields of the Zip64 end record; None if there is none."""
    for at in (record, locator - _END64.size):  # the latter if a program precedes the zip
        if 0 <= at <= locator - _END64.size:
            file.seek(at)
            data = file.read(_END64.size)
            if data.startswith(b"PK\x06\x06"):
                _, _, _, _, disk, first_disk, _, _, size, offset = _END64.unpack(data)
                return at, disk, first_disk, size, offset
    return None


def _directory_start(file: IO[bytes], size: int, offset: int, end: int) -> int:
    """Return where the directory starts."""
    for start in (offset, end - size):  # the latter if something precedes the zip
        if 0 <= start <= end - size:
            file.seek(start)
            if size == 0 or file.read(4) == b"PK\x01\x02":
                return start
    raise DatasetError(_DAMAGED)


def _raw_names(directory: bytes, max_files: int) -> list[tuple[bytes, int]]:
    """Return the names and flags of all entries."""
    names: list[tuple[bytes, int]] = []
    at = 0
    while at + _ENTRY <= len(directory):
        if directory[at : at + 4] != b"PK\x01\x02":
            raise DatasetError(_DAMAGED)
        if len(names) >= max_files:
            raise DatasetError(f"It has more than {max_files:,} files. Split it into several archives.")
        (flags,) = struct.unpack_from("<H", directory, at + 8)
        name, extra, comment = struct.unpack_from("<3H", directory, at + 28)
        names.append((directory[at + _ENTRY : at + _ENTRY + name], flags))
        at += _ENTRY + name + extra + comment
    if at != len(directory):
        raise DatasetError(_DAMAGED)
    return names


def _new_end(entries: int, size: int, offset: int) -> bytes:
    """Return a new end record, so Python's reader uses the checked values."""
    if entries < 0xFFFF and max(size, offset) < 0xFFFFFFFF:
        return _END.pack(b"PK\x05\x06", 0, 0, entries, entries, size, offset, 0)
    record = _END64.pack(b"PK\x06\x06", 44, 45, 45, 0, 0, entries, entries, size, offset)
    locator = _LOCATOR.pack(b"PK\x06\x07", 0, offset + size, 1)
    return record + locator + _END.pack(b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)


def _require_supported(zipped: zipfile.ZipFile) -> None:
    for info in zipped.infolist():
        if info.flag_bits & _ENCRYPTED or info.compress_type == 99:  # 99: encrypted with AES
            raise DatasetError("It is encrypted. Unpack it with its password and pack it again without one.")
        if info.compress_type not in _METHODS:
            method = _METHOD_NAMES.get(info.compress_type, f"method {info.compress_type}")
            raise DatasetError(
                f"Its files are compressed by {method}, such as {info.filename[:100]!r}; only stored and deflated ones "
                "are supported. Pack them again by the default method, or unpack them."
            )


def _require_no_overlap(zipped: zipfile.ZipFile, end: int) -> None:
    """Reject members that share bytes, as a small zip of them can unpack to any size."""
    before = 0
    for info in sorted(zipped.infolist(), key=lambda info: info.header_offset):
        if info.header_offset < before or info.compress_size > end:
            raise DatasetError("Its files overlap, as in archives made to fill a disk. It was not unpacked.")
        before = info.header_offset + _LOCAL + info.compress_size
    if before > end:
        raise DatasetError(_DAMAGED)


class _WithNewEnd(io.RawIOBase):
    """The first bytes of a file, followed by another end."""

    def __init__(self, file: IO[bytes], length: int, end: bytes) -> None:
        self._file, self._length, self._end = file, length, end
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._position < self._length:
            self._file.seek(self._position)
            data = self._file.read(min(len(buffer), self._length - self._position))
        else:
            data = self._end[self._position - self._length :][: len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length + len(self._end)}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position
