"""Links in archives: each becomes a file of its own, if it leads to a file of the same archive."""

import os
import posixpath
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from catdog.errors import DatasetError

OUTSIDE: Final = ""
"""Where a link leads to that leaves its archive."""

LONGEST: Final = 4096
"""Bytes of a link's target that are read: file systems take no more."""

_MOST_STEPS: Final = 40
"""Links that lead to one another, as Linux follows them."""


def symlink_target(name: str, target: str) -> str:
    """Name the member that a symbolic link leads to: the link says it from its own folder on."""
    target = target.replace("\\", "/")
    found = posixpath.normpath(posixpath.join(posixpath.dirname(name.replace("\\", "/")), target))
    return OUTSIDE if target.startswith("/") or not target or found == ".." or found.startswith("../") else found


def is_symlink(info: zipfile.ZipInfo) -> bool:
    """Tell whether an entry of a zip is a symbolic link, whose content is then where it leads."""
    return stat.S_ISLNK(info.external_attr >> 16)


class Links:
    """The links of an archive that is unpacked: its other files are written first."""

    def __init__(self) -> None:
        self._targets: dict[Path, Path | None] = {}
        self._names: dict[Path, str] = {}

    def add(self, name: str, path: Path, target: Path | None) -> None:
        """Take in a link: its name in the archive, its path, and the path that it leads to, if that is known."""
        self._targets[path] = target
        self._names[path] = name

    def settle(self, make_room: Callable[[Path], Path], most: int) -> Iterator[str]:
        """Make the links into files; yields the names of those that lead to no file.

        Args:
            make_room: says which path a file gets.
            most: bytes that all of them may stand for.

        Raises:
            DatasetError: they stand for more.
        """
        for path, name in self._names.items():
            file = self._follow(path)
            if file is None or not file.is_file():
                yield name
                continue
            most -= file.stat().st_size
            if most < 0:
                raise DatasetError("Its links stand for more bytes than are allowed for an archive of its size.")
            _copy(file, make_room(path))

    def _follow(self, path: Path) -> Path | None:
        found: Path | None = path
        for _ in range(_MOST_STEPS):
            if found not in self._targets:
                return found
            found = self._targets[found]
        return None


def _copy(file: Path, path: Path) -> None:
    """Give a file another name; where the file system has one name a file, copy it."""
    try:
        os.link(file, path)
    except OSError:
        shutil.copyfile(file, path)
