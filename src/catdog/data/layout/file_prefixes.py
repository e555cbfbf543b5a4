"""Classes from file names such as `cat.0.jpg` and `american_bulldog_12.jpg`."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

_NUMBERED: Final = re.compile(r"(?P<prefix>.*?[^\W\d_].*?)[\s._-]*\(?\d+\)?")
_AUGMENTED: Final = re.compile(r"[_.](jpe?g|png|webp)\.rf\..*", re.IGNORECASE)  # as Roboflow renames files
_SUFFIX: Final = re.compile(r"\.[A-Za-z]{1,5}")
_CAMERAS: Final = (
    *("img", "dsc", "dscn", "dscf", "pxl", "mvimg", "gopr", "dji", "vid", "p", "wa", "whatsapp", "screenshot", "scan"),
    *("image", "images", "pic", "picture", "photo", "frame", "file", "untitled", "sample", "train", "test", "val"),
)
_LEAST_SHARE: Final = 0.95
_LEAST_MEAN: Final = 2


def prefix_of(name: str) -> str | None:
    """Return the class before the number in a file name; None if there is none."""
    stem = _AUGMENTED.sub("", name)
    suffix = _SUFFIX.search(stem, max(0, stem.rfind(".")))
    if suffix and suffix.end() == len(stem):
        stem = stem[: suffix.start()]
    found = _NUMBERED.fullmatch(stem)
    return found["prefix"].rstrip(" ._-(") if found else None


def prefixes(names: Sequence[str]) -> Counter[str]:
    """Return the number of files by class in their names; empty if the names don't contain classes.

    Nearly all names must begin with a class, each class needs several, and none may be a camera's (`IMG_1234.jpg`).
    """
    counts = Counter(prefix for prefix in map(prefix_of, names) if prefix)
    words = {prefix.casefold().split("_")[0].split("-")[0].strip() for prefix in counts}
    usual = len(counts) >= 2 and counts.total() >= _LEAST_SHARE * len(names)
    return counts if usual and counts.total() >= _LEAST_MEAN * len(counts) and words.isdisjoint(_CAMERAS) else Counter()
