"""Features of some of a version's images, stored with the version for later retraining."""

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catdog.data.layout.vocabulary import Split
from catdog.features.embedding import Embedded
from catdog.features.version_files import read_replay

TRAINING: Final = 1000
"""Maximum number of training images, split equally between the classes."""

GROWN: Final = 2000
"""Maximum number of training images after retraining, which adds to the previous ones."""

TEST: Final = 2000
"""Maximum number of test images."""


@dataclass(frozen=True)
class Replay:
    """Features `(M, D) float16`, labels `(M,) int64`, hex hashes `(M,)` and splits (`train` or `test`) `(M,)`."""

    features: NDArray[np.float16]
    labels: NDArray[np.int64]
    sha256: NDArray[np.str_]
    split: NDArray[np.str_]

    @classmethod
    def choose(
        cls, train: Embedded, test: Embedded, *, most: int = TRAINING, first: Set[str] = frozenset()
    ) -> "Replay":
        """Choose training images of each class, and test images, by hash.

        Args:
            train: training images.
            test: test images.
            most: maximum number of training images.
            first: hashes of images to prefer, such as those chosen before.
        """
        classes = int(train.labels.max()) + 1
        kept = np.concatenate(
            [_choose(train, np.flatnonzero(train.labels == c), most // classes, first) for c in range(classes)]
        )
        tested = _choose(test, np.arange(len(test.labels)), TEST, first)
        return cls(
            np.concatenate([train.vectors[kept, 0], test.vectors[tested, 0]]),
            np.concatenate([train.labels[kept], test.labels[tested]]),
            np.array([train.pictures[i].sha256 for i in kept] + [test.pictures[i].sha256 for i in tested]),
            np.array(["train"] * len(kept) + ["test"] * len(tested)),
        )

    def save(self, path: Path) -> None:
        """Write the arrays to an `.npz` file."""
        np.savez(path, **vars(self))

    def rows(self, chosen: NDArray[Any]) -> "Replay":
        """Return the rows selected by an index or mask `(M,)`."""
        return Replay(*(array[chosen] for array in vars(self).values()))

    def select(self, split: Split) -> "Replay":
        """Return the images of one split."""
        return self.rows(self.split == split)

    def test_hashes(self) -> set[str]:
        """Return the SHA-256 of the test images."""
        return set(self.select("test").sha256.tolist())

    @classmethod
    def load(cls, path: Path) -> "Replay":
        """Read a file written by `save`; nothing is unpickled.

        Raises:
            VersionCorruptError: the file is damaged, or its arrays don't fit together.
        """
        return cls(**read_replay(path))


def _choose(embedded: Embedded, indices: NDArray[Any], most: int, first: Set[str]) -> NDArray[np.int64]:
    hashes = [picture.sha256 for picture in embedded.pictures]
    ordered = sorted(indices.tolist(), key=lambda i: (hashes[i] not in first, hashes[i]))
    return np.array(ordered[:most], np.int64)
