"""Reading of untrusted `.npz` files.

A file of a kilobyte can claim 10^12 elements or unpack to gigabytes, and NumPy allocates what a header claims. So the
headers are checked first. Nothing is unpickled.
"""

import math
import struct
import threading
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from catdog.data.archives.zips import open_zip
from catdog.errors import DatasetError, VersionCorruptError

MOST_BYTES: Final = 64 * 2**20
"""Maximum bytes of all arrays of a file. The largest of catdog's files, `replay.npz`, takes 12 MB."""

MOST_MEMBERS: Final = 64
MOST_LIST_BYTES: Final = 64 * 2**10

LARGEST_NUMBER: Final = 10**9
"""Maximum weight. Fitted weights are under 100; two layers of this maximum stay finite in float32."""

_KINDS: Final = "fiuU"
"""Accepted types of elements: numbers and text, never objects."""

_HEADERS: Final = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_FAILURES: Final = (
    *(OSError, ValueError, KeyError, EOFError, TypeError, SyntaxError, RecursionError, MemoryError, OverflowError),
    *(zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, NotImplementedError, DatasetError),
)

_reading = threading.Lock()
"""NumPy parses headers as Python, which in several threads can raise SystemError in CPython 3.11
(https://github.com/python/cpython/issues/106905)."""


def read_arrays(path: Path, names: Mapping[str, int], what: str, *, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Read arrays of an `.npz` file.

    Args:
        path: the file.
        names: number of dimensions by array; other arrays are not read.
        what: name of the file in errors, such as "head".
        most_bytes: maximum bytes of all arrays together.

    Raises:
        VersionCorruptError: the file is missing, damaged or too large, or an array has other dimensions, or contains
            NaN, infinity, or anything but numbers and text.
    """
    try:
        if not path.is_file() or path.stat().st_size > 2 * most_bytes:
            raise ValueError(f"must be a file of at most {2 * most_bytes:,} bytes")
        with (
            path.open("rb") as file,
            open_zip(file, max_files=MOST_MEMBERS, max_directory=MOST_LIST_BYTES) as archive,
        ):
            return _read_members(archive, names, most_bytes)
    except _FAILURES as error:
        raise VersionCorruptError(f"Can't read the {what}: {path}: {_reason(error)}.") from error


def _read_members(archive: zipfile.ZipFile, names: Mapping[str, int], most_bytes: int) -> dict[str, Any]:
    left, found = most_bytes, {}
    for name, dimensions in names.items():
        info = archive.getinfo(f"{name}.npy")
        with archive.open(info) as member:
            array = _read(member, name, left)
        if array.ndim != dimensions:
            raise ValueError(f"{name} has {array.ndim} dimensions, not {dimensions}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name} contains NaN or infinity")
        left -= array.nbytes
        found[name] = array
    return found


def _read(member: IO[bytes], name: str, most_bytes: int) -> NDArray[Any]:
    try:
        with _reading:
            shape, in_columns, dtype = _HEADERS[npy.read_magic(member)](member)
    except Exception as error:  # NumPy parses it as Python, which can fail in many ways
        raise ValueError(f"the header of {name} is damaged") from error
    size = math.prod(shape) * dtype.itemsize
    if dtype.kind not in _KINDS or dtype.itemsize == 0 or min(shape, default=0) < 0 or size > most_bytes:
        raise ValueError(f"{name} claims {math.prod(shape):,} elements of {dtype}, which are too many or not numbers")
    data = member.read(size + 1)
    if len(data) != size:
        raise ValueError(f"{name} isn't as long as it claims")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if in_columns else "C")


def _reason(error: Exception) -> str:
    """Return a short reason without unprintable characters, which the file's contents may have."""
    said = str(error) if type(error) in (ValueError, DatasetError) else type(error).__name__
    return "".join(c for c in said if c.isprintable())[:200].rstrip(".")


def as_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """Convert numbers to float32.

    Raises:
        ValueError: they aren't numbers, or one is NaN or exceeds `LARGEST_NUMBER`.
    """
    if array.dtype.kind not in "fiu":
        raise ValueError(f"must contain numbers, not {array.dtype}")
    with np.errstate(over="ignore"):
        floats = array.astype(np.float32)
    if not (np.abs(floats) <= LARGEST_NUMBER).all():
        raise ValueError(f"it contains NaN, infinity or numbers over {LARGEST_NUMBER:,}")
    return floats
