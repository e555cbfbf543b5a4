"""Where pictures lie: which class and which split a file's folders name.

Layouts people have are understood: `train/cats`, `training_set/training_set/cats` (Kaggle's), `PetImages/Cat`,
`cats/` alone, and `val`, `valid` or `test` in other spellings.
"""

import os
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Final, Literal, NamedTuple

Split = Literal["train", "validation", "test"]

SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "test")

_SPLIT_NAMES: Final[dict[str, Split]] = {
    **dict.fromkeys(("train", "training", "train_set", "training_set"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "val_set", "validation_set", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "test_set"), "test"),
}
_PASSED_OVER: Final = {"__MACOSX", "lost+found", "@eaDir"}

NO_MEDIA: Final = ".nomedia"
"""A folder below the root that holds a file of this name is passed over, as by other programs that look for images."""


class Place(NamedTuple):
    """The class folder that holds a file, and the split that its folders name; None where they name none."""

    folder: str
    split: Split | None


def walk(root: Path) -> Iterator[Path]:
    """Yield every file below `root` but those in hidden and system folders, and in folders marked `NO_MEDIA`.

    Links to folders are followed, but into no folder twice.
    """
    seen: set[Path] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = Path(folder).resolve()
        if real in seen or (NO_MEDIA in names and Path(folder) != root):
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(n for n in folders if not n.startswith(".") and n not in _PASSED_OVER)
        for name in names:
            yield Path(folder, name)


def place(root: Path, files: Sequence[Path]) -> tuple[dict[Path, Place], list[Path]]:
    """Say of each file which class and split its folders name, and which files lie in no class folder.

    A class is the first folder below the split, or below `root` or the one folder that holds all classes; deeper
    folders belong to it.
    """
    folders = {path: path.relative_to(root).parts[:-1] for path in files}
    holders = {parts[:i] for parts in folders.values() for i in range(1, len(parts))}
    # A folder is a split only where classes lie in it: a data set of vehicles may have a class called "train".
    has_splits = any(parts[-1].casefold() in _SPLIT_NAMES for parts in holders)
    below: dict[Path, tuple[tuple[str, ...], Split | None]] = {}
    for path, parts in folders.items():
        depth = _split_depth(parts, holders) if has_splits else 0
        below[path] = (parts[depth:], _SPLIT_NAMES[parts[depth - 1].casefold()] if depth else None)
    skip = 1 if _is_wrapped([rest for rest, split in below.values() if rest]) else 0
    placed = {path: Place(rest[skip], split) for path, (rest, split) in below.items() if len(rest) > skip}
    return placed, [path for path in files if path not in placed]


def count_files(folder: Path) -> int:
    """Count the files of a class folder, without reading them; hidden ones are passed over."""
    try:
        with os.scandir(folder) as entries:
            return sum(1 for entry in entries if not entry.name.startswith(".") and entry.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _split_depth(parts: tuple[str, ...], holders: Set[tuple[str, ...]]) -> int:
    """Count the folders down to and including the split; 0 where none is named like one.

    It is the first such folder, or the last of several in a row (Kaggle's `training_set/training_set`) that holds
    folders: in `train/train/1.jpg` the second is a class, and in `train/cats/test/1.jpg` too the split is `train`.
    """
    depth = next((i + 1 for i, name in enumerate(parts) if name.casefold() in _SPLIT_NAMES), 0)
    while 0 < depth < len(parts) and parts[depth].casefold() in _SPLIT_NAMES and parts[: depth + 1] in holders:
        depth += 1
    return depth


def _is_wrapped(rests: Sequence[tuple[str, ...]]) -> bool:
    """Tell whether one folder (`PetImages/Cat`) holds all class folders."""
    outer = {rest[0] for rest in rests}
    inner = {rest[1] for rest in rests if len(rest) > 1}
    return len(outer) == 1 and len(inner) > 1
