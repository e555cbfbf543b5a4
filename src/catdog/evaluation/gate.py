"""The gate: whether a new version may take the champion's place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from catdog.data.images.pixels import limits_of
from catdog.data.labels import probability_key
from catdog.data.split import Picture
from catdog.evaluation.metrics import Comparison, compare, expected_calibration_error
from catdog.features.backbone import Backbone, load_backbone, read_info
from catdog.features.embedding import Embedded, FeatureCache, embed, read_embedded
from catdog.registry.store import ModelStore, ModelVersion
from catdog.settings import Settings
from catdog.text import listed

RECALL_LOSS: Final = 0.02
"""Most of a class's recall that may be lost. One image may always be: of fewer than 50 it is more than that."""

CALIBRATION_LOSS: Final = 0.02
MAX_CALIBRATION_ERROR: Final = 0.05
"""The expected calibration error may grow by 0.02, and to 0.05 in any case."""

MIN_CALIBRATED: Final = 100
"""Fewest test images on which the calibration error says more than chance does."""


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger may be promoted, why, and how both compare on the same images."""

    passed: bool
    reason: str
    comparison: Comparison


def judge(
    champion: NDArray[np.float32],
    challenger: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    name: str,
) -> Verdict:
    """Compare two versions by their answers for the same test images, which neither was fitted on.

    The challenger passes when it isn't significantly worse (McNemar's exact test, p < 0.05), no class lost more than 2
    points of its recall, and its confidence is about as right as the champion's.

    Args:
        champion: probabilities `(N, C)`.
        challenger: probabilities `(N, C)`.
        labels: `(N,)` in [0, C), N at least 1.
        classes: C folder names.
        name: what the champion is called in the reason, such as `version 3`.
    """
    before, after = champion.argmax(axis=1) == labels, challenger.argmax(axis=1) == labels
    comparison = compare(before, after)
    faults = []
    if comparison.significantly_worse:
        faults.append(f"significantly worse than {name}: {comparison}")
    for number, folder in enumerate(classes):
        members = labels == number
        lost = int(before[members].sum()) - int(after[members].sum())
        if lost > max(1, RECALL_LOSS * members.sum()):
            recalls = f"{before[members].mean():.1%} to {after[members].mean():.1%}"
            faults.append(
                f"recall of {probability_key(folder)} falls from {recalls}; {100 * RECALL_LOSS:.0f} points may go"
            )
    if len(labels) >= MIN_CALIBRATED:
        errors = [expected_calibration_error(answers, labels) for answers in (champion, challenger)]
        if errors[1] > max(MAX_CALIBRATION_ERROR, errors[0] + CALIBRATION_LOSS):
            faults.append(f"confidence is less right: calibration error {errors[0]:.3f} before, {errors[1]:.3f} now")
    return Verdict(not faults, "; ".join(faults) or f"not significantly worse than {name}: {comparison}", comparison)


def decide(
    classes: tuple[str, ...],
    test: Embedded,
    probabilities: NDArray[np.float32],
    engine: Engine,
    settings: Settings,
    *,
    wanted: bool | None = None,
    backbone: Backbone | None = None,
) -> tuple[bool, str]:
    """Return whether a newly trained version is to be promoted, and why.

    It is when it is the first, or passes `judge` beside the champion on the test images that the champion wasn't
    trained on.

    Args:
        classes: the new version's.
        test: N test images.
        probabilities: the new version's answers for them, `(N, C)`.
        engine: database of cached features.
        settings: where models lie, arithmetic, threads.
        wanted: True or False decides without a comparison.
        backbone: the new version's, as loaded; used for the champion too where that is on the same.
    """
    if wanted is not None:
        return wanted, "as asked for"
    store = ModelStore(settings.models_dir)
    if store.champion() is None:
        return True, "the first version"
    champion = store.get()
    name = f"version {champion.number}, the champion,"
    if champion.classes != classes:
        known = listed(champion.classes)
        return False, f"{name} knows other classes ({known}); promote this one by hand to replace it"
    seen = champion.training_hashes()
    pictures = [picture for picture in test.pictures if picture.sha256 not in seen]
    if not pictures:
        return False, f"{name} was trained on these test pictures, so that no comparison would be fair"
    answers = _embed(pictures, champion, engine, settings, backbone)
    rows = {picture.sha256: index for index, picture in enumerate(test.pictures)}
    challenger = probabilities[[rows[picture.sha256] for picture in answers.pictures]]
    verdict = judge(
        champion.load_head().probabilities(answers.vectors[:, 0]),
        challenger,
        answers.labels,
        classes,
        f"version {champion.number}",
    )
    return verdict.passed, verdict.reason


def _embed(
    pictures: Sequence[Picture], champion: ModelVersion, engine: Engine, settings: Settings, loaded: Backbone | None
) -> Embedded:
    """Return the champion's features; its backbone is loaded only where some aren't cached."""
    folder, threads = champion.backbone_path, settings.resolved_threads
    cache = FeatureCache(engine, read_info(folder).id)
    known = read_embedded(pictures, cache)
    if len(known.pictures) == len(pictures):
        return known
    backbone = load_backbone(folder, precision=settings.precision, threads=threads, loaded=loaded)
    limits = limits_of(settings)
    return embed(pictures, backbone, cache, threads=threads, limits=limits)
