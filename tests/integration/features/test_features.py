from pathlib import Path

import numpy as np
import pytest

from catdog.data import dataset
from catdog.data.split import Picture
from catdog.features.backbone import Backbone
from catdog.features.embedding import FeatureCache, embed
from catdog.registry.store import ModelStore
from catdog.settings import Settings, load_settings
from catdog.storage.database import open_database

pytestmark = pytest.mark.databases


@pytest.fixture(scope="module")
def backbone(trained: Settings) -> Backbone:
    return Backbone(ModelStore(trained.models_dir).get().backbone_path, threads=2)


@pytest.fixture
def pictures(drawn: Path, settings: Settings) -> list[Picture]:
    return dataset.scan(drawn, settings).manifest.select("train")[:12]


@pytest.fixture
def cache(settings: Settings) -> FeatureCache:
    return FeatureCache(open_database(settings), "backbone-a")


def test_features_are_in_the_order_of_the_images(
    pictures: list[Picture], backbone: Backbone, cache: FeatureCache
) -> None:
    forward = embed(pictures, backbone, cache, views=2, threads=2)
    assert forward.vectors.shape == (12, 2, 1280)
    assert forward.vectors.dtype == np.float16
    assert (forward.labels == [p.label for p in pictures]).all()
    backward = embed(pictures[::-1], backbone, cache, views=2)
    assert (backward.vectors == forward.vectors[::-1]).all()
    assert (forward.computed, backward.computed) == (12, 0)


def test_views_differ_and_the_first_is_the_image_itself(
    pictures: list[Picture], backbone: Backbone, cache: FeatureCache
) -> None:
    embedded = embed(pictures[:3], backbone, cache, views=3)
    from catdog.data.images.pixels import decode

    plain = backbone.features(decode(pictures[0].path.read_bytes())).astype(np.float16)
    assert (embedded.vectors[0, 0] == plain).all()
    assert (embedded.vectors[0, 1] != embedded.vectors[0, 2]).any()


def test_backbones_do_not_share_features(pictures: list[Picture], backbone: Backbone, settings: Settings) -> None:
    engine = open_database(settings)
    embed(pictures, backbone, FeatureCache(engine, "a"))
    assert embed(pictures, backbone, FeatureCache(engine, "b")).computed == 12


def test_the_cache_persists(pictures: list[Picture], backbone: Backbone, settings: Settings) -> None:
    before = embed(pictures, backbone, FeatureCache(open_database(settings), "a"))
    after = embed(pictures, backbone, FeatureCache(open_database(load_settings(home=settings.home)), "a"))
    assert after.computed == 0
    assert (after.vectors == before.vectors).all()


def test_an_image_damaged_after_the_scan_is_reported_as_failed(
    backbone: Backbone, cache: FeatureCache, settings: Settings, tmp_path: Path
) -> None:
    from drawing import write_dataset

    pictures = dataset.scan(write_dataset(tmp_path / "pets", 12, 0), settings).manifest.select("train")[:4]
    pictures[1].path.unlink()
    pictures[2].path.write_bytes(pictures[3].path.read_bytes())
    embedded = embed(pictures, backbone, cache)
    assert embedded.pictures == (pictures[0], pictures[3])
    assert embedded.vectors.shape == (2, 1, 1280)
    reasons = {picture.path.name: reason for picture, reason in embedded.failed}
    assert "Can't read the file" in reasons[pictures[1].path.name]
    assert "changed after it was scanned" in reasons[pictures[2].path.name]


def test_rows_written_by_two_processes_do_not_conflict(cache: FeatureCache) -> None:
    vector = np.arange(4, dtype=np.float16)
    cache.write([("a" * 64, 0, vector)])
    cache.write([("a" * 64, 0, vector + 1), ("b" * 64, 0, vector)])
    found = cache.read(["a" * 64, "b" * 64, "c" * 64], 0)
    assert found.keys() == {"a" * 64, "b" * 64}
    assert (found["a" * 64] == vector).all()


def test_no_images_have_no_features(backbone: Backbone, cache: FeatureCache) -> None:
    assert embed([], backbone, cache, views=2).vectors.shape == (0, 2, 1280)
