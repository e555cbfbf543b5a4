"""Input drift: whether recent images still resemble a version's test images.

Recent predictions are compared with those on the test images by confidence, novelty and the first 16 projections of the
features, each with a two-sample Kolmogorov-Smirnov test. The score is the largest distance. The reference has the same
proportions of predicted classes, so more cats than usual aren't drift.
"""

import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, insert, select, update
from sqlalchemy.exc import IntegrityError

from catdog.errors import VersionCorruptError
from catdog.model.head import Head
from catdog.model.novelty import NoveltyReference
from catdog.monitoring import samples as sampling
from catdog.monitoring.samples import Sample
from catdog.registry.store import ModelVersion
from catdog.storage import tables

PROJECTIONS: Final = 16
HOURS: Final = 6
SMALLEST: Final = 50
"""Minimum recent predictions; fewer would only show gross shifts."""

SMALLEST_REFERENCE: Final = 30
"""Minimum test images."""

SIGNIFICANCE: Final = 0.001
"""Level of all tests together (Bonferroni); low, as they run every minute."""

PERIOD_SECONDS: Final = 60
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Observed:
    """N predictions: columns `(N, 2 + 16)` with confidence, novelty and projections; predicted classes `(N,)`."""

    columns: Floats
    class_ids: NDArray[np.int64]


@dataclass(frozen=True)
class Drift:
    """The drift of recent predictions from the reference.

    Attributes:
        at: time of the measurement (UTC, ISO 8601).
        n: number of recent predictions.
        score: largest Kolmogorov-Smirnov distance, in [0, 1].
        p_value: probability of such a distance without drift.
        measure: column with that distance.
        warning: whether the score reaches the threshold and is significant.
    """

    version: int
    at: str
    n: int
    score: float
    p_value: float
    measure: str
    warning: bool


def position(novelty: NoveltyReference, features: NDArray[Any]) -> NDArray[np.float32]:
    """Map features `(D,)` or `(N, D)` to their first 16 projections, or fewer if the reference has fewer."""
    centred = features.astype(np.float32) - novelty.mean
    return np.asarray(centred @ novelty.projection[:, :PROJECTIONS], np.float32)


def observe(features: NDArray[Any], head: Head, novelty: NoveltyReference) -> Observed:
    """Predict images from their features `(N, D)`, as `Predictor` does."""
    probabilities = head.probabilities(features)
    novel = np.array([novelty.score(float(distance)) for distance in novelty.distances(features)])
    columns = np.column_stack([probabilities.max(axis=1), novel, position(novelty, features)])
    return Observed(columns.astype(np.float64), probabilities.argmax(axis=1))


def reference_of(version: ModelVersion) -> Observed | None:
    """Return a version's predictions for its test images; None if it kept too few."""
    try:
        replay = version.replay()
    except VersionCorruptError:  # measuring drift must not stop the server
        return None
    tested = replay.select("test").features if replay else None
    if tested is None or len(tested) < SMALLEST_REFERENCE:
        return None
    return observe(tested, version.load_head(), version.load_novelty())


def observed_of(samples: list[Sample]) -> Observed:
    """Convert samples to the form of a reference."""
    columns = [[s.confidence, s.novelty, *np.frombuffer(s.position, "<f4")] for s in samples]
    return Observed(np.array(columns, np.float64), np.array([s.class_id for s in samples], np.int64))


def compare(reference: Observed, recent: Observed) -> tuple[float, float, str] | None:
    """Return the score, its p-value and its measure; None if there are too few predictions."""
    matched = _match_proportions(reference, recent)
    # With too few test images of a class, different proportions count as drift.
    reference = matched if len(matched.columns) >= SMALLEST_REFERENCE else reference
    if len(reference.columns) < SMALLEST_REFERENCE or len(recent.columns) < SMALLEST:
        return None
    pairs = zip(reference.columns.T, recent.columns.T, strict=True)
    distances = [kolmogorov_smirnov(old, new) for old, new in pairs]
    largest = int(np.argmax(distances))
    p_value = min(1.0, chance_of(distances[largest], len(reference.columns), len(recent.columns)) * len(distances))
    names = ("confidence", "novelty", *(f"features {i + 1}" for i in range(len(distances) - 2)))
    return distances[largest], p_value, names[largest]


def kolmogorov_smirnov(one: Floats, other: Floats) -> float:
    """Return the distance of two samples `(N,)` and `(M,)`: the largest difference of their distribution functions."""
    values = np.concatenate([one, other])
    shares = [np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def chance_of(distance: float, first: int, second: int) -> float:
    """Return the probability of such a distance between two samples of one distribution.

    Kolmogorov's limit with Stephens' correction for small samples (https://www.jstor.org/stable/2984408), within a few
    percent of `scipy.stats.ks_2samp`; importing `scipy.stats` would take 40 MB per process.
    """
    root = (first * second / (first + second)) ** 0.5
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.2:  # 1 to 12 digits; the series would need many terms
        return 1.0
    return 2 * sum((1 if k % 2 else -1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 20))


def _match_proportions(reference: Observed, recent: Observed) -> Observed:
    """Return a subset of the reference with the class proportions of recent predictions."""
    # The reference is in the order of hashes, so its first members are a random choice.
    classes, counts = np.unique(recent.class_ids, return_counts=True)
    members = [np.flatnonzero(reference.class_ids == class_id) for class_id in classes]
    times = min((len(found) / count for found, count in zip(members, counts, strict=True)), default=0.0)
    kept = [found[: int(times * count)] for found, count in zip(members, counts, strict=True)]
    chosen = np.concatenate(kept) if kept else np.empty(0, np.int64)
    return Observed(reference.columns[chosen], reference.class_ids[chosen])


class DriftWatch:
    """Measures drift about once a minute, in one of the processes that share a database."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._reference: tuple[int, Observed | None] | None = None

    def measure(self, engine: Engine, version: ModelVersion) -> None:
        """Measure and record drift, if it is due and no other process does so."""
        if not _claim(engine, version.number, time.time()):
            return
        if self._reference is None or self._reference[0] != version.number:
            self._reference = version.number, reference_of(version)
        reference = self._reference[1]
        with engine.connect() as connection:
            samples = sampling.read(connection, version.number, int(time.time() // 3600) - HOURS + 1)
        found = compare(reference, observed_of(samples)) if reference and len(samples) >= SMALLEST else None
        score, p_value, measure = found or (None, None, "")
        table = tables.drift
        with engine.begin() as connection:
            connection.execute(
                update(table)
                .where(table.c.version == version.number)
                .values(at=int(time.time()), n=len(samples), score=score, p_value=p_value, measure=measure)
            )

    def read(self, engine: Engine, version: int) -> Drift | None:
        """Return the last measured drift of a version; None if there were too few predictions."""
        table = tables.drift
        with engine.connect() as connection:
            row = connection.execute(select(table).where(table.c.version == version)).one_or_none()
        if row is None or row.score is None:
            return None
        at = datetime.fromtimestamp(row.at, UTC).isoformat(timespec="seconds")
        warning = row.score >= self._threshold and row.p_value < SIGNIFICANCE
        return Drift(version, at, row.n, round(row.score, 4), row.p_value, row.measure, warning)


def _claim(engine: Engine, version: int, now: float) -> bool:
    """Claim the next measurement; return False if it isn't due or another process claimed it."""
    table = tables.drift
    due = update(table).where(table.c.version == version, table.c.claimed_at <= now - PERIOD_SECONDS)
    with engine.connect() as connection:  # usually there is nothing to write
        last = connection.execute(select(table.c.claimed_at).where(table.c.version == version)).scalar()
    if last is not None and last > now - PERIOD_SECONDS:
        return False
    try:
        with engine.begin() as connection:
            if last is None:
                connection.execute(insert(table).values(version=version, claimed_at=int(now), at=0, n=0, measure=""))
                return True
            return connection.execute(due.values(claimed_at=int(now))).rowcount == 1
    except IntegrityError:
        return False
