"""Versions of a few kilobytes, for tests of the store."""

from pathlib import Path

import numpy as np

from catdog.model.head import Head
from catdog.model.novelty import NoveltyReference
from catdog.registry.store import ModelStore

METADATA = {"classes": ["cats", "dogs"], "backbone": "none", "metrics": {"accuracy": 1.0, "n": 1}}


def write_head(folder: Path) -> None:
    """Write what a version of `METADATA` needs."""
    zeros = np.zeros
    Head(zeros((4, 3), "f4"), zeros(3, "f4"), zeros((3, 2), "f4"), zeros(2, "f4")).save(folder / "head.npz")
    ones = np.ones
    NoveltyReference(zeros(4, "f4"), ones((4, 2), "f4"), ones((5, 2), "f4"), 1, 0.5).save(folder / "novelty.npz")


def save(store: ModelStore, count: int = 1) -> None:
    """Save some versions."""
    for _ in range(count):
        store.save(METADATA, write_head)
