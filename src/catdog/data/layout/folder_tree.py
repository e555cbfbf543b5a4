"""A tree of folders and file names in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

Parts = tuple[str, ...]
"""A path relative to the data set's folder."""


@dataclass(eq=False)
class Folder:
    """A folder: its path, the names of its files, its folders by name, and the total number of files below it."""

    parts: Parts
    files: list[str] = field(default_factory=list)
    folders: dict[str, Folder] = field(default_factory=dict)
    total: int = 0

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.parts[-1] if self.parts else ""

    @property
    def shown(self) -> str:
        """The folder's path for display."""
        return "/".join(self.parts) + "/"

    @property
    def full(self) -> list[Folder]:
        """The folders in it that contain files at any depth."""
        return [folder for folder in self.folders.values() if folder.total]

    @property
    def empty(self) -> list[Folder]:
        """The folders in it that contain no files."""
        return [folder for folder in self.folders.values() if not folder.total]


def build_tree(files: Iterable[Parts], folders: Iterable[Parts] = ()) -> Folder:
    """Return a tree, sorted by name, from the paths of files and of folders, which may be empty."""
    root = Folder(())
    for parts in sorted(folders):
        _reach(root, parts)
    for parts in sorted(files):
        path = _reach(root, parts[:-1])
        path[-1].files.append(parts[-1])
        for folder in path:
            folder.total += 1
    return root


def all_folders(root: Folder) -> list[Folder]:
    """Return a folder and all below it, outer ones first."""
    found, waiting = [], [root]
    while waiting:
        folder = waiting.pop()
        found.append(folder)
        waiting.extend(reversed(folder.folders.values()))
    return found


def _reach(root: Folder, parts: Parts) -> list[Folder]:
    path = [root]
    for depth, name in enumerate(parts, 1):
        inner = path[-1].folders.get(name)
        if inner is None:
            inner = path[-1].folders[name] = Folder(parts[:depth])
        path.append(inner)
    return path
