"""The gate: whether a new version may take the champion's place."""

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from catdog.backbone import Backbone, load_backbone
from catdog.features import Embedded, FeatureCache, embed
from catdog.metrics import Comparison, compare
from catdog.preprocessing import Limits
from catdog.settings import Settings
from catdog.store import ModelStore, ModelVersion


def decide(
    classes: tuple[str, ...],
    test: Embedded,
    correct: NDArray[np.bool_],
    engine: Engine,
    settings: Settings,
    *,
    wanted: bool | None = None,
    backbone: Backbone | None = None,
) -> tuple[bool, str]:
    """Say whether a new version is to be promoted, and why.

    It is when it is the first, or not significantly worse than the champion on the test pictures that the champion was
    not trained on.

    Args:
        classes: the new version's.
        test: N test pictures.
        correct: whether the new version is right on each, `(N,)`.
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
        known = ", ".join(champion.classes)
        return False, f"{name} knows other classes ({known}); promote this one by hand to replace it"
    comparison = _compare_with(champion, test, correct, engine, settings, backbone)
    if comparison is None:
        return False, f"{name} was trained on these test pictures, so that no comparison would be fair"
    verdict = "significantly worse than" if comparison.significantly_worse else "not significantly worse than"
    return not comparison.significantly_worse, f"{verdict} version {champion.number}: {comparison}"


def _compare_with(
    champion: ModelVersion,
    test: Embedded,
    correct: NDArray[np.bool_],
    engine: Engine,
    settings: Settings,
    loaded: Backbone | None,
) -> Comparison | None:
    seen = champion.training_hashes()
    pictures = [picture for picture in test.pictures if picture.sha256 not in seen]
    if not pictures:
        return None
    threads = settings.resolved_threads
    backbone = load_backbone(champion.backbone_path, precision=settings.precision, threads=threads, loaded=loaded)
    limits = Limits(settings.max_pixels, settings.max_side)
    answers = embed(pictures, backbone, FeatureCache(engine, backbone.info.id), threads=threads, limits=limits)
    champion_correct = champion.load_head().logits(answers.vectors[:, 0]).argmax(axis=1) == answers.labels
    challenger_correct = dict(zip((p.sha256 for p in test.pictures), correct, strict=True))
    return compare(champion_correct, np.array([challenger_correct[p.sha256] for p in answers.pictures], bool))
