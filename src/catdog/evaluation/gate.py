"""The promotion gate: decides whether a new version replaces the champion."""

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
"""Maximum loss of a class's recall; one image may always be lost, which is more in classes of fewer than 50."""

CALIBRATION_LOSS: Final = 0.02
MAX_CALIBRATION_ERROR: Final = 0.05
"""The expected calibration error may grow by 0.02, or up to 0.05."""

MIN_CALIBRATED: Final = 100
"""Minimum test images for comparing calibration errors."""


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger may be promoted, the reason, and the comparison."""

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
    """Compare two versions by their predictions for the same test images, which neither was trained on.

    The challenger passes if it isn't significantly worse (McNemar's exact test, p < 0.05), no class loses more than 2
    points of recall, and it is about as well calibrated as the champion.

    Args:
        champion: probabilities `(N, C)`.
        challenger: probabilities `(N, C)`.
        labels: `(N,)` in [0, C), N at least 1.
        classes: C folder names.
        name: of the champion in the reason, such as `version 3`.
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
                f"recall of {probability_key(folder)} falls from {recalls}, by more than {100 * RECALL_LOSS:.0f} points"
            )
    if len(labels) >= MIN_CALIBRATED:
        errors = [expected_calibration_error(answers, labels) for answers in (champion, challenger)]
        if errors[1] > max(MAX_CALIBRATION_ERROR, errors[0] + CALIBRATION_LOSS):
            faults.append(f"the calibration error rises from {errors[0]:.3f} to {errors[1]:.3f}")
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
    """Return whether to promote a new version, and the reason.

    It is promoted if it is the first, or passes `judge` on the test images that the champion wasn't trained on.

    Args:
        classes: the new version's.
        test: N test images.
        probabilities: the new version's predictions for them, `(N, C)`.
        engine: database of cached features.
        settings: the settings.
        wanted: True or False decides without a comparison.
        backbone: the new version's, loaded; reused if the champion has the same.
    """
    if wanted is not None:
        return wanted, "as requested"
    store = ModelStore(settings.models_dir)
    if store.champion() is None:
        return True, "the first version"
    champion = store.get()
    name = f"version {champion.number}"
    if champion.classes != classes:
        known = listed(champion.classes)
        return False, f"{name}, in use, has other classes ({known}); promote this version by hand to replace it"
    seen = champion.training_hashes()
    images = [image for image in test.pictures if image.sha256 not in seen]
    if not images:
        return False, f"{name}, in use, was trained on all of these test images, so a comparison would be unfair"
    answers = _embed(images, champion, engine, settings, backbone)
    rows = {image.sha256: index for index, image in enumerate(test.pictures)}
    challenger = probabilities[[rows[image.sha256] for image in answers.pictures]]
    verdict = judge(
        champion.load_head().probabilities(answers.vectors[:, 0]),
        challenger,
        answers.labels,
        classes,
        name,
    )
    return verdict.passed, verdict.reason


def _embed(
    images: Sequence[Picture], champion: ModelVersion, engine: Engine, settings: Settings, loaded: Backbone | None
) -> Embedded:
    """Return the champion's features; loads its backbone only if some aren't cached."""
    folder, threads = champion.backbone_path, settings.resolved_threads
    cache = FeatureCache(engine, read_info(folder).id)
    known = read_embedded(images, cache)
    if len(known.pictures) == len(images):
        return known
    backbone = load_backbone(folder, precision=settings.precision, threads=threads, loaded=loaded)
    limits = limits_of(settings)
    return embed(images, backbone, cache, threads=threads, limits=limits)
