"""Reads the images in uploaded files: image files and zips of images."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final

from catdog.data.archives.kinds import why_none, why_part
from catdog.data.archives.unpacking import is_zip, read_zip, why_nested
from catdog.errors import DatasetError
from catdog.settings import Settings

Source = bytes | IO[bytes]

_ARCHIVE_NAME: Final = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|(zip|tar|7z|rar)\.[a-z0-9]+)$", re.IGNORECASE)
_IMAGE_START: Final = re.compile(rb"\xff\xd8|\x89PNG|RIFF|....ftyp", re.DOTALL)
_START_BYTES: Final = 512


@dataclass(frozen=True)
class FileEntry:
    """An image file, alone or in a zip: its name, and its bytes or the reason it can't be used."""

    name: str
    data: bytes = b""
    problem: str = ""


def read_entries(name: str, source: Source, settings: Settings, room: int) -> tuple[Iterator[FileEntry], bool]:
    """Return the images in a file and whether it is a zip, which may contain at most `room` files."""
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        if is_zip(file):
            return _zip_entries(name, file, settings, room), True
        entry = _single_entry(name, file, settings.max_upload_bytes)
    except DatasetError as error:  # an archive that isn't a zip
        entry = _unusable(name, str(error))
    return iter([entry]), False


def _single_entry(name: str, file: IO[bytes], max_bytes: int) -> FileEntry:
    start = file.read(_START_BYTES)
    file.seek(0)
    if _ARCHIVE_NAME.search(name) and not _IMAGE_START.match(start):
        return _unusable(name, why_none(name, start))
    return FileEntry(name, file.read(max_bytes + 1))  # one more byte shows that it is too large


def _zip_entries(name: str, file: IO[bytes], settings: Settings, room: int) -> Iterator[FileEntry]:
    limits = {"max_file_bytes": settings.max_upload_bytes, "max_bytes": settings.max_upload_total_bytes}
    is_empty = True
    try:
        for member, data in read_zip(file, max_files=room, **limits):
            is_empty = False
            yield FileEntry(f"{name}/{member}", data, why_nested(data) or "")
    except DatasetError as error:
        yield _unusable(name, str(error))
        return
    if is_empty:
        yield FileEntry(name, problem="The zip is empty: it contains no images.")


def _unusable(name: str, reason: str) -> FileEntry:
    kind = "zip" if name.casefold().endswith(".zip") else "archive"
    return FileEntry(name, problem=f"The {kind} can't be used. {why_part(name) or reason}")
