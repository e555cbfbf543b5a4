from pathlib import Path

import numpy as np
import pytest

from catdog.data.split import Picture
from catdog.errors import VersionCorruptError
from catdog.features.embedding import Embedded
from catdog.features.replay import Replay


def embedded(n: int, split: str) -> Embedded:
    """Features of n images of two classes, three quarters of them of the first."""
    labels = np.array([0 if i % 4 else 1 for i in range(n)])
    pictures = [Picture(Path(f"{i}.jpg"), f"{i * 7919 % 2**32:064x}", int(labels[i]), split) for i in range(n)]  # type: ignore[arg-type]
    vectors = np.arange(n, dtype=np.float16)[:, None, None] * np.ones((1, 2, 4), np.float16)
    return Embedded(tuple(pictures), vectors, labels, (), 0)


def test_training_images_are_kept_per_class_and_all_test_images() -> None:
    replay = Replay.choose(embedded(1900, "train"), embedded(30, "test"))
    training = replay.split == "train"
    assert np.bincount(replay.labels[training]).tolist() == [500, 475]  # all of the rarer class
    assert (~training).sum() == 30
    assert replay.features.shape == (1005, 4)
    assert len(set(replay.sha256[training])) == 975


def test_features_keep_their_labels_and_hashes(tmp_path: Path) -> None:
    source = embedded(40, "train")
    Replay.choose(source, embedded(8, "test")).save(tmp_path / "replay.npz")
    loaded = Replay.load(tmp_path / "replay.npz")
    by_hash = {p.sha256: (source.vectors[i, 0, 0], source.labels[i]) for i, p in enumerate(source.pictures)}
    for i in np.flatnonzero(loaded.split == "train"):
        assert (loaded.features[i, 0], loaded.labels[i]) == by_hash[str(loaded.sha256[i])]


def test_a_damaged_memory_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "replay.npz"
    with pytest.raises(VersionCorruptError):
        Replay.load(path)
    replay = Replay.choose(embedded(40, "train"), embedded(8, "test"))
    np.savez(path, **{**vars(replay), "labels": replay.labels[:-1]})
    with pytest.raises(VersionCorruptError, match="don't fit together"):
        Replay.load(path)
