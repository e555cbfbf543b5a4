from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from catdog.errors import VersionCorruptError
from catdog.model.novelty import NoveltyReference, extend_novelty, fit_novelty


def cluster(n: int, seed: int, centre: float = 0.0) -> np.ndarray:
    """Features with a few latent factors and very different spread per dimension."""
    rng = np.random.default_rng(seed)
    causes = np.random.default_rng(99).normal(size=(2, 6, 64))
    hidden = rng.normal(0, 1, (n, 6)) @ (causes[0] if not centre else centre * causes[1])
    return np.maximum(1 + 0.3 * hidden + rng.normal(0, 0.05, (n, 64)), 0) * np.logspace(-1, 1, 64)


def angles(training: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Compare each of `features` with each of `training`: cosines of what is standardised, nothing projected."""
    spread = training.std(axis=0)
    scale = 0.9 * spread + 0.1 * spread.mean() + 1e-6
    rows, columns = ((found - training.mean(axis=0)) / scale for found in (features, training))
    lengths = np.linalg.norm(rows, axis=1)[:, np.newaxis] * np.linalg.norm(columns, axis=1)
    return np.asarray(rows @ columns.T / lengths)


def nearest(cosines: np.ndarray, k: int) -> np.ndarray:
    return np.asarray(1 - np.sort(cosines, axis=1)[:, -k])


def flat(**changes: object) -> NoveltyReference:
    """Make a reference of two dimensions, whose distances can be told by hand: those to the second nearest of three."""
    bank = np.array([[1, 0], [0, 1], [-0.6, 0.8]], np.float32)
    mean, projection = np.array([10, 20], np.float32), np.array([[2, 0], [0, 0.5]], np.float32)
    return replace(NoveltyReference(mean, projection, bank, 2, 0.4), **changes)  # type: ignore[arg-type]


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
    changes = (
        {"bank": arrays["bank"][:, :3]},
        {"mean": arrays["mean"][:3]},
        {"projection": arrays["projection"][:3]},
        {"projection": arrays["projection"][:, :3]},
        {"neighbour": np.array(0)},
        {"neighbour": np.array(len(arrays["bank"]) + 1)},
        {"threshold": np.array(0.0)},
        {"threshold": np.array(-0.1)},
        {"threshold": np.array("x")},
        {"threshold": np.array(np.longdouble("1e4000"))},  # infinity as soon as it is a float
    )
    for change in changes:
        np.savez(path, **{**arrays, **change})
        with pytest.raises(VersionCorruptError):
            NoveltyReference.load(path)
    path.write_bytes(b"x")
    with pytest.raises(VersionCorruptError):
        NoveltyReference.load(path)


def test_distances_are_those_to_the_nearest_but_so_many_of_the_bank() -> None:
    # Projected: (1, 0), (0, 1), (0.6, 0.8), and the mean itself, which has no direction.
    features = np.array([[10.5, 20], [10, 22], [10.3, 21.6], [10, 20]])
    assert flat().distances(features) == pytest.approx([1, 0.2, 0.4, 1], abs=1e-6)
    assert flat(neighbour=1).distances(features) == pytest.approx([0, 0, 0.2, 1], abs=1e-6)
    assert flat(neighbour=3).distances(features) == pytest.approx([1.6, 1, 0.72, 1], abs=1e-6)
    assert flat().distances(features[:0]).shape == (0,)


def test_the_score_is_a_half_at_the_threshold_and_stays_between_0_and_1() -> None:
    distances = (-0.01, 0.0, 0.2, 0.4, 0.6, 0.8, 2.0, np.nan, np.inf)
    assert [flat().score(distance) for distance in distances] == pytest.approx([0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1])
    assert flat().novelty(np.array([10, 22])) == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize("size", [1, 1e-6])
def test_each_dimension_is_standardised_before_angles_are_compared(size: float) -> None:
    training, features = size * cluster(300, 0), size * cluster(50, 5)
    found = fit_novelty(training, size * cluster(400, 1)).distances(features)
    assert found == pytest.approx(nearest(angles(training, features), 10), abs=1e-4)


def test_of_many_dimensions_the_256_directions_of_largest_spread_are_kept() -> None:
    rng = np.random.default_rng(0)
    # 23 causes, each in three wide dimensions, and 231 narrow dimensions of noise: in 46 of the 300 directions, which
    # are wide before they are standardised, there is hardly any spread.
    causes = np.repeat(rng.normal(size=(540, 23)), 3, axis=1) + 0.02 * rng.normal(size=(540, 69))
    data = np.concatenate([10 * causes, np.logspace(-1, 0, 231) * rng.normal(size=(540, 231))], axis=1)
    reference = fit_novelty(data[:500], data[500:])
    assert reference.projection.shape == (300, 256)
    assert reference.distances(data[500:]) == pytest.approx(nearest(angles(data[:500], data[500:]), 10), abs=1e-3)


@pytest.mark.parametrize(("pictures", "neighbour"), [(2, 1), (19, 1), (20, 2), (99, 9), (100, 10), (400, 10)])
def test_the_neighbour_is_the_tenth_or_that_of_a_tenth_of_the_bank(pictures: int, neighbour: int) -> None:
    assert fit_novelty(cluster(pictures, 0), cluster(5, 1)).neighbour == neighbour


def test_a_bank_keeps_4000_pictures_chosen_by_the_seed() -> None:
    training = np.random.default_rng(0).normal(size=(4001, 3))
    assert len(fit_novelty(training, training[:100]).bank) == 4000
    one, same, other = (fit_novelty(training, training[:100], seed=seed, bank_size=50).bank for seed in (1, 1, 2))
    assert len(one) == 50
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("held_out", [0, 1, 99, 100])
def test_under_100_held_out_pictures_the_training_pictures_set_the_threshold_too(held_out: int) -> None:
    training, others = cluster(200, 0), cluster(held_out, 3, centre=1.0)
    reference = fit_novelty(training, others)
    distances = [*nearest(angles(training, others), 10)] if held_out else []
    if held_out < 100:
        among_themselves = angles(training, training)
        np.fill_diagonal(among_themselves, -1)
        distances += [*nearest(among_themselves, 10)]
    assert reference.threshold == pytest.approx(np.quantile(distances, 0.9875), abs=1e-4)


def test_two_training_pictures_are_opposites() -> None:
    assert fit_novelty(cluster(2, 0), cluster(0, 1)).threshold == pytest.approx(2)


def test_of_images_that_are_all_alike_another_is_novel() -> None:
    rng = np.random.default_rng(0)
    alike = np.array([300.0, 100, 200, 200]) * (1 + rng.normal(0, 3e-6, (30, 4)))  # no more than rounding
    reference = fit_novelty(alike, alike[:5])
    assert reference.threshold == pytest.approx(1e-3)
    assert reference.novelty(alike[0]) < 0.5
    assert reference.novelty(2 * alike[0]) < 0.5
    assert reference.novelty(alike[0][::-1]) >= 0.5


def test_a_small_spread_is_more_than_rounding() -> None:
    rng = np.random.default_rng(0)
    data = np.array([3.0, 1, 2, 2]) * (1 + rng.normal(0, 1e-3, (330, 4)))
    reference = fit_novelty(data[:300], data[300:])
    assert reference.distances(data[300:]) == pytest.approx(nearest(angles(data[:300], data[300:]), 10), abs=1e-2)


def test_features_of_any_size_can_be_saved(tmp_path: Path) -> None:
    tiny = fit_novelty(1e-5 * cluster(300, 0), 1e-5 * cluster(100, 1))
    tiny.save(tmp_path / "novelty.npz")
    loaded = NoveltyReference.load(tmp_path / "novelty.npz")
    assert np.abs(loaded.distances(1e-5 * cluster(50, 5)) - tiny.distances(1e-5 * cluster(50, 5))).max() < 2e-3


def test_a_neighbour_may_be_the_first_or_the_last_of_the_bank(tmp_path: Path) -> None:
    for neighbour in (1, 3):
        flat(neighbour=neighbour).save(tmp_path / "novelty.npz")
        assert NoveltyReference.load(tmp_path / "novelty.npz").neighbour == neighbour


def test_what_is_added_becomes_familiar_and_the_rest_stays() -> None:
    added = np.array([[7.0, 20], [10, 12], [10, 12.5]])  # projected: west, south and south
    before = flat()
    after = extend_novelty(before, added)
    assert after.bank == pytest.approx(np.array([*before.bank, [-1, 0], [0, -1], [0, -1]]))
    assert before.novelty(added[1]) >= 0.5
    assert after.novelty(added[1]) == 0
    assert replace(after, bank=before.bank) == before


def test_a_bank_grows_to_5000_pictures_and_then_loses_old_and_new_ones_alike() -> None:
    full = flat(bank=np.tile(np.array([[1, 0]], np.float32), (4000, 1)))
    north = np.tile([[10.0, 24.0]], (4000, 1))
    kept = extend_novelty(full, north[:1000]).bank
    assert np.array_equal(kept, [*full.bank, *np.tile([[0, 1]], (1000, 1))])
    assert len(extend_novelty(full, north[:1001]).bank) == 5000
    one, same, other = (extend_novelty(full, north, seed=seed).bank for seed in (1, 1, 2))
    assert one.sum(axis=0) == pytest.approx([2500, 2500], rel=0.1)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
