"""The one walk through folders that all commands share: links are followed, clutter is passed over."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from catdog.clutter import is_clutter_file, is_clutter_folder


@dataclass
class Listing:
    """What lies below a folder.

    Attributes:
        files: what may be images, in order of their paths.
        folders: every folder below the root, empty ones too.
        clutter: how many files were passed over as system files, labels and documents.
        problems: folders that were not entered, each with the reason.
    """

    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    clutter: int = 0
    problems: list[tuple[Path, str]] = field(default_factory=list)


def list_tree(root: Path) -> Listing:
    """List a folder and everything below it."""
    listing = Listing()
    for folder, names in _visit(root, listing.problems):
        if folder != root:
            listing.folders.append(folder)
        kept = [name for name in names if not is_clutter_file(name)]
        listing.clutter += len(names) - len(kept)
        listing.files.extend(folder / name for name in kept)
    listing.files.sort()
    return listing


def walk(root: Path) -> Iterator[Path]:
    """Yield every file below `root` that may be an image, lazily, each folder's in order of their names."""
    for folder, names in _visit(root, []):
        yield from (folder / name for name in sorted(names) if not is_clutter_file(name))


def find_pictures(paths: Iterable[Path], *, recursive: bool = False) -> Iterator[Path]:
    """Yield the files that are meant by files and folders, lazily.

    A file that is named is yielded whatever it is. Of a folder, clutter is passed over, and folders in it are entered
    with `recursive`.
    """
    for path in paths:
        if not path.is_dir():
            yield path
        elif recursive:
            yield from walk(path)
        else:
            files = (inner for inner in path.iterdir() if not is_clutter_file(inner.name))
            yield from (inner for inner in sorted(files) if not inner.is_dir())


def count_files(folder: Path) -> int:
    """Count the files of a class folder, without reading them; clutter is passed over."""
    try:
        with os.scandir(folder) as entries:
            return sum(1 for entry in entries if not is_clutter_file(entry.name) and entry.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _visit(root: Path, problems: list[tuple[Path, str]]) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder with the names of its files; links are followed, but into no folder twice."""
    seen: dict[str, str] = {}

    def unreadable(error: OSError) -> None:
        problems.append((Path(error.filename), f"The folder can't be read: {error.strerror}."))

    for folder, folders, names in os.walk(root, followlinks=True, onerror=unreadable):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            if not _is_loop(folder, real):
                problems.append((Path(folder), f"It links to {seen[real]}, which is read already."))
            continue
        seen[real] = folder
        folders[:] = sorted(name for name in folders if not is_clutter_folder(name))
        yield Path(folder), names


def _is_loop(folder: str, real: str) -> bool:
    """Tell whether a link leads to a folder that it lies in."""
    return f"{Path(folder).parent.resolve()}{os.sep}".startswith(real.rstrip(os.sep) + os.sep)
