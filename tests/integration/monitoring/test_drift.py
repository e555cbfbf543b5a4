"""Drift is detected for darker, blurred or unrelated images, and not for similar ones."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawing import draw
from PIL import Image, ImageEnhance, ImageFilter
from scipy.stats import ks_2samp
from sqlalchemy import update

from catdog.data.images.pixels import decode
from catdog.features.replay import Replay
from catdog.model.novelty import fit_novelty
from catdog.monitoring.counts import Counts, current_hour
from catdog.monitoring.drift import (
    SIGNIFICANCE,
    SMALLEST,
    SMALLEST_REFERENCE,
    DriftWatch,
    Observed,
    chance_of,
    compare,
    kolmogorov_smirnov,
    observe,
    observed_of,
    position,
    reference_of,
)
from catdog.monitoring.samples import Sample
from catdog.prediction.predictor import Predictor
from catdog.registry.starter import ensure_champion
from catdog.settings import Settings, load_settings
from catdog.storage import tables

pytestmark = pytest.mark.databases

Change = Callable[[Image.Image], Image.Image]
THRESHOLD = 0.2


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    settings = load_settings(home=tmp_path_factory.mktemp("bundled"), precision="f32")
    ensure_champion(settings.models_dir)
    return Predictor(settings=settings)


def features(predictor: Predictor, first: int, count: int, change: Change = lambda picture: picture) -> np.ndarray:
    drawn = [change(draw(("cat", "dog")[i % 2], first + i, (256, 256))) for i in range(count)]
    return np.stack([predictor.backbone.features(np.asarray(picture.convert("RGB"))) for picture in drawn])


@pytest.fixture(scope="module")
def reference(predictor: Predictor) -> Callable[[np.ndarray], Observed]:
    """Observe through a novelty reference of drawn images."""
    known = features(predictor, 0, 80)
    novelty = fit_novelty(known, known[:20])
    return lambda found: observe(found, predictor.head, novelty)


def rings(picture: Image.Image) -> Image.Image:
    y, x = np.mgrid[:256, :256]
    shade = np.asarray(picture).mean()
    pixels = 127 + 100 * np.sin(np.hypot(x - 128, y - 128) / (3 + shade % 7))
    return Image.fromarray(np.repeat(pixels.astype(np.uint8)[..., None], 3, axis=2))


SHIFTS: dict[str, Change] = {
    "dark": lambda picture: ImageEnhance.Brightness(picture).enhance(0.15),
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(6)),
    "other things": rings,
}


def test_drift_is_detected_and_only_if_present(
    predictor: Predictor, reference: Callable[[np.ndarray], Observed]
) -> None:
    known = reference(features(predictor, 1000, 80))
    same = compare(known, reference(features(predictor, 2000, 60)))
    assert same is not None
    assert same[0] < THRESHOLD or same[1] >= SIGNIFICANCE
    for name, change in SHIFTS.items():
        found = compare(known, reference(features(predictor, 3000, 60, change)))
        assert found is not None, name
        assert (found[0] >= THRESHOLD, found[1] < SIGNIFICANCE) == (True, True), (name, found)


def columns(rng: np.random.Generator, n: int, share_of_cats: float = 0.5, moved: float = 0.0) -> Observed:
    class_ids = (rng.random(n) > share_of_cats).astype(np.int64)
    values = rng.normal(size=(n, 18)) + 2 * class_ids[:, np.newaxis]
    values[:, 5] += moved
    return Observed(values, class_ids)


def test_other_class_proportions_are_no_drift() -> None:
    rng = np.random.default_rng(5)
    warnings = 0
    for i in range(60):
        found = compare(columns(rng, 900), columns(rng, 60 + 15 * i, share_of_cats=0.5 if i % 2 else 0.85))
        assert found is not None
        warnings += found[0] >= THRESHOLD and found[1] < SIGNIFICANCE
    assert warnings == 0
    found = compare(columns(rng, 900), columns(rng, 200, moved=1.5))
    assert found is not None
    assert (found[0] > THRESHOLD, found[2]) == (True, "features 4")


@pytest.mark.parametrize(("first", "second"), [(983, 1200), (983, 50), (200, 60), (30, 50)])
@pytest.mark.parametrize("shift", [0.0, 0.2, 0.6, 1.0])
def test_distance_and_p_value_match_scipy(first: int, second: int, shift: float) -> None:
    chance = np.random.default_rng(first + second)
    one, other = chance.normal(size=first).round(2), chance.normal(shift, size=second).round(2)
    expected = ks_2samp(one, other)
    distance = kolmogorov_smirnov(one, other)
    assert distance == pytest.approx(expected.statistic, abs=1e-12)
    # Steps are of 1 / M, so that the limit is some per cent off; far in the tail nothing depends on it.
    assert chance_of(distance, first, second) == pytest.approx(expected.pvalue, rel=0.2, abs=1e-7)


def test_measuring_does_not_load_heavy_libraries() -> None:
    code = """
import sys
from catdog.monitoring.drift import Observed, compare
import numpy as np
one, other = (Observed(np.random.default_rng(seed).random((60, 4)), np.zeros(60, np.int64)) for seed in (1, 2))
assert compare(one, other)[1] > 0.01
print("scipy.stats" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_too_few_predictions_are_not_compared() -> None:
    rng = np.random.default_rng(5)
    assert compare(columns(rng, 900), columns(rng, SMALLEST - 1)) is None
    assert compare(columns(rng, SMALLEST_REFERENCE - 1), columns(rng, 900)) is None


def test_a_class_with_few_test_images_counts_as_drift() -> None:
    rng = np.random.default_rng(5)
    found = compare(columns(rng, 900, share_of_cats=1.0), columns(rng, 60, share_of_cats=0.0))
    assert found is not None
    assert (found[0] >= THRESHOLD, found[1] < SIGNIFICANCE) == (True, True)


def serve(settings: Settings, predictor: Predictor, found: np.ndarray) -> Counts:
    """Count predictions like a server."""
    counts = Counts(settings)
    observed = observe(found, predictor.head, predictor.novelty)
    for one, row, class_id in zip(found, observed.columns, observed.class_ids, strict=True):
        counts.add(1, "Cat", "cat", row[0], row[1], 10.0)
        draw = counts.samples.draw(current_hour())
        assert draw is not None
        place = position(predictor.novelty, one).astype("<f4").tobytes()
        counts.samples.add(Sample(current_hour(), draw, 1, int(class_id), row[0], row[1], place))
    counts.flush()
    return counts


@pytest.mark.parametrize("shifted", [False, True])
def test_the_bundled_model_is_watched_by_one_process_at_a_time(
    settings: Settings, predictor: Predictor, shifted: bool
) -> None:
    replay = Replay.load(predictor.version.path / "replay.npz")
    tested = replay.features[replay.split == "test"].astype(np.float32)
    served = features(predictor, 0, 90) if shifted else tested[np.random.default_rng(2).permutation(len(tested))[:90]]
    counts = serve(settings, predictor, served)
    engine, watches = counts.engine(), [DriftWatch(THRESHOLD), DriftWatch(THRESHOLD)]
    assert watches[0].read(engine, 1) is None
    for watch in watches:
        watch.measure(engine, predictor.version)
    assert sum(watch._reference is not None for watch in watches) == 1
    found = watches[1].read(engine, 1)
    assert found is not None
    assert (found.n, found.warning, found.at[:2]) == (90, shifted, "20")
    with engine.begin() as connection:  # a minute later
        connection.execute(update(tables.drift).values(claimed_at=tables.drift.c.claimed_at - 61))
    watches[1].measure(engine, predictor.version)
    assert watches[1]._reference is not None
    counts.close()


def test_samples_are_read_as_written(predictor: Predictor) -> None:
    found = features(predictor, 0, 3)
    observed = observe(found, predictor.head, predictor.novelty)
    answers = [predictor.answer(one) for one in found]
    places = [position(predictor.novelty, one).astype("<f4").tobytes() for one in found]
    samples = [
        Sample(1, i, 1, answer.class_id, answer.confidence, answer.novelty, place)
        for i, (answer, place) in enumerate(zip(answers, places, strict=True))
    ]
    again = observed_of(samples)
    np.testing.assert_allclose(again.columns, observed.columns, rtol=1e-3, atol=1e-4)
    assert again.class_ids.tolist() == observed.class_ids.tolist()


@pytest.mark.shared
def test_photographs_like_the_test_images_are_no_drift_but_dark_ones_are(predictor: Predictor, shared: Path) -> None:
    reference = reference_of(predictor.version)
    assert reference is not None
    paths = sorted((shared / "photos").glob("*.jpg"))[:70]
    pixels = [decode(path.read_bytes(), 256) for path in paths]

    def found(change: Change) -> tuple[float, float, str]:
        changed = [np.asarray(change(Image.fromarray(one))) for one in pixels]
        embedded = np.stack([predictor.backbone.features(one) for one in changed])
        result = compare(reference, observe(embedded, predictor.head, predictor.novelty))
        assert result is not None
        return result

    plain = found(lambda picture: picture)
    assert plain[0] < THRESHOLD or plain[1] >= SIGNIFICANCE
    for name in ("dark", "blurred"):
        score, p_value, _ = found(SHIFTS[name])
        assert (score >= THRESHOLD, p_value < SIGNIFICANCE) == (True, True), (name, score, p_value)
