"""Features of images, cached by SHA-256, backbone and view.

The backbone runs once per image and view, however often a model is trained or measured afterwards.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, select

from catdog.data.images.encoded import Limits
from catdog.data.images.pixels import decode_views, read_picture
from catdog.data.split import Picture
from catdog.errors import PictureBrokenError, PictureError
from catdog.features.backbone import Backbone
from catdog.parallel import bounded_map
from catdog.settings import Settings
from catdog.storage import database, tables
from catdog.storage.contention import why_no_database

FLUSH_EVERY: Final = 64
"""Images between writes; a killed process loses at most this many."""

READ_SECONDS: Final = 5.0
"""How long to wait for a locked database if the cache is optional."""

_CHUNK: Final = 500  # values per SQL statement; SQLite's limit is far higher

Vector = NDArray[np.float16]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Embedded:
    """Features of images: `vectors` `(N, V, D) float16`, `labels` `(N,) int64`, and the images.

    `failed` are images that became unusable after the scan, with reasons; they are in none of the arrays.
    """

    pictures: tuple[Picture, ...]
    vectors: Vector
    labels: NDArray[np.int64]
    failed: tuple[tuple[Picture, str], ...]
    computed: int


class FeatureCache:
    """The `features` table for one backbone."""

    def __init__(self, engine: Engine, backbone_id: str) -> None:
        self._engine = engine
        self._backbone = backbone_id

    def read(self, hashes: Sequence[str], view: int) -> dict[str, Vector]:
        """Return the cached features by hash, each `(D,) float16`."""
        table = tables.features
        found: dict[str, Vector] = {}
        with self._engine.connect() as connection:
            for start in range(0, len(hashes), _CHUNK):
                query = select(table.c.sha256, table.c.vector).where(
                    table.c.backbone == self._backbone,
                    table.c.view == view,
                    table.c.sha256.in_(hashes[start : start + _CHUNK]),
                )
                found.update((sha256, np.frombuffer(blob, "<f2")) for sha256, blob in connection.execute(query))
        return found

    def write(self, rows: Iterable[tuple[str, int, Vector]]) -> None:
        """Add `(hash, view, vector)` rows in one transaction, keeping existing rows."""
        fresh = {(sha256, view): vector for sha256, view, vector in rows}
        for view in {view for _, view in fresh}:
            for sha256 in self.read([s for s, v in fresh if v == view], view):
                del fresh[sha256, view]
        if fresh:
            with self._engine.begin() as connection:
                connection.execute(
                    database.insert_into(self._engine, tables.features).on_conflict_do_nothing(),
                    [
                        {
                            "backbone": self._backbone,
                            "view": view,
                            "sha256": sha256,
                            "vector": vector.astype("<f2").tobytes(),
                        }
                        # Processes that insert in the same order don't deadlock on PostgreSQL.
                        for (sha256, view), vector in sorted(fresh.items(), key=lambda row: row[0])
                    ],
                )


def read_if_possible(settings: Settings, backbone_id: str, hashes: Sequence[str]) -> dict[str, Vector] | None:
    """Return the cached features of view 0 by hash; None if the database is unavailable."""
    if not database.database_exists(settings):
        return {}
    try:
        engine = database.open_database(settings, lock_seconds=READ_SECONDS)
        try:
            return FeatureCache(engine, backbone_id).read(hashes, view=0)
        finally:
            engine.dispose()
    except Exception as error:
        if not isinstance(error, OSError) and why_no_database(error) is None:
            raise
        _log.warning("Can't read cached features: %s", database.driver_message(error))
        return None


def embed(
    pictures: Sequence[Picture],
    backbone: Backbone,
    cache: FeatureCache,
    *,
    views: int = 1,
    threads: int = 1,
    limits: Limits = Limits(),
    on_progress: Callable[[int, int], None] | None = None,
) -> Embedded:
    """Return the features of images, computing and caching those that are missing.

    Args:
        pictures: N images, whose files must not have changed since the scan.
        backbone: computes missing features.
        cache: of the same backbone.
        views: V; view 0 is the image itself, 1 to V - 1 are augmented (see `pixels.decode_views`).
        threads: images processed at once.
        limits: of decoding.
        on_progress: called with (images computed, images to compute).
    """
    cached = [cache.read([p.sha256 for p in pictures], view) for view in range(views)]
    missing = [p for p in pictures if any(p.sha256 not in known for known in cached)]
    failures: dict[str, str] = {}
    fresh: list[tuple[str, int, Vector]] = []
    computed = _compute(missing, cached, backbone, threads, limits)
    try:
        for done, (picture, outcome) in enumerate(computed, 1):
            if isinstance(outcome, str):
                failures[picture.sha256] = outcome
            else:
                fresh.extend((picture.sha256, view, vector) for view, vector in outcome)
                for view, vector in outcome:
                    cached[view][picture.sha256] = vector
            if done % FLUSH_EVERY == 0:
                cache.write(fresh)
                fresh.clear()
            if on_progress:
                on_progress(done, len(missing))
    finally:  # keeps what was computed before Ctrl-C
        cache.write(fresh)
    kept = tuple(p for p in pictures if p.sha256 not in failures)
    vectors = np.array([[known[p.sha256] for known in cached] for p in kept], np.float16)
    return Embedded(
        kept,
        vectors.reshape(len(kept), views, -1) if kept else np.empty((0, views, backbone.info.features), np.float16),
        np.array([p.label for p in kept], np.int64),
        tuple((p, failures[p.sha256]) for p in pictures if p.sha256 in failures),
        len(missing),
    )


def read_embedded(pictures: Sequence[Picture], cache: FeatureCache) -> Embedded:
    """Return the cached features of view 0, without images that have none; needs no backbone."""
    known = cache.read([picture.sha256 for picture in pictures], view=0)
    kept = tuple(picture for picture in pictures if picture.sha256 in known)
    return Embedded(
        kept,
        np.array([[known[picture.sha256]] for picture in kept], np.float16)
        if kept
        else np.empty((0, 1, 0), np.float16),
        np.array([picture.label for picture in kept], np.int64),
        failed=(),
        computed=0,
    )


Outcome = list[tuple[int, Vector]] | str


def _compute(
    pictures: Sequence[Picture],
    cached: Sequence[dict[str, Vector]],
    backbone: Backbone,
    threads: int,
    limits: Limits,
) -> Iterator[tuple[Picture, Outcome]]:
    def one(picture: Picture) -> tuple[Picture, Outcome]:
        wanted = [view for view, known in enumerate(cached) if picture.sha256 not in known]
        try:
            data = read_picture(picture.path, None)
            if hashlib.sha256(data).hexdigest() != picture.sha256:
                raise PictureBrokenError("The file changed after it was scanned; run again.")
            squares = decode_views(data, wanted, backbone.info.image_size, limits)
        except PictureError as error:
            return picture, str(error)
        return picture, [(v, backbone.features(s).astype(np.float16)) for v, s in zip(wanted, squares, strict=True)]

    # One more thread than streams keeps the cores busy while a thread waits for the interpreter lock.
    return bounded_map(one, pictures, threads + 1)
