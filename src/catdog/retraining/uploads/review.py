"""What is doubtful about the images for retraining: labels that the features contradict, copies of test images.

Labels are judged by confident learning (https://arxiv.org/abs/1911.00068) on probabilities of a linear
probe that never saw the image, nor any other of its batch: no batch vouches for itself, and the champion, which may
have been trained on wrong labels, isn't asked. Measured with the bundled model on photographs that it never saw, with
labels flipped in a batch, ten draws each; least and most of the labels that look wrong, in percent:

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
"""Share of a batch's labels that look wrong from which it is kept out; between 10 and 30 % flipped, see above."""

MIN_DOUBTED: Final = 3
"""Fewest such labels: two odd images of ten are no reason to doubt a batch."""

NEAR_SHARE: Final = 0.5
NEAR_QUANTILE: Final = 0.05
"""A copy is nearer than half of what the nearest 5 % of the test images are from each other: a cosine distance of
0.112 for the bundled model. Of copies of 197 test photographs it finds all that were written anew as JPEG of quality 95
(distance at most 0.013) and nine in ten that were cut by 5 % a side or mirrored, but not most of those at half size.
None of 1,000 training photographs is nearer to a test photograph than 0.133."""

MAX_PAIRS: Final = 1000
_BLOCK: Final = 512  # images compared with all others at a time, so that memory doesn't grow with their square

FILE: Final = "review.json"
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Judged:
    """Active images with their features `(N, D)` and class numbers `(N,)`, and what was found out about each `(N,)`.

    `quality` in [0, 1] is the probe's probability of the given label.
    """

    pictures: Sequence[Upload]
    near_copy: NDArray[np.bool_]
    doubted: NDArray[np.bool_]
    quality: Floats


def review(uploads: Uploads, *, on_progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Judge all active images, write to their rows what a training must leave out, and store the findings.

    Args:
        uploads: the images; their features are computed where they aren't cached.
        on_progress: called with (images computed, images to compute).

    Returns:
        The findings, as `report` gives them under `review`.

    Raises:
        StoreError: there is no champion, or it is damaged.
    """
    predictor = Predictor(settings=uploads.settings)
    digest = _digest(uploads, predictor.version.number)
    pictures, features = _features(uploads, predictor, on_progress)
    memory = _memory(uploads, predictor)
    test, base = memory.features[memory.split == "test"], memory.split == "train"
    labels = np.array([predictor.version.classes.index(picture.folder) for picture in pictures], np.int64)
    near = find_near_copies(features, test)
    groups = [picture.batch for picture in pictures]
    doubted, quality = find_doubted(features, labels, groups, memory.features[base], memory.labels[base])
    unchecked = np.array([not picture.checked for picture in pictures], bool)
    judged = Judged(pictures, near, doubted & unchecked & ~near, quality)
    batches = _batches(judged)
    quarantined = {row["batch"] for row in batches if row["verdict"] == "quarantined"}
    uploads.record_review(_values(judged, features, predictor, quarantined))
    findings = _findings(judged, find_pairs(features, near_threshold(test)), batches, digest)
    write_json(uploads.storage.root / FILE, findings)
    return findings


def report(uploads: Uploads) -> dict[str, Any]:
    """Return what there is, by class, state, batch and uploader, with the findings of the last review; ready for JSON.

    Counts are of now. `review` is None before the first one; `is_current` tells whether images or champion changed
    since.
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
    """Return which images, features `(N, D)`, are nearly one of the test images `(T, D)` -> `(N,)`."""
    if not len(features) or len(test) < 2:
        return np.zeros(len(features), bool)
    unit, others, least = _unit(features), _unit(test), 1 - near_threshold(test)
    return np.concatenate([(unit[i : i + _BLOCK] @ others.T).max(axis=1) > least for i in range(0, len(unit), _BLOCK)])


def near_threshold(test: NDArray[Any]) -> float:
    """Say under which cosine distance an image counts as a copy, from how near different test images come."""
    if len(test) < 2:
        return 0.0
    unit = _unit(test)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -1)
    return NEAR_SHARE * float(np.quantile(1 - similarity.max(axis=1), NEAR_QUANTILE))


def find_pairs(features: NDArray[Any], threshold: float) -> list[tuple[int, int]]:
    """List pairs of images, features `(N, D)`, that are nearer than `threshold`: at most `MAX_PAIRS` of them."""
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
        Whether a label looks wrong, `(N,)`, and the probability of each given label, `(N,)` in [0, 1].

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
    by_hash = {picture.sha256: picture for picture in found}
    embedded = embed(
        [Picture(p.path, p.sha256, classes.index(p.folder), "train") for p in found],
        predictor.backbone,
        FeatureCache(uploads.storage.engine, predictor.backbone.info.id),
        threads=predictor.threads,
        limits=predictor.limits,
        on_progress=on_progress,
    )
    return [by_hash[picture.sha256] for picture in embedded.pictures], embedded.vectors[:, 0]


def _memory(uploads: Uploads, predictor: Predictor) -> Replay:
    """Read the champion's memory of its data without what came in as uploads: these must not vouch for themselves."""
    replay = predictor.version.replay()
    if replay is None:
        raise VersionCorruptError(f"Version {predictor.version.number} has no replay memory, which the review needs.")
    return replay.rows(~np.isin(replay.sha256, [picture.sha256 for picture in uploads.storage.find()]))


def _batches(judged: Judged) -> list[dict[str, Any]]:
    """Return a verdict for each batch: `quarantined` where too many labels of unchecked images look wrong."""
    unchecked = Counter(picture.batch for picture in judged.pictures if not picture.checked)
    doubted = Counter(picture.batch for picture, bad in zip(judged.pictures, judged.doubted, strict=True) if bad)
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
    """Return for the row of each image what keeps it out, and what the champion answers."""
    values = {}
    for picture, vector, near in zip(judged.pictures, features, judged.near_copy, strict=True):
        answer = predictor.answer(vector.astype(np.float32))
        out = DOUBTED if picture.batch in quarantined and not picture.checked else None
        values[picture.id] = {
            "problem": NEAR_COPY if near else out,
            "predicted": predictor.version.classes[answer.class_id],
            "verdict": answer.verdict,
            "confidence": answer.confidence,
            "novelty": answer.novelty,
            "model_version": answer.model_version,
        }
    return values


def _findings(
    judged: Judged, pairs: list[tuple[int, int]], batches: list[dict[str, Any]], digest: str
) -> dict[str, Any]:
    ids = np.array([picture.id for picture in judged.pictures], np.int64)
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
    """Count the images by batch or uploader, the largest first, with their share of all that aren't removed."""
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
    """Name the state that a review is of: the champion, and hash, class and standing of each active image."""
    active = uploads.storage.find(tables.uploads.c.state == "active")
    lines = sorted(f"{p.sha256} {p.folder} {p.checked}" for p in active)
    return hashlib.sha256("\n".join([str(champion), *lines]).encode()).hexdigest()


def _unit(vectors: NDArray[Any]) -> Floats:
    wide = vectors.astype(np.float32)
    result: Floats = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-6)
    return result
