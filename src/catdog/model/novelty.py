"""Novelty: how far an image is from the training images. It decides the verdict `neither`.

Novelty is the cosine distance of an image's features to the k-th nearest in a bank of training features, after
standardising each dimension (nearest neighbours on deep features: https://arxiv.org/abs/2204.06507). Measured on
features of 7,193 training photographs with k = 10: without standardising, pets photographed elsewhere are rejected;
Mahalanobis distance, softmax confidence and whitening do worse; k = 1 accepts twice as many other objects.
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
"""k. Above 1, a single odd training image doesn't make similar images familiar."""

BANK_SIZE: Final = 4000
COMPONENTS: Final = 256
SHRINKAGE: Final = 0.1
"""Share of the mean spread mixed into each dimension's spread, to keep near-constant dimensions from dominating."""

FAMILIAR_SHARE: Final = 0.9875
"""Share of held-out images that count as familiar; slightly above the documented 98 %."""

BANK_LIMIT: Final = 5000
"""Maximum training images in a bank that grows with retraining; the cost of a query is proportional."""

BLOCK: Final = 64
"""Images compared with the bank at once: a megabyte of similarities."""

NO_SPREAD: Final = 1e-5
"""Ratio of spread to mean up to which features count as identical; half precision rounds by a relative 5e-4."""

HALF_PRECISION: Final = 60_000.0

MIN_HELD_OUT: Final = 100
"""Minimum held-out images for a threshold from them alone."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class NoveltyReference:
    """Training features that novelty is measured against.

    Attributes:
        mean, projection: features `(D,)` become `(features - mean) @ projection`, standardised and projected `(P,)`;
            `projection` is `(D, P)`.
        bank: projected training features of unit length, `(M, P)`.
        neighbour: k, in [1, M].
        threshold: distance above which an image counts as novel, in [0, 2].
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
        """Return the novelty of an image, features `(D,)` -> [0, 1]; from 0.5 it counts as novel."""
        return self.score(float(self.distances(features[np.newaxis])[0]))

    def score(self, distance: float) -> float:
        """Map a distance to [0, 1] so that the threshold is at 0.5."""
        # NaN and infinity count as novel.
        return min(max(0.5 * distance / self.threshold, 0.0), 1.0) if math.isfinite(distance) else 1.0

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that `save` writes."""
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
        """Read a file written by `save`, without unpickling.

        Raises:
            VersionCorruptError: not such a file, or its arrays don't fit together.
        """
        names = {"mean": 1, "projection": 2, "bank": 2, "neighbour": 0, "threshold": 0}
        arrays = read_arrays(path, names, "novelty reference")
        try:
            return cls.from_arrays(arrays)
        except (ValueError, TypeError, OverflowError) as error:
            raise VersionCorruptError(f"Can't read the novelty reference {path}: {error}.") from error

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "NoveltyReference":
        """Create a reference from the arrays of `as_arrays`.

        Raises:
            ValueError: they don't fit together.
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
        training: features of training images `(N, D)`, at least 2.
        held_out: features of other images, `(M, D)`, whose distances set the threshold. If there are fewer than 100,
            distances between training images count too.
        seed: for choosing the bank.
        bank_size: maximum training images in the bank.

    Raises:
        ValueError: fewer than 2 training images.
    """
    if len(training) < 2:
        raise ValueError(f"Novelty needs at least 2 training images, got {len(training)}")
    training = training.astype(np.float32)
    mean, scale = _standardisation(training)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(training))[:bank_size]
    projection = _principal_components((training - mean) / scale) / scale[:, np.newaxis]
    # Scaling doesn't change angles; the arrays are stored in half precision, which ends at 65,504.
    projection /= max(1.0, float(np.abs(projection).max()) / HALF_PRECISION)
    bank = _unit((training[chosen] - mean) @ projection)
    # In a small bank the 10th neighbour would be far away.
    neighbour = max(1, min(NEIGHBOUR, len(bank) // 10))
    reference = NoveltyReference(mean, projection, bank, neighbour, 1.0)
    distances = reference.distances(held_out)
    if len(held_out) < MIN_HELD_OUT:
        distances = np.concatenate([distances, _distances_within(bank, neighbour)])
    threshold = max(float(np.quantile(distances, FAMILIAR_SHARE)), 1e-3)
    return NoveltyReference(mean, projection, bank, neighbour, threshold)


def extend_novelty(reference: NoveltyReference, added: NDArray[Any], *, seed: int = 42) -> NoveltyReference:
    """Add training images to a reference whose original features aren't available.

    Args:
        reference: the current reference.
        added: features of the new training images, `(N, D)`.
        seed: for choosing which images leave a bank above its limit.
    """
    # Mean, projection and threshold stay: estimates from a few new images would be noise.
    bank = np.concatenate([reference.bank, _unit((added.astype(np.float32) - reference.mean) @ reference.projection)])
    if len(bank) > BANK_LIMIT:
        bank = bank[np.sort(np.random.default_rng(seed).permutation(len(bank))[:BANK_LIMIT])]
    return replace(reference, bank=bank)


def _standardisation(training: Floats) -> tuple[Floats, Floats]:
    """Return the mean and the scale of features `(N, D)`, `(D,)` each; 0 and 1 if the features are identical."""
    mean, spread = training.mean(axis=0), training.std(axis=0)
    if spread.mean() <= NO_SPREAD * np.abs(mean).mean():
        return np.zeros_like(mean), np.ones_like(mean)
    return mean, (1 - SHRINKAGE) * spread + SHRINKAGE * spread.mean() + 1e-6


def _principal_components(standardised: Floats) -> Floats:
    """Return the principal components of features, `(D, P)`, unscaled."""
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
