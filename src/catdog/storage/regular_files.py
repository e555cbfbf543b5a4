"""Reading of regular files only: reading a pipe, a device or a socket may never end."""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import IO, Final

_KINDS: Final = {
    stat.S_IFDIR: "it is a folder",
    stat.S_IFIFO: "it is a pipe",
    stat.S_IFSOCK: "it is a socket",
    stat.S_IFCHR: "it is a device",
    stat.S_IFBLK: "it is a device",
}


def absolute(path: Path) -> Path:
    """Return a path as an absolute one, with `~` expanded."""
    with contextlib.suppress(RuntimeError):  # no such user
        path = path.expanduser()
    return path.absolute()


def file_in_the_way(folder: Path) -> Path | None:
    """Return the file that is in the place of a folder or one of its parents; None if there is none."""
    return next((path for path in (folder, *folder.parents) if path.exists() and not path.is_dir()), None)


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file, or a link to one, for reading.

    Raises:
        OSError: it isn't a regular file, and `strerror` says what it is; or it can't be opened.
    """
    _require_regular(path.stat().st_mode, path)  # before opening, as opening a device may have effects
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _require_regular(os.fstat(descriptor).st_mode, path)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, most: int | None) -> bytes | None:
    """Read a regular file; None if it has more than `most` bytes.

    Raises:
        OSError: it can't be opened by `open_regular`, or can't be read.
    """
    with open_regular(path) as file:
        if most is None:
            return file.read()
        if os.fstat(file.fileno()).st_size > most:
            return None
        data = file.read(most + 1)  # it may grow, and files in /proc don't report their size
    return data if len(data) <= most else None


def _require_regular(mode: int, path: Path) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, _KINDS.get(stat.S_IFMT(mode), "it is not a regular file"), str(path))
