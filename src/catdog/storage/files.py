"""Atomic file writes and checked reads: files are complete or absent."""

import contextlib
import errno
import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from catdog.errors import DiskFullError, VersionCorruptError
from catdog.storage import strict_json
from catdog.storage.json_reader import parse_json, read_json_file

LARGEST_FILE: Final = 2 * 2**30
"""Maximum bytes per file of a version or backbone; hashing that many takes seconds."""

LARGEST_DOCUMENT: Final = 32 * 2**20
MOST_VALUES: Final = 4_000_000
MOST_LISTS: Final = 200_000
"""Limits of a JSON file in the model store. A confusion matrix of 1,000 classes has a million values in 1,000 lists."""

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_PLAIN_NAME: Final = re.compile(r"(?!\.{1,2}$)[^/\\\0\r\n]{1,255}")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class DigestMemory:
    """Cached SHA-256 of files, recomputed if size, times or inode change. Thread-safe.

    Not for loading models: bit rot changes no timestamp.
    """

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, ...], str]] = {}
        self._lock = threading.Lock()

    def sha256(self, path: Path) -> str:
        """Return the SHA-256 of a file, in hex, from the cache if the file is unchanged."""
        found = path.stat()
        stamp = found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
        with self._lock:
            known = self._known.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        digest = file_sha256(path)
        with self._lock:
            self._known[path] = stamp, digest
        return digest


def require_checksums(folder: Path, checksums: Mapping[str, str], sha256: Callable[[Path], str] = file_sha256) -> None:
    """Check that each named file in `folder` has its SHA-256, computed by `sha256`.

    Raises:
        VersionCorruptError: a file is missing or differs, or a name leads out of the folder.
    """
    if not isinstance(checksums, Mapping):
        raise VersionCorruptError(f"The checksums of the model's files in {folder} aren't a JSON object.")
    for name, expected in checksums.items():
        if not isinstance(expected, str) or not _SHA256.fullmatch(expected):
            raise VersionCorruptError(f"A checksum of the model's files in {folder} isn't a SHA-256.")
        path = require_within(folder, name)
        try:
            actual = sha256(path)
        except OSError as error:
            raise VersionCorruptError(f"Can't read the model's file {path}: {error}.") from error
        if actual != expected:
            raise VersionCorruptError(
                f"A file of the model has changed since it was saved: {path} has SHA-256 {actual[:12]}…, "
                f"expected {expected[:12]}…."
            )


def is_plain_name(name: object) -> bool:
    """Return whether an untrusted name is a plain file or folder name, without a path."""
    return isinstance(name, str) and bool(_PLAIN_NAME.fullmatch(name)) and len(name.encode(errors="replace")) <= 255


def require_within(folder: Path, name: object) -> Path:
    """Return the path of a regular file in a folder, by an untrusted name.

    Raises:
        VersionCorruptError: the name or a link leads out of the folder, or the file is missing or too large.
    """
    if not is_plain_name(name):
        raise VersionCorruptError(f"A file of the model in {folder} has an invalid name.")
    path = folder / str(name)
    try:
        if not path.is_file():
            raise VersionCorruptError(f"A file of the model is missing: {path}.")
        if not path.resolve().is_relative_to(folder.resolve()):
            raise VersionCorruptError(f"A file of the model is a link that leads out of its folder: {path}.")
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise VersionCorruptError(f"A file of the model is too large: {path} has {size:,} bytes.")
    except (OSError, RuntimeError, ValueError) as error:  # circular links, or a name the system rejects
        raise VersionCorruptError(f"Can't read the model's file {path}: {error}.") from error
    return path


def read_document(folder: Path, name: str) -> dict[str, Any]:
    """Read a JSON object from a folder of the model store; its content is untrusted.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it can't be read.
        ValueError: it isn't a JSON object, is too large or too deeply nested, or contains NaN or infinity.
    """
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(f"no file {name}")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{name} is a link out of its folder")
    with path.open("rb") as file:
        data = file.read(LARGEST_DOCUMENT + 1)
    # A value takes up to 36 bytes of memory, a list or object up to 88.
    if (
        len(data) > LARGEST_DOCUMENT
        or data.count(b",") > MOST_VALUES
        or data.count(b"[") + data.count(b"{") > MOST_LISTS
    ):
        raise ValueError(f"it has over {LARGEST_DOCUMENT:,} bytes, {MOST_VALUES:,} values, or {MOST_LISTS:,} lists")
    document = parse_json(data, finite=True)
    if not isinstance(document, dict):
        raise ValueError("it isn't a JSON object")
    return document


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON file atomically, replacing any other."""
    write_atomically(path, (strict_json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a file written by `write_json`; None if it is missing or unreadable."""
    try:
        document = read_json_file(path)
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file atomically: after a crash it has either the old content or the new."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def disk_full_errors(size: int) -> Iterator[None]:
    """Turn a full disk or quota into a `DiskFullError`.

    Raises:
        DiskFullError: there was no room for `size` bytes.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"The disk is full: can't write {size:,} bytes.") from error
        raise


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, which makes renames survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flush every file below `folder`, and the folders, to disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            sync_folder(path)
    sync_folder(folder)
