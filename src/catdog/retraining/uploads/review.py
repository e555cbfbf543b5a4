"""Reviews the images for retraining: finds label issues and near-duplicates of test images.

Label issues are found by confident learning (https://arxiv.org/abs/1911.00068) on out-of-sample probabilities of a
linear probe that saw neither the image nor its batch; the champion may have been trained on wrong labels. Share of
labels flagged, in percent, as a range over ten draws, for batches of new photographs with some labels flipped:

    flipped          0        10         30         50
    20 images      0   0 to 10   15 to 30   35 to 50
    100 images     0   9 to 11   29 to 32   47 to 50
    500 images     0  10 to 10   30 to 31   49 to 51
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from catdog.data.split import Picture
from catdog.errors import VersionCorruptError
from catdog.evaluation.label_check import find_label_issues, out_of_sample
from catdog.features.embedding import FeatureCache, embed
from catdog.features.replay import Replay
from catdog.prediction.predictor import Predictor
from catdog.retraining.uploads.storage import DOUBTED, MISSING, NEAR_COPY, Upload
from catdog.retraining.uploads.uploads import Uploads
from catdog.storage import tables
from catdog.storage.files import read_json, write_json

QUARANTINE_SHARE: Final = 0.15
"""Share of flagged labels from which a batch is excluded; reached between 10 and 30 % flipped, see above."""

MIN_DOUBTED: Final = 3
"""Minimum number of such labels, as two of ten may be chance."""

NEAR_SHARE: Final = 0.5
NEAR_QUANTILE: Final = 0.05
"""The threshold for near-duplicates is half the 5 % quantile of distances between nearest test images: a cosine
distance of 0.112 for the bundled model. Of copies of 197 test photographs it finds all re-encoded as JPEG of quality 95
(distance at most 0.013) and nine in ten cropped by 5 % per side or mirrored, but few at half size. None of 1,000
training photographs is nearer to a test photograph than 0.133."""

MAX_PAIRS: Final = 1000
_BLOCK: Final = 512  # images compared with all others at a time, to bound memory

FILE: Final = "review.json"
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Judged:
    """Active images and the findings about each, `(N,)`; `quality` is the probe's probability of the label."""

    uploads: Sequence[Upload]
    near_copy: NDArray[np.bool_]
    doubted: NDArray[np.bool_]
    quality: Floats


def review(uploads: Uploads, *, on_progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Review all active images, mark those to leave out of training, and store the findings.

    Args:
        uploads: the images; missing features are computed.
        on_progress: called with (images computed, images to compute).

    Returns:
        The findings, as in `report` under `review`.

    Raises:
        StoreError: there is no champion, or it is damaged.
    """
    predictor = Predictor(settings=uploads.settings)
    digest = _digest(uploads, predictor.version.number)
    active, features = _features(uploads, predictor, on_progress)
    memory = _memory(uploads, predictor)
    test, base = memory.features[memory.split == "test"], memory.split == "train"
    labels = np.array([predictor.version.classes.index(upload.folder) for upload in active], np.int64)
    near = find_near_copies(features, test)
    groups = [upload.batch for upload in active]
    doubted, quality = find_doubted(features, labels, groups, memory.features[base], memory.labels[base])
    unchecked = np.array([not upload.checked for upload in active], bool)
    judged = Judged(active, near, doubted & unchecked & ~near, quality)
    batches = _batches(judged)
    quarantined = {row["batch"] for row in batches if row["verdict"] == "quarantined"}
    uploads.record_review(_values(judged, features, predictor, quarantined))
    findings = _findings(judged, find_pairs(features, near_threshold(test)), batches, digest)
    write_json(uploads.storage.root / FILE, findings)
    return findings


def report(uploads: Uploads) -> dict[str, Any]:
    """Return current counts by class, state, batch and uploader, with the last review; ready for JSON.

    `review` is None before the first one; its `is_current` is False if images or champion changed since.
    """
    findings = read_json(uploads.storage.root / FILE)
    if findings is not None:
        current = _digest(uploads, uploads.champion)
        findings["is_current"] = findings.pop("digest", None) == current
    return {
        "counts": uploads.counts(),
        "batches": _shares(uploads, "batch"),
        "uploaders": _shares(uploads, "uploader"),
        "review": findings,
    }


def find_near_copies(features: NDArray[Any], test: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which images, features `(N, D)`, are near-duplicates of test images `(T, D)`: `(N,)`."""
    if not len(features) or len(test) < 2:
        return np.zeros(len(features), bool)
    unit, others, least = _unit(features), _unit(test), 1 - near_threshold(test)
    return np.concatenate([(unit[i : i + _BLOCK] @ others.T).max(axis=1) > least for i in range(0, len(unit), _BLOCK)])


def near_threshold(test: NDArray[Any]) -> float:
    """Return the cosine distance below which an image counts as a copy of a test image."""
    if len(test) < 2:
        return 0.0
    unit = _unit(test)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -1)
    return NEAR_SHARE * float(np.quantile(1 - similarity.max(axis=1), NEAR_QUANTILE))


def find_pairs(features: NDArray[Any], threshold: float) -> list[tuple[int, int]]:
    """List at most `MAX_PAIRS` pairs of images, features `(N, D)`, that are nearer than `threshold`."""
    unit, pairs = _unit(features), []
    for start in range(0, len(unit), _BLOCK):
        near = 1 - unit[start : start + _BLOCK] @ unit.T < threshold
        pairs += [(start + i, j) for i, j in np.argwhere(near).tolist() if start + i < j]
        if len(pairs) >= MAX_PAIRS:
            break
    return pairs[:MAX_PAIRS]


def find_doubted(
    features: NDArray[Any],
    labels: NDArray[np.int64],
    batches: Sequence[str],
    base: NDArray[Any],
    base_labels: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], Floats]:
    """Return which labels look wrong.

    Args:
        features, labels, batches: of N images, `(N, D)`, `(N,)` and N names.
        base, base_labels: of M images of the model's own data, `(M, D)` and `(M,)`, some of each class.

    Returns:
        Whether each label looks wrong, `(N,)`, and its probability, `(N,)` in [0, 1].
    """
    if not len(features):
        return np.zeros(0, bool), np.zeros(0, np.float32)
    names = {name: len(base) + number for number, name in enumerate(dict.fromkeys(batches))}
    groups = np.concatenate([np.arange(len(base)), [names[batch] for batch in batches]])
    given = np.concatenate([base_labels, labels])
    probabilities = out_of_sample(_unit(np.concatenate([base, features])), given, groups)
    issues = find_label_issues(given, probabilities)[len(base) :]
    quality = probabilities[np.arange(len(given)), given][len(base) :]
    return issues, quality.astype(np.float32)


def _features(
    uploads: Uploads, predictor: Predictor, on_progress: Callable[[int, int], None] | None
) -> tuple[list[Upload], NDArray[np.float16]]:
    table, classes = tables.uploads, predictor.version.classes
    active = uploads.storage.find(table.c.state == "active", table.c.folder.in_(classes))
    found = [upload for upload in active if upload.problem != MISSING]
    by_hash = {upload.sha256: upload for upload in found}
    embedded = embed(
        [Picture(p.path, p.sha256, classes.index(p.folder), "train") for p in found],
        predictor.backbone,
        FeatureCache(uploads.storage.engine, predictor.backbone.info.id),
        threads=predictor.threads,
        limits=predictor.limits,
        on_progress=on_progress,
    )
    return [by_hash[image.sha256] for image in embedded.pictures], embedded.vectors[:, 0]


def _memory(uploads: Uploads, predictor: Predictor) -> Replay:
    """Read the champion's replay memory without current uploads, which must not confirm themselves."""
    replay = predictor.version.replay()
    if replay is None:
        raise VersionCorruptError(f"Version {predictor.version.number} has no replay memory, which the review needs.")
    return replay.rows(~np.isin(replay.sha256, [upload.sha256 for upload in uploads.storage.find()]))


def _batches(judged: Judged) -> list[dict[str, Any]]:
    """Return a verdict per batch: `quarantined` if too many labels of unchecked images look wrong."""
    unchecked = Counter(upload.batch for upload in judged.uploads if not upload.checked)
    doubted = Counter(upload.batch for upload, bad in zip(judged.uploads, judged.doubted, strict=True) if bad)
    rows: list[dict[str, Any]] = []
    for batch, count in sorted(unchecked.items()):
        bad = doubted[batch]
        out = bad >= MIN_DOUBTED and bad / count >= QUARANTINE_SHARE
        verdict = "quarantined" if out else "fine"
        share = round(bad / count, 4)
        rows.append({"batch": batch, "unchecked": count, "doubted": bad, "share": share, "verdict": verdict})
    return rows


def _values(
    judged: Judged, features: NDArray[np.float16], predictor: Predictor, quarantined: set[str]
) -> dict[int, dict[str, Any]]:
    """Return new values for the row of each image: its problem and the champion's prediction."""
    values = {}
    for upload, vector, near in zip(judged.uploads, features, judged.near_copy, strict=True):
        prediction = predictor.answer(vector.astype(np.float32))
        doubted = DOUBTED if upload.batch in quarantined and not upload.checked else None
        values[upload.id] = {
            "problem": NEAR_COPY if near else doubted,
            "predicted": predictor.version.classes[prediction.class_id],
            "verdict": prediction.verdict,
            "confidence": prediction.confidence,
            "novelty": prediction.novelty,
            "model_version": prediction.model_version,
        }
    return values


def _findings(
    judged: Judged, pairs: list[tuple[int, int]], batches: list[dict[str, Any]], digest: str
) -> dict[str, Any]:
    ids = np.array([upload.id for upload in judged.uploads], np.int64)
    worst_first = np.argsort(judged.quality, kind="stable")
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "digest": digest,
        "pictures": len(ids),
        "near_copies": ids[judged.near_copy].tolist(),
        "alike": [[int(ids[i]), int(ids[j])] for i, j in pairs],
        "doubted": [
            {"id": int(ids[i]), "quality": round(float(judged.quality[i]), 4)} for i in worst_first if judged.doubted[i]
        ],
        "batches": batches,
    }


def _shares(uploads: Uploads, column: str) -> list[dict[str, Any]]:
    """Count the images that aren't removed by batch or uploader, largest first, with their share."""
    table = tables.uploads
    key = table.c[column]
    query = select(key, func.count(), func.min(table.c.created_at)).where(table.c.state != "removed").group_by(key)
    with uploads.storage.engine.connect() as connection:
        rows = sorted(connection.execute(query), key=lambda row: (-row[1], row[0]))
    total = sum(row[1] for row in rows)
    return [
        {column: name, "pictures": count, "share": round(count / total, 4), "since": f"{since:%Y-%m-%dT%H:%M:%SZ}"}
        for name, count, since in rows
    ]


def _digest(uploads: Uploads, champion: int) -> str:
    """Return a digest of the reviewed state: the champion, and hash, class and confirmation of each active image."""
    active = uploads.storage.find(tables.uploads.c.state == "active")
    lines = sorted(f"{p.sha256} {p.folder} {p.checked}" for p in active)
    return hashlib.sha256("\n".join([str(champion), *lines]).encode()).hexdigest()


def _unit(vectors: NDArray[Any]) -> Floats:
    wide = vectors.astype(np.float32)
    result: Floats = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-6)
    return result
