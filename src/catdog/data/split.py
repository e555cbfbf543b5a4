"""Held-out images: a fixed share by hash, so an image's split doesn't change as the data grows."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from catdog.data.layout.vocabulary import Split
from catdog.settings import Settings

MIN_HELD_OUT: Final = 2
"""Minimum images per class in a split held out by hash."""


@dataclass(frozen=True)
class Picture:
    """A usable image: path, SHA-256 of its bytes in hex, class number and split."""

    path: Path
    sha256: str
    label: int
    split: Split


def hold_out(pictures: Sequence[Picture], settings: Settings) -> tuple[Picture, ...]:
    """Move a share of the training images to the test and validation splits if these are empty."""
    shares: tuple[tuple[Split, float, int], ...] = (
        ("test", settings.test_share, 0),
        ("validation", settings.validation_share, 8),
    )
    for split, share, start in shares:
        if not any(picture.split == split for picture in pictures):
            chosen = _choose(pictures, share, start)
            pictures = [replace(p, split=split) if p.sha256 in chosen else p for p in pictures]
    return tuple(pictures)


def hash_share(sha256: str, start: int) -> float:
    """Map eight hex digits of a hash to [0, 1), the same for an image in every data set."""
    return int(sha256[start : start + 8], 16) / 2**32


def _choose(pictures: Iterable[Picture], share: float, start: int) -> set[str]:
    by_class: dict[int, list[str]] = defaultdict(list)
    for picture in pictures:
        if picture.split == "train":
            by_class[picture.label].append(picture.sha256)
    chosen: set[str] = set()
    for hashes in by_class.values():
        hashes.sort(key=lambda sha256: hash_share(sha256, start))
        drawn = sum(hash_share(sha256, start) < share for sha256 in hashes)
        chosen.update(hashes[: max(drawn, MIN_HELD_OUT)])
    return chosen
