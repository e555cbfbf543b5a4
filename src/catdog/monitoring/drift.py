"""Whether what is asked for is still like what a version was measured on.

Answers of the last hours are compared with the version's own on its test images: confidence, novelty, and the first
16 projections of the features, each by the two-sample Kolmogorov-Smirnov test. The score is the largest of their
distances. The reference is taken in the same mix of answered classes, so that more cats than usual are no drift.
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
"""Fewest answers that are compared: fewer would show gross shifts only."""

SMALLEST_REFERENCE: Final = 30
"""Fewest test images."""

SIGNIFICANCE: Final = 0.001
"""Of all tests together (Bonferroni): once a minute is often."""

PERIOD_SECONDS: Final = 60
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Observed:
    """Of N answers: columns `(N, 2 + 16)` confidence, novelty, projections; the answered class of each `(N,)`."""

    columns: Floats
    class_ids: NDArray[np.int64]


@dataclass(frozen=True)
class Drift:
    """How far the answers of the last hours are from the reference.

    `score` in [0, 1] is the largest Kolmogorov-Smirnov distance, of what `measure` names; `p_value` the chance of one
    as large without drift; `n` how many answers were compared, `at` when (UTC, ISO 8601); `warning` whether the score
    is over the threshold and not by chance.
    """

    version: int
    at: str
    n: int
    score: float
    p_value: float
    measure: str
    warning: bool


def position(novelty: NoveltyReference, features: NDArray[Any]) -> NDArray[np.float32]:
    """Map features `(D,)` or `(N, D)` to their first 16 projections; fewer where the reference has fewer."""
    centred = features.astype(np.float32) - novelty.mean
    return np.asarray(centred @ novelty.projection[:, :PROJECTIONS], np.float32)


def observe(features: NDArray[Any], head: Head, novelty: NoveltyReference) -> Observed:
    """Answer for images whose features `(N, D)` are known, as `Predictor` does."""
    probabilities = head.probabilities(features)
    novel = np.array([novelty.score(float(distance)) for distance in novelty.distances(features)])
    columns = np.column_stack([probabilities.max(axis=1), novel, position(novelty, features)])
    return Observed(columns.astype(np.float64), probabilities.argmax(axis=1))


def reference_of(version: ModelVersion) -> Observed | None:
    """Return what a version answers for its test images; None where it kept too few."""
    try:
        replay = version.replay()
    except VersionCorruptError:  # measuring drift never stops a server
        return None
    tested = replay.select("test").features if replay else None
    if tested is None or len(tested) < SMALLEST_REFERENCE:
        return None
    return observe(tested, version.load_head(), version.load_novelty())


def observed_of(samples: list[Sample]) -> Observed:
    """Bring samples into the form of a reference."""
    columns = [[s.confidence, s.novelty, *np.frombuffer(s.position, "<f4")] for s in samples]
    return Observed(np.array(columns, np.float64), np.array([s.class_id for s in samples], np.int64))


def compare(reference: Observed, recent: Observed) -> tuple[float, float, str] | None:
    """Return score, p-value and the name of what differs most; None where too little can be compared."""
    mixed = _in_the_mix_of(recent, reference)
    # Where there are too few test images of a class for that, the mix of classes is part of the drift.
    reference = mixed if len(mixed.columns) >= SMALLEST_REFERENCE else reference
    if len(reference.columns) < SMALLEST_REFERENCE or len(recent.columns) < SMALLEST:
        return None
    pairs = zip(reference.columns.T, recent.columns.T, strict=True)
    distances = [kolmogorov_smirnov(old, new) for old, new in pairs]
    largest = int(np.argmax(distances))
    p_value = min(1.0, chance_of(distances[largest], len(reference.columns), len(recent.columns)) * len(distances))
    names = ("confidence", "novelty", *(f"features {i + 1}" for i in range(len(distances) - 2)))
    return distances[largest], p_value, names[largest]


def kolmogorov_smirnov(one: Floats, other: Floats) -> float:
    """Return the distance of two samples `(N,)` and `(M,)`, in [0, 1]: the largest between their shares up to a value."""
    values = np.concatenate([one, other])
    shares = [np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def chance_of(distance: float, first: int, second: int) -> float:
    """Return how likely two samples of these sizes from one distribution are as far apart.

    Kolmogorov's limit with Stephens' correction for small samples (https://www.jstor.org/stable/2984408), within some
    per cent of `scipy.stats.ks_2samp`. Importing `scipy.stats` would take 40 MB of every process that measures.
    """
    root = (first * second / (first + second)) ** 0.5
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.2:  # 1 to 12 digits, and the series would need many terms
        return 1.0
    return 2 * sum((1 if k % 2 else -1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 20))


def _in_the_mix_of(recent: Observed, reference: Observed) -> Observed:
    """Leave out of the reference what is too much of a class; it stands in the order of hashes, as good as chance."""
    classes, counts = np.unique(recent.class_ids, return_counts=True)
    members = [np.flatnonzero(reference.class_ids == class_id) for class_id in classes]
    times = min((len(found) / count for found, count in zip(members, counts, strict=True)), default=0.0)
    kept = [found[: int(times * count)] for found, count in zip(members, counts, strict=True)]
    chosen = np.concatenate(kept) if kept else np.empty(0, np.int64)
    return Observed(reference.columns[chosen], reference.class_ids[chosen])


class DriftWatch:
    """Measures drift about once a minute, in one of the processes that share a database; the others read it."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._reference: tuple[int, Observed | None] | None = None

    def measure(self, engine: Engine, version: ModelVersion) -> None:
        """Compare and record, if it is time and no other process does."""
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
        """Return what was measured last for a version; None where there was too little to compare."""
        table = tables.drift
        with engine.connect() as connection:
            row = connection.execute(select(table).where(table.c.version == version)).one_or_none()
        if row is None or row.score is None:
            return None
        at = datetime.fromtimestamp(row.at, UTC).isoformat(timespec="seconds")
        warning = row.score >= self._threshold and row.p_value < SIGNIFICANCE
        return Drift(version, at, row.n, round(row.score, 4), row.p_value, row.measure, warning)


def _claim(engine: Engine, version: int, now: float) -> bool:
    """Take it on to measure now; False where it is too early or another process was quicker."""
    table = tables.drift
    due = update(table).where(table.c.version == version, table.c.claimed_at <= now - PERIOD_SECONDS)
    with engine.connect() as connection:  # most of the time nothing is to be written
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
