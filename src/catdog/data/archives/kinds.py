"""Detection of archive types by content, with advice for unsupported ones."""

import re
import tarfile
import zlib
from typing import IO, Final, Literal

from catdog.data.archives.compressed import decompressed
from catdog.errors import DatasetError

Kind = Literal["zip", "tar"]

_ZIP_STARTS: Final = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
"""A member, the end of an empty zip, and the mark of a split one."""

_PROGRAM_STARTS: Final = (b"MZ", b"\x7fELF", b"#!")
"""Programs, which may be self-extracting zips."""

_COMPRESSED_STARTS: Final = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x5d\x00\x00": "lzma",
}
_NOT_READ: Final = {
    b"Rar!\x1a\x07": "RAR",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "LZ4",
    b"\x1f\x9d": "compress (.Z)",
    b"LZIP": "lzip",
    b"MSCF": "CAB",
    b"xar!": "XAR",
    b"!<arch>\n": "ar or deb",
    b"SIT!": "StuffIt",
    b"StuffIt": "StuffIt",
    b"\x60\xea": "ARJ",
}
_PAGE_STARTS: Final = (b"<!doctype html", b"<html", b"<head", b"<?xml", b"<error", b"<!--", b"<script", b"<body")
_PART: Final = re.compile(r"(?P<whole>.+\.(zip|7z|rar|tar|tgz|tar\.[a-z0-9]+))\.[0-9]{2,4}", re.IGNORECASE)
_LARGEST_EMPTY: Final = 2**20
_BLOCK: Final = tarfile.BLOCKSIZE


def kind_of(file: IO[bytes]) -> Kind | None:
    """Return whether a file is a zip or a tar, compressed or not; None if it is neither.

    Raises:
        DatasetError: it is an unsupported archive; says what to do.
    """
    file.seek(0)
    start = file.read(_BLOCK)
    file.seek(0)
    if start.startswith(_ZIP_STARTS):
        return "zip"
    if other := _name_of(start, _NOT_READ):
        raise DatasetError(f"{other} archives aren't supported. Unpack it and name the folder.")
    if compression := _name_of(start, _COMPRESSED_STARTS):
        return _kind_of_compressed(file, compression)
    if _is_tar(start):
        return "tar"
    return "zip" if start.startswith(_PROGRAM_STARTS) and _has_zip_end(file) else None


def is_empty_tar(file: IO[bytes]) -> bool:
    """Return whether a file may be an empty tar, which is blocks of zeros."""
    size = file.seek(0, 2)
    file.seek(0)
    return 0 < size <= _LARGEST_EMPTY and size % _BLOCK == 0 and file.read() == bytes(size)


def why_none(name: str, start: bytes) -> str:
    """Return what a file is that isn't an archive, by its name and first bytes, and what to do."""
    if why := why_part(name):
        return why
    if not start:
        return "It is empty. Download it again."
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(_PAGE_STARTS):
        return "It is a web page, not an archive. Download it again; the site may require you to sign in first."
    if text.startswith(b"version https://git-lfs"):
        return "It is a Git LFS pointer, not the archive itself. Run: git lfs pull"
    if text.isascii() and all(byte >= 32 or byte in b"\t\n\r\f" for byte in text):
        return "It is text, not an archive. Download it again."
    return "It isn't a zip or tar. Download it again."


def why_part(name: str) -> str | None:
    """Return what to do with a part of a split archive, by its name such as `pets.zip.001`; None for other names."""
    found = _PART.fullmatch(name)
    if not found:
        return None
    whole = found["whole"]
    return f"It is one part of a split archive. Join the parts first: cat {whole}.* > {whole}"


def nested_kind(start: bytes) -> str | None:
    """Return the type of archive that a member's first bytes show; None if it is no archive."""
    if start.startswith(_ZIP_STARTS):
        return "zip"
    return _name_of(start, _NOT_READ) or _name_of(start, _COMPRESSED_STARTS) or ("tar" if _is_tar(start) else None)


def _name_of(start: bytes, kinds: dict[bytes, str]) -> str | None:
    return next((name for begin, name in kinds.items() if start.startswith(begin)), None)


def _kind_of_compressed(file: IO[bytes], compression: str) -> Kind | None:
    try:
        start = decompressed(file).read(_BLOCK)
    except (EOFError, OSError, zlib.error):
        # Reading will report the damage. Other files may begin with the three bytes of the old lzma format.
        return None if compression == "lzma" else "tar"
    finally:
        file.seek(0)
    if _is_tar(start) or start == bytes(_BLOCK):  # an empty tar is blocks of zeros
        return "tar"
    if compression == "lzma":
        return None
    raise DatasetError(f"It is a single file compressed with {compression}, not an archive. Unpack it first.")


def _is_tar(start: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, OverflowError):
        return False
    return True


def _has_zip_end(file: IO[bytes]) -> bool:
    size = file.seek(0, 2)
    file.seek(max(0, size - 2**16 - 22))
    found = b"PK\x05\x06" in file.read()
    file.seek(0)
    return found
