"""Links in archives, which become files if they lead to a file of the same archive."""

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
"""Target of a link that leads out of its archive."""

LONGEST: Final = 4096
"""Maximum bytes of a link's target, as in file systems."""

_MOST_STEPS: Final = 40
"""Maximum length of a chain of links, as in Linux."""


def symlink_target(name: str, target: str) -> str:
    """Return the name of the member that a symbolic link leads to; `OUTSIDE` if none."""
    target = target.replace("\\", "/")
    found = posixpath.normpath(posixpath.join(posixpath.dirname(name.replace("\\", "/")), target))
    return OUTSIDE if target.startswith("/") or not target or found == ".." or found.startswith("../") else found


def is_symlink(info: zipfile.ZipInfo) -> bool:
    """Return whether an entry of a zip is a symbolic link, whose content is the target."""
    return stat.S_ISLNK(info.external_attr >> 16)


class Links:
    """Links of an archive, created after its files."""

    def __init__(self) -> None:
        self._targets: dict[Path, Path | None] = {}
        self._names: dict[Path, str] = {}

    def add(self, name: str, path: Path, target: Path | None) -> None:
        """Add a link: its name in the archive, its path, and the path of its target, if known."""
        self._targets[path] = target
        self._names[path] = name

    def create(self, make_room: Callable[[Path], Path], most: int) -> Iterator[str]:
        """Create the files for the links, and yield the names of broken links.

        Args:
            make_room: returns the path for a file.
            most: maximum bytes of all linked files together.

        Raises:
            DatasetError: they exceed `most`.
        """
        for path, name in self._names.items():
            file = self._follow(path)
            if file is None or not file.is_file():
                yield name
                continue
            most -= file.stat().st_size
            if most < 0:
                raise DatasetError("The files that its links lead to are too large for an archive of its size.")
            _copy(file, make_room(path))

    def _follow(self, path: Path) -> Path | None:
        found: Path | None = path
        for _ in range(_MOST_STEPS):
            if found not in self._targets:
                return found
            found = self._targets[found]
        return None


def _copy(file: Path, path: Path) -> None:
    """Hard-link a file, or copy it if the file system doesn't support that."""
    try:
        os.link(file, path)
    except OSError:
        shutil.copyfile(file, path)
