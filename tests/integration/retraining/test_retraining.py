"""Retraining learns uploads, keeps old knowledge, separates test from training images, and makes a complete version."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawing import add_drawings, add_uploads, encode
from PIL import Image
from postgres import lose_database

from catdog.errors import CatdogError, ConflictError
from catdog.features.replay import Replay
from catdog.prediction.predictor import Predictor
from catdog.registry.starter import ensure_champion
from catdog.registry.store import ModelStore, ModelVersion
from catdog.retraining.dataset import require_new
from catdog.retraining.stages import STEPS
from catdog.retraining.steps import Retraining
from catdog.retraining.uploads.uploads import Uploads
from catdog.settings import Settings, load_settings
from catdog.storage.database import open_database


def retrain(settings: Settings, job: str = "a-job", wanted: bool | None = None) -> dict[str, Any]:
    engine = open_database(settings)
    retraining = Retraining(job, settings, engine, wanted)
    results = [retraining.run(step, lambda *_: None) for step in STEPS]
    engine.dispose()
    return results[-1]


def add_both(settings: Settings, count: int = 10, first: int = 20_000) -> list[Path]:
    return [path for animal in ("cat", "dog") for path in add_drawings(settings, animal, count, first=first)]


def rows(version: ModelVersion) -> dict[str, str]:
    lines = (version.path / "manifest.csv").read_text().splitlines()[1:]
    return {line.split(",")[0]: line.split(",")[2] for line in lines}


def surprise(settings: Settings, count: int = 12) -> tuple[str, list[Path]]:
    """Upload images that the champion never saw the like of, under the class that it answers for none of them.

    Of several colours it is the one of whose answer it is least sure.
    """
    rng = np.random.default_rng(5)
    predictor = Predictor(settings=settings, threads=1)
    found = []
    for colour in ((40, 200, 60), (200, 40, 160), (150, 150, 40), (150, 160, 180), (90, 170, 170), (250, 120, 120)):
        noise = (rng.normal(colour, 15, (120, 160, 3)).clip(0, 255).astype(np.uint8) for _ in range(count))
        pictures = [encode(Image.fromarray(pixels), quality=90) for pixels in noise]
        answers = [predictor.predict(picture) for picture in pictures]
        if len({answer.class_name for answer in answers}) == 1:
            found.append((max(answer.confidence for answer in answers), answers[0].class_name, pictures))
    _, name, pictures = min(found)
    folder = "dogs" if name == "Cat" else "cats"
    return folder, add_uploads(settings, folder, pictures, checked=True)


def test_uploads_make_a_champion_that_is_not_worse(home: Settings) -> None:
    add_both(home)
    result = retrain(home)
    assert result["promoted"], result["reason"]
    assert "not significantly worse than version 1" in result["reason"]
    assert (result["version"], result["parent"], ModelStore(home.models_dir).champion()) == (2, 1, 2)
    before, after = (result["metrics"][name]["accuracy"] for name in ("champion", "challenger"))
    assert after >= before


def test_a_misclassified_image_is_correct_after_retraining(home: Settings) -> None:
    folder, paths = surprise(home)
    retrain(home)
    predictor = Predictor(2, settings=home, threads=1)
    trained = [path for path in paths if rows(predictor.version)[path.stem] == "train"]
    assert len(trained) >= 6
    right = sum(predictor.predict(path).class_name == ("Dog" if folder == "dogs" else "Cat") for path in trained)
    assert right >= len(trained) / 3  # of none; the random backbone of these tests tells them not much from others


def test_held_out_uploads_and_test_images_are_never_trained_on(home: Settings, drawn: Path) -> None:
    test_pictures = [path.read_bytes() for path in (drawn / "test" / "cats").iterdir()]
    refused = Uploads(home, open_database(home)).add([("test.jpg", data) for data in test_pictures], "cats")
    assert len(refused.rejected) == len(test_pictures)
    add_both(home)
    held_out = {upload.sha256 for upload in Uploads(home, open_database(home)).active() if upload.held_out}
    assert held_out
    result = retrain(home)
    version = ModelStore(home.models_dir).get(2)
    training = version.training_hashes()
    assert not training & held_out
    assert result["held_out"]["challenger"]["n"] == len(held_out)
    assert result["metrics"]["challenger"]["n"] == 20
    replay = Replay.load(version.path / "replay.npz")
    assert not set(replay.sha256[replay.split == "train"]) & held_out


def test_a_version_records_its_lineage_and_is_complete(home: Settings) -> None:
    add_both(home)
    retrain(home)
    store = ModelStore(home.models_dir)
    old, new = store.get(1), store.get(2)
    assert new.metadata["parent"] == 1
    assert new.metadata["added"]["uploads"] > 10
    assert new.metadata["gate"]["passed"]
    assert new.metadata["checksums"].keys() == old.metadata["checksums"].keys()
    assert old.training_hashes() < new.training_hashes()
    assert rows(old).items() <= rows(new).items()  # what the champion knew, with its splits
    assert len(new.load_novelty().bank) > len(old.load_novelty().bank)


def test_the_keras_model_predicts_like_the_head(home: Settings) -> None:
    from catdog.features.frameworks import import_keras

    add_both(home)
    retrain(home)
    version = ModelStore(home.models_dir).get(2)
    network = import_keras().models.load_model(version.path / "head.keras", safe_mode=True)
    features = Replay.load(version.path / "replay.npz").features.astype(np.float32)
    assert np.allclose(network.predict(features, verbose=0), version.load_head().probabilities(features), atol=1e-5)


def test_it_retrains_from_the_replay_memory_if_the_data_is_missing(home: Settings, drawn: Path, tmp_path: Path) -> None:
    version = home.models_dir / "1"
    moved = shutil.copytree(drawn, tmp_path / "gone")
    metadata = json.loads((version / "metadata.json").read_text())
    metadata["data"]["root"] = str(moved)
    (version / "metadata.json").write_text(json.dumps(metadata))
    shutil.rmtree(moved)
    lose_database(home)  # and no features are cached
    remembered = set(Replay.load(version / "replay.npz").sha256)
    add_both(home, 6)
    result = retrain(home)
    assert result["pictures"]["base"] == 0
    assert result["fit"]["old"] > 20
    assert result["promoted"], result["reason"]
    after = Replay.load(home.models_dir / "2" / "replay.npz")
    assert remembered < set(after.sha256)  # the next retraining forgets nothing either
    add_both(home, 6, first=30_000)
    assert retrain(home, "another")["metrics"]["challenger"]["n"] == 20


@pytest.mark.slow
def test_repeated_steps_make_one_version(home: Settings) -> None:
    add_both(home, 6)
    engine = open_database(home)
    for step in STEPS:
        first = Retraining("a-job", home, engine).run(step, lambda *_: None)
        assert Retraining("a-job", home, engine).run(step, lambda *_: None) == first or step == "embed"
    store = ModelStore(home.models_dir)
    assert store.numbers() == [1, 2]
    assert [promotion.version for promotion in store.history()] == [1, 2]


def test_repeating_a_promotion_keeps_a_later_choice(home: Settings) -> None:
    add_both(home, 6)
    retrain(home)
    store = ModelStore(home.models_dir)
    store.rollback()
    Retraining("a-job", home, open_database(home)).run("promote", lambda *_: None)
    assert store.champion() == 1


@pytest.mark.parametrize(
    ("wanted", "setting", "words"), [(False, "auto", "as requested"), (None, "manual", "CATDOG_PROMOTE=manual")]
)
def test_promotion_can_be_left_to_a_person(home: Settings, wanted: bool | None, setting: str, words: str) -> None:
    add_both(home, 6)
    result = retrain(load_settings(home=home.home, tracking=False, promote=setting), wanted=wanted)
    assert (result["promoted"], result["decision"]) == (False, "kept as a challenger")
    assert words in result["reason"]
    assert ModelStore(home.models_dir).champion() == 1
    assert ModelStore(home.models_dir).numbers() == [1, 2]


def flip(settings: Settings, checked: bool) -> None:
    for animal, folder in (("cat", "dogs"), ("dog", "cats")):
        add_drawings(settings, animal, 30, first=50_000, folder=folder, checked=checked)


def test_a_batch_of_flipped_labels_is_excluded(home: Settings) -> None:
    flip(home, checked=False)
    with pytest.raises(ConflictError, match="all of 60 images left out"):
        retrain(home)


def test_flipped_labels_that_a_person_confirmed_are_refused_by_the_gate_or_do_no_harm(home: Settings) -> None:
    flip(home, checked=True)
    result = retrain(home)
    before, after = (result["metrics"][name]["accuracy"] for name in ("champion", "challenger"))
    assert not result["promoted"] or after >= before - 0.05  # one of 20 images


def test_nothing_new_is_refused(home: Settings) -> None:
    uploads = Uploads(home, open_database(home))
    with pytest.raises(ConflictError, match="0 uploaded images"):
        require_new(uploads)
    paths = add_both(home, 6)
    new = require_new(uploads)
    assert 6 <= new < len(paths)
    retrain(home)
    with pytest.raises(ConflictError, match="none is new"):
        require_new(uploads)


def test_excluded_images_do_not_count_and_a_relabelled_image_is_new(home: Settings) -> None:
    uploads = Uploads(home, open_database(home))
    add_both(home, 6)
    ids = [upload.id for upload in uploads.active()]
    uploads.remove(ids)
    with pytest.raises(ConflictError, match="0 uploaded images"):
        require_new(uploads)
    uploads.restore(ids)
    retrain(home)
    moved = next(upload for upload in uploads.active() if not upload.held_out)
    uploads.relabel([moved.id], "dogs" if moved.folder == "cats" else "cats")
    assert require_new(uploads) == 1


def test_an_image_damaged_meanwhile_is_reported_and_stops_nothing(home: Settings) -> None:
    add_both(home, 6)
    engine = open_database(home)
    retraining = Retraining("a-job", home, engine)
    broken = next(p for p in home.retrain_dir.glob("*/*.jpg"))
    broken.write_bytes(b"no picture")
    retraining.run("collect", lambda *_: None)
    result = retraining.run("embed", lambda *_: None)
    assert list(result["failed"]) == [broken.name]
    assert [retraining.run(step, lambda *_: None) for step in STEPS[2:]][-1]["version"] == 2


def test_a_full_disk_at_save_leaves_nothing(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    add_both(home, 6)
    retraining = Retraining("a-job", home, open_database(home))
    for step in STEPS[:4]:
        retraining.run(step, lambda *_: None)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("catdog.training.save.write_report", full)
    with pytest.raises(CatdogError, match="No space left"):
        retraining.run("save", lambda *_: None)
    assert sorted(p.name for p in home.models_dir.iterdir() if p.name.startswith(".new")) == []
    assert ModelStore(home.models_dir).numbers() == [1]


def add_to_train_on(settings: Settings, path: Path) -> None:
    """Upload a cat, re-encoded until its hash doesn't hold it out."""
    for quality in range(95, 60, -1):
        (kept,) = add_uploads(settings, "cats", [encode(Image.open(path), quality=quality)], checked=True)
        found = {upload.path: upload.held_out for upload in Uploads(settings, open_database(settings)).active()}
        if not found[kept]:
            return
    raise AssertionError(path)


@pytest.mark.slow
@pytest.mark.shared
def test_the_bundled_model_learns_photographs_and_forgets_none(shared: Path, tmp_path: Path) -> None:
    """Ten retrainings with 20 cats each keep the accuracy within a point and fix trained mistakes."""
    settings = load_settings(home=tmp_path / "home", tracking=False)
    ensure_champion(settings.models_dir)
    start = ModelStore(settings.models_dir).get().metadata["metrics"]["accuracy"]
    cats = sorted((shared / "cat-and-dog" / "train" / "cats").glob("*.jpg"))[:200]
    doubtful = [shared / "cat-and-dog" / "train" / "cats" / f"cat.{number}.jpg" for number in (1312, 1449, 2150, 2737)]
    predictor = Predictor(settings=settings, threads=1)
    # Those at the border fall on either side with the processor's rounding.
    wrong = [path for path in doubtful if predictor.predict(path).class_name == "Dog"]
    assert len(wrong) >= 2
    for path in wrong:
        add_to_train_on(settings, path)
    for number in range(10):
        # They are written anew: other bytes than those that the starter was trained on, and so new ones.
        add_uploads(settings, "cats", [path.read_bytes() for path in cats[20 * number : 20 * number + 20]])
        result = retrain(settings, f"job-{number}")
    assert result["metrics"]["challenger"]["accuracy"] >= start - 0.01
    assert result["metrics"]["challenger"]["n"] == 983
    predictor = Predictor(settings=settings, threads=1)
    assert {predictor.predict(path).class_name for path in wrong} == {"Cat"}
