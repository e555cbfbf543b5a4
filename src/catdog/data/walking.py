"""Walking through folders: links are followed, clutter is skipped."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from catdog.data.clutter import is_clutter_file, is_clutter_folder, is_hidden_folder

_ENDLESS: Final = ("/proc", "/sys", "/dev", "/run")
_NOT_ENDLESS: Final = ("/dev/shm", "/run/media", "/run/user")
_SYSTEM: Final = {
    *("/bin", "/boot", "/etc", "/home", "/lib", "/lib64", "/root", "/sbin", "/tmp", "/usr", "/var"),
    *("/usr/bin", "/usr/lib", "/usr/lib64", "/usr/local", "/usr/share", "/var/lib", "/var/log"),
    *("/Applications", "/Library", "/System", "/Users", "/Volumes", "/private", "/private/var", "/private/tmp"),
}
"""Links into these are not followed: endless folders and those of the system. A root may be any of them."""


@dataclass
class Listing:
    """Contents of a folder.

    Attributes:
        files: potential images, sorted by path.
        folders: all folders below the root, including empty ones.
        clutter: number of skipped system files, labels and documents.
        problems: folders that were not entered, with reasons.
        hidden: hidden folders, which were not entered.
    """

    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    clutter: int = 0
    problems: list[tuple[Path, str]] = field(default_factory=list)
    hidden: list[Path] = field(default_factory=list)


def list_tree(root: Path) -> Listing:
    """List a folder and everything below it."""
    listing = Listing()
    for folder, names in _visit(root, listing):
        if folder != root:
            listing.folders.append(folder)
        kept = [name for name in names if not is_clutter_file(name)]
        listing.clutter += len(names) - len(kept)
        listing.files.extend(folder / name for name in kept)
    listing.files.sort()
    return listing


def walk(root: Path) -> Iterator[Path]:
    """Yield the potential images below `root` lazily, sorted by name within each folder."""
    for folder, names in _visit(root, Listing()):
        yield from (folder / name for name in sorted(names) if not is_clutter_file(name))


def find_pictures(paths: Iterable[Path], *, recursive: bool = False) -> Iterator[Path]:
    """Yield the files among `paths`, and those in folders except clutter, lazily; subfolders only if `recursive`."""
    for path in paths:
        if not path.is_dir():
            yield path
        elif recursive:
            yield from walk(path)
        else:
            files = (inner for inner in path.iterdir() if not is_clutter_file(inner.name))
            yield from (inner for inner in sorted(files) if not inner.is_dir())


def count_files(folder: Path) -> int:
    """Return the number of files in a class folder, without clutter."""
    try:
        with os.scandir(folder) as entries:
            return sum(1 for entry in entries if not is_clutter_file(entry.name) and entry.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _visit(root: Path, listing: Listing) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder with the names of its files, following links that don't lead upwards or to a known folder."""
    seen: dict[str, str] = {}
    start = os.path.realpath(root)

    def unreadable(error: OSError) -> None:
        listing.problems.append((Path(error.filename), f"The folder can't be read: {error.strerror}."))

    for folder, folders, names in os.walk(root, followlinks=True, onerror=unreadable):
        real = os.path.realpath(folder)
        if why := _why_not_entered(folder, real, start, seen):
            folders.clear()
            is_loop = _contains(start, real) and _contains(real, os.path.realpath(Path(folder).parent))
            if not is_loop:  # a loop leads to nothing new
                listing.problems.append((Path(folder), why))
            continue
        seen[real] = folder
        listing.hidden.extend(Path(folder, name) for name in folders if is_hidden_folder(name))
        folders[:] = sorted(name for name in folders if not is_clutter_folder(name))
        yield Path(folder), names


def _why_not_entered(folder: str, real: str, start: str, seen: dict[str, str]) -> str:
    """Return why a folder isn't entered; an empty text if it is."""
    if real in seen:
        return f"It links to {seen[real]}, which has been read already."
    if real != start and _contains(real, start):
        return f"It links to {real}, which contains the folder being read."
    if real != start and Path(folder).is_symlink() and _is_system_folder(real):
        return f"It links to {real}, which belongs to the system."
    return ""


def _is_system_folder(real: str) -> bool:
    endless = any(_contains(folder, real) for folder in _ENDLESS) and not any(
        _contains(folder, real) for folder in _NOT_ENDLESS
    )
    return endless or real in _SYSTEM


def _contains(outer: str, inner: str) -> bool:
    """Return whether a folder is the same as another or contains it; both are real paths."""
    return f"{inner.rstrip(os.sep)}{os.sep}".startswith(outer.rstrip(os.sep) + os.sep)
