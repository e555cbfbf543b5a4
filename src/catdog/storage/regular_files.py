"""Files that are opened only if they are regular ones: reading a pipe, a device or a socket may never end."""

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
    """Make a path absolute, with the home folder in place of `~`, where there is such a user."""
    with contextlib.suppress(RuntimeError):
        path = path.expanduser()
    return path.absolute()


def file_in_the_way(folder: Path) -> Path | None:
    """Give what stands where a folder, or one above it, should be and is none."""
    return next((path for path in (folder, *folder.parents) if path.exists() and not path.is_dir()), None)


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file, or a link to one, for reading.

    Raises:
        OSError: it is none, and `strerror` says what it is; or it cannot be opened.
    """
    _require_regular(path.stat().st_mode, path)  # before it is opened: to open a device may do something
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _require_regular(os.fstat(descriptor).st_mode, path)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, most: int | None) -> bytes | None:
    """Read a regular file of at most so many bytes, or all of it; None where it has more, which is then not read.

    Raises:
        OSError: as `open_regular` does, or it cannot be read.
    """
    with open_regular(path) as file:
        if most is None:
            return file.read()
        if os.fstat(file.fileno()).st_size > most:
            return None
        data = file.read(most + 1)  # it may grow, and files of /proc do not tell their size
    return data if len(data) <= most else None


def _require_regular(mode: int, path: Path) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, _KINDS.get(stat.S_IFMT(mode), "it is not a regular file"), str(path))
