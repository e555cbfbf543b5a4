"""How far a picture is from everything seen: what lets the classifier answer "neither".

The novelty of a picture is the cosine distance of its features to the k-th nearest of a bank of training features,
each dimension standardised first (nearest neighbours on deep features: https://arxiv.org/abs/2204.06507). Measured on
features of 7,193 training photographs, k = 10: without standardising, pets photographed elsewhere are turned away;
Mahalanobis distance, softmax confidence and whitening do badly; k = 1 accepts twice as many other things.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catdog.data.arrays import as_float32, read_arrays
from catdog.errors import VersionCorruptError

NEIGHBOUR: Final = 10
"""k: one odd picture in the training data does not make its like familiar."""

BANK_SIZE: Final = 4000
COMPONENTS: Final = 256
SHRINKAGE: Final = 0.1
"""Share of the mean spread that is mixed into each dimension's, so that near-constant ones do not dominate."""

ANSWERED_SHARE: Final = 0.9875
"""Share of held-out pictures that are to count as familiar; a little over the 98 % that are promised."""

BANK_LIMIT: Final = 5000
"""Most training pictures in a bank that grew with retraining; a query costs in proportion."""

BLOCK: Final = 64
"""Pictures whose similarities to all of the bank, a megabyte for 64, are held at once."""

NO_SPREAD: Final = 1e-5
"""Spread by mean of features up to which images are alike: features in half precision are rounded by 5e-4 of each."""

HALF_PRECISION: Final = 60_000.0

MIN_HELD_OUT: Final = 100
"""Fewest held-out pictures whose quantile is trusted alone."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class NoveltyReference:
    """What novelty is measured against.

    Attributes:
        mean, projection: features `(D,)` become `(features - mean) @ projection`, standardised and projected `(P,)`;
            `projection` is `(D, P)`.
        bank: projected training features of unit length, `(M, P)`.
        neighbour: k, in [1, M].
        threshold: distance over which a picture counts as novel, in [0, 2].
    """

    mean: Floats
    projection: Floats
    bank: Floats
    neighbour: int
    threshold: float

    def distances(self, features: NDArray[Any]) -> Floats:
        """Map features `(N, D)` to cosine distances to the k-th nearest of the bank, `(N,)` in [0, 2]."""
        nth = len(self.bank) - self.neighbour
        result = np.empty(len(features), np.float32)
        for start in range(0, len(features), BLOCK):
            block = slice(start, start + BLOCK)
            similarity = _unit((features[block].astype(np.float32) - self.mean) @ self.projection) @ self.bank.T
            similarity.partition(nth, axis=1)
            result[block] = 1 - similarity[:, nth]
        return result

    def novelty(self, features: NDArray[Any]) -> float:
        """Say how novel one picture is, features `(D,)` -> [0, 1]: under 0.5 familiar, from 0.5 on novel."""
        return self.score(float(self.distances(features[np.newaxis])[0]))

    def score(self, distance: float) -> float:
        """Map a distance to [0, 1] so that the threshold is at 0.5."""
        # What is no number is like nothing that was seen.
        return min(max(0.5 * distance / self.threshold, 0.0), 1.0) if math.isfinite(distance) else 1.0

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """Give what `save` writes."""
        return {
            "mean": self.mean,
            "projection": self.projection.astype(np.float16),
            "bank": self.bank.astype(np.float16),
            "neighbour": np.array(self.neighbour),
            "threshold": np.array(self.threshold),
        }

    def save(self, path: Path) -> None:
        """Write the reference to an `.npz` file, in half precision."""
        np.savez(path, allow_pickle=False, **self.as_arrays())

    @classmethod
    def load(cls, path: Path) -> "NoveltyReference":
        """Read what `save` wrote; nothing is unpickled.

        Raises:
            VersionCorruptError: not such a file, or its arrays do not fit together.
        """
        names = {"mean": 1, "projection": 2, "bank": 2, "neighbour": 0, "threshold": 0}
        arrays = read_arrays(path, names, "novelty reference")
        try:
            return cls.from_arrays(arrays)
        except (ValueError, TypeError, OverflowError) as error:
            raise VersionCorruptError(f"The novelty reference cannot be read: {error} ({path}).") from error

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "NoveltyReference":
        """Make a reference of the arrays that `as_arrays` gives.

        Raises:
            ValueError: they do not fit together.
        """
        mean, projection, bank = (as_float32(arrays[name]) for name in ("mean", "projection", "bank"))
        neighbour, threshold = int(arrays["neighbour"]), float(arrays["threshold"])
        if mean.shape != projection.shape[:1] or projection.shape[1:] != bank.shape[1:] or not 0 < threshold < np.inf:
            raise ValueError(f"shapes {mean.shape}, {projection.shape}, {bank.shape}, threshold {threshold}")
        if not 1 <= neighbour <= len(bank):
            raise ValueError(f"neighbour {neighbour} of a bank of {len(bank)}")
        return cls(mean, projection, bank, neighbour, threshold)


def fit_novelty(
    training: NDArray[Any], held_out: NDArray[Any], *, seed: int = 42, bank_size: int = BANK_SIZE
) -> NoveltyReference:
    """Build the reference of a data set.

    Args:
        training: features of training pictures `(N, D)`, at least 2.
        held_out: features of pictures used neither for fitting nor here, `(M, D)`; their distances set the threshold.
            Under 100 of them, the training pictures' distances to each other count too.
        seed: of the choice of the bank.
        bank_size: most training pictures kept.

    Raises:
        ValueError: fewer than 2 training pictures.
    """
    if len(training) < 2:
        raise ValueError(f"At least 2 training pictures are needed. Received: {len(training)}")
    training = training.astype(np.float32)
    mean, scale = _standardisation(training)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(training))[:bank_size]
    projection = _principal_components((training - mean) / scale) / scale[:, np.newaxis]
    # Angles are the same at any size, and half precision, in which it's kept, ends at 65,504.
    projection /= max(1.0, float(np.abs(projection).max()) / HALF_PRECISION)
    bank = _unit((training[chosen] - mean) @ projection)
    # Small data: the k-th neighbour must not be the far end of the bank.
    neighbour = max(1, min(NEIGHBOUR, len(bank) // 10))
    reference = NoveltyReference(mean, projection, bank, neighbour, 1.0)
    distances = reference.distances(held_out)
    if len(held_out) < MIN_HELD_OUT:
        distances = np.concatenate([distances, _distances_within(bank, neighbour)])
    threshold = max(float(np.quantile(distances, ANSWERED_SHARE)), 1e-3)
    return NoveltyReference(mean, projection, bank, neighbour, threshold)


def extend_novelty(reference: NoveltyReference, added: NDArray[Any], *, seed: int = 42) -> NoveltyReference:
    """Make what is in further training pictures familiar too, where the features behind a reference are not at hand.

    They join the bank as it projects them. Mean, projection and threshold stay: these belong to the pictures that the
    reference was built of, which a few new ones do not change; a threshold taken from those few would follow chance.

    Args:
        reference: what novelty was measured against so far.
        added: features of the new training pictures, `(N, D)`.
        seed: of the choice of what leaves a bank that is over its limit.
    """
    bank = np.concatenate([reference.bank, _unit((added.astype(np.float32) - reference.mean) @ reference.projection)])
    if len(bank) > BANK_LIMIT:
        bank = bank[np.sort(np.random.default_rng(seed).permutation(len(bank))[:BANK_LIMIT])]
    return replace(reference, bank=bank)


def _standardisation(training: Floats) -> tuple[Floats, Floats]:
    """Return what to subtract from features `(N, D)` and to divide them by, `(D,)` each.

    Images that are all alike have no spread to divide by, only rounding: their features stay as they are.
    """
    mean, spread = training.mean(axis=0), training.std(axis=0)
    if spread.mean() <= NO_SPREAD * np.abs(mean).mean():
        return np.zeros_like(mean), np.ones_like(mean)
    return mean, (1 - SHRINKAGE) * spread + SHRINKAGE * spread.mean() + 1e-6


def _principal_components(standardised: Floats) -> Floats:
    """Give the directions of largest spread, `(D, P)`, not scaled: projecting keeps what tells pictures apart."""
    covariance = standardised.T @ standardised / len(standardised)
    _, vectors = np.linalg.eigh(covariance)
    components: Floats = np.ascontiguousarray(vectors[:, ::-1][:, :COMPONENTS]).astype(np.float32)
    return components


def _distances_within(bank: Floats, neighbour: int) -> Floats:
    similarity = bank @ bank.T
    np.fill_diagonal(similarity, -1)
    nth = len(bank) - neighbour
    result: Floats = 1 - np.partition(similarity, nth, axis=1)[:, nth]
    return result


def _unit(vectors: NDArray[Any]) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    result: Floats = (vectors / np.maximum(lengths, 1e-6)).astype(np.float32)
    return result
