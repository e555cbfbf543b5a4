from pathlib import Path

import numpy as np
import pytest

from catdog.errors import VersionCorruptError
from catdog.model.novelty import NoveltyReference, fit_novelty


def cluster(n: int, seed: int, centre: float = 0.0) -> np.ndarray:
    """Features with a few latent factors and very different spread per dimension."""
    rng = np.random.default_rng(seed)
    causes = np.random.default_rng(99).normal(size=(2, 6, 64))
    hidden = rng.normal(0, 1, (n, 6)) @ (causes[0] if not centre else centre * causes[1])
    return np.maximum(1 + 0.3 * hidden + rng.normal(0, 0.05, (n, 64)), 0) * np.logspace(-1, 1, 64)


@pytest.fixture(scope="module")
def reference() -> NoveltyReference:
    return fit_novelty(cluster(1500, 0), cluster(400, 1))


def test_familiar_images_get_a_class_and_others_do_not(reference: NoveltyReference) -> None:
    familiar = np.array([reference.novelty(x) for x in cluster(400, 2)])
    strange = np.array([reference.novelty(x) for x in cluster(100, 3, centre=2.0)])
    assert (familiar < 0.5).mean() > 0.95
    assert (strange >= 0.5).mean() > 0.95
    assert 0 <= familiar.min() <= strange.max() <= 1


def test_the_threshold_is_a_quantile_of_the_held_out_images(reference: NoveltyReference) -> None:
    share = (reference.distances(cluster(400, 1)) <= reference.threshold).mean()
    assert share == pytest.approx(0.9875, abs=0.005)
    assert reference.score(reference.threshold) == 0.5


def test_one_odd_training_image_does_not_make_similar_images_familiar() -> None:
    odd = cluster(1, 7, centre=3.0)
    reference = fit_novelty(np.concatenate([cluster(1500, 0), odd]), cluster(400, 1))
    assert reference.novelty(odd[0]) >= 0.5


def test_small_data_works(reference: NoveltyReference) -> None:
    small = fit_novelty(cluster(12, 0), cluster(2, 1))
    assert 0 < small.threshold <= 2
    assert small.novelty(cluster(1, 3, centre=4.0)[0]) > small.novelty(cluster(1, 4)[0])
    assert fit_novelty(cluster(2, 0), cluster(0, 1)).bank.shape[0] == 2
    with pytest.raises(ValueError, match="at least 2"):
        fit_novelty(cluster(1, 0), cluster(5, 1))
    assert len(reference.bank) == 1500


def test_saving_keeps_the_predictions(reference: NoveltyReference, tmp_path: Path) -> None:
    reference.save(tmp_path / "novelty.npz")
    loaded = NoveltyReference.load(tmp_path / "novelty.npz")
    features = cluster(50, 5)
    assert np.abs(loaded.distances(features) - reference.distances(features)).max() < 2e-3
    assert loaded.neighbour == reference.neighbour


def test_a_damaged_reference_is_refused(reference: NoveltyReference, tmp_path: Path) -> None:
    path = tmp_path / "novelty.npz"
    with pytest.raises(VersionCorruptError):
        NoveltyReference.load(path)
    arrays = reference.as_arrays()
    for change in ({"bank": arrays["bank"][:, :3]}, {"neighbour": np.array(0)}, {"threshold": np.array(0.0)}):
        np.savez(path, **{**arrays, **change})
        with pytest.raises(VersionCorruptError):
            NoveltyReference.load(path)
    path.write_bytes(b"x")
    with pytest.raises(VersionCorruptError):
        NoveltyReference.load(path)
