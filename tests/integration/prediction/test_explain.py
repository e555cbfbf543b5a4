import gc
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from drawing import draw, encode
from PIL import Image, ImageEnhance
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sqlalchemy.exc import OperationalError

from catdog.errors import PictureError, VersionCorruptError
from catdog.features.embedding import FeatureCache
from catdog.features.replay import Replay
from catdog.model.head import Head
from catdog.prediction.explanation import explain
from catdog.prediction.heatmap import overlay, render_heat_map
from catdog.prediction.predictor import Predictor
from catdog.prediction.similar import RETRY_SECONDS, SimilarPictures
from catdog.registry.store import ModelStore
from catdog.settings import Settings, load_settings
from catdog.web.live_model import LiveModel

BELOW_RIGHT = np.pad(np.ones((3, 3), np.float32), ((4, 0), (4, 0)))
"""A heat map that is hot in one corner."""


@pytest.fixture(scope="module")
def predictor(trained: Settings) -> Predictor:
    return Predictor(settings=trained, threads=1)


@pytest.fixture(scope="module")
def picture(drawn: Path) -> bytes:
    return (drawn / "test" / "cats" / "cat.10000.jpg").read_bytes()


def on_ground(seed: int, place: tuple[int, int] | None, side: int = 224) -> Image.Image:
    """Draw an animal half as wide as a plain ground of any colour, its box at `place`; without a place, no animal."""
    rng = np.random.default_rng([seed, 5])
    ground = Image.new("RGB", (side, side), tuple(int(c) for c in rng.integers(60, 220, 3)))
    if place is not None:
        animal = draw(("cat", "dog")[seed % 2], seed, (side // 2, side // 2))
        pixels = np.asarray(animal)
        ground.paste(animal, place, Image.fromarray((pixels != pixels[0, 0]).any(axis=2)))
    return ground


@pytest.fixture(scope="module")
def animal_finder(trained: Settings, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """A version that separates an animal from empty ground, so only the drawing is evidence."""
    copy = tmp_path_factory.mktemp("finder") / "home"
    shutil.copytree(trained.home, copy)
    settings = load_settings(home=copy, tracking=False)
    store = ModelStore(settings.models_dir)
    old = store.get()
    backbone = Predictor(old, settings=settings, threads=1).backbone
    rng = np.random.default_rng(3)
    places = [(int(x), int(y)) if i % 2 == 0 else None for i, (x, y) in enumerate(rng.integers(0, 113, (200, 2)))]
    features = np.stack([backbone.features(np.asarray(on_ground(i // 2, p))) for i, p in enumerate(places)])
    scaler = StandardScaler().fit(features)
    network = MLPClassifier((16,), alpha=1.0, max_iter=100, random_state=0)
    with warnings.catch_warnings(action="ignore"):  # enough, though the loss isn't at its lowest
        network.fit(scaler.transform(features), [int(p is None) for p in places])
    hidden = network.coefs_[0] / scaler.scale_[:, np.newaxis]
    column, bias = network.coefs_[1][:, 0], network.intercepts_[1][0]
    head = Head(
        hidden.astype(np.float32),
        (network.intercepts_[0] - scaler.mean_ @ hidden).astype(np.float32),
        np.stack([-column, column], axis=1).astype(np.float32) / 2,
        np.array([-bias, bias], np.float32) / 2,
    )

    def write(folder: Path) -> None:
        for name in old.metadata["checksums"]:
            shutil.copy(old.path / name, folder / name)
        head.save(folder / "head.npz")
        (folder / "manifest.csv").unlink()
        (folder / "replay.npz").unlink(missing_ok=True)

    version = store.save({**old.metadata, "classes": ["animal", "ground"]}, write)
    return Predictor(version, settings=settings, threads=1)


@pytest.mark.parametrize("corner", [(0, 0), (112, 0), (0, 112), (112, 112)])
def test_the_heat_map_finds_the_drawn_animal(animal_finder: Predictor, corner: tuple[int, int]) -> None:
    x, y = corner
    drawn = [encode(on_ground(seed, corner), "PNG") for seed in range(1000, 1008)]
    found = [explain(animal_finder, picture, class_id=0) for picture in drawn]
    assert sum(answer.prediction.class_name == "animal" for answer in found) >= 6
    heat = np.mean([answer.heat_map for answer in found], axis=0)
    assert heat.shape == (7, 7)
    across, down = slice(3, 7) if x else slice(0, 4), slice(3, 7) if y else slice(0, 4)
    assert heat[down, across].sum() > 0.55 * heat.sum()  # on 16 of 49 positions; measured 0.68 to 0.71
    hottest = [np.unravel_index(answer.heat_map.argmax(), (7, 7)) for answer in found]
    assert sum(column in range(7)[across] and row in range(7)[down] for row, column in hottest) >= 6


def test_the_prediction_matches_predict(predictor: Predictor, picture: bytes, tmp_path: Path) -> None:
    found = explain(predictor, picture)
    expected = predictor.predict(picture)
    assert found.prediction.class_name == expected.class_name
    assert found.prediction.confidence == pytest.approx(expected.confidence, abs=1e-3)
    assert (found.class_id, found.class_name) == (expected.class_id, expected.class_name)
    (tmp_path / "cat.jpg").write_bytes(picture)
    assert explain(predictor, tmp_path / "cat.jpg").as_dict() == found.as_dict()


def test_the_contributions_add_up_to_the_margin(predictor: Predictor, picture: bytes) -> None:
    head, features = predictor.head, predictor.features(picture)
    active = features @ head.hidden_weights + head.hidden_bias > 0
    constants = (active * head.hidden_bias) @ head.output_weights + head.output_bias
    logits = head.logits(features)
    for class_id in (0, 1):
        lead = logits[class_id] - logits[1 - class_id] - (constants[class_id] - constants[1 - class_id])
        found = explain(predictor, picture, class_id=class_id)
        assert found.contributions.sum() == pytest.approx(lead, rel=0.01)  # bf16 where the processor has it


def test_with_two_classes_evidence_for_one_counts_against_the_other(predictor: Predictor, picture: bytes) -> None:
    cat, dog = (explain(predictor, picture, class_id=class_id) for class_id in (0, 1))
    assert np.allclose(cat.contributions, -dog.contributions, rtol=1e-4, atol=1e-6)
    assert cat.prediction == dog.prediction
    assert (cat.class_name, dog.class_name) == ("Cat", "Dog")
    for found in (cat, dog):
        assert found.heat_map.dtype == np.float32
        assert found.heat_map.min() >= 0
        assert found.heat_map.max() in (0, 1)
        assert ((found.heat_map > 0) == (found.contributions > 0)).all()


def test_an_unknown_class_and_an_unusable_image_are_refused(predictor: Predictor, picture: bytes) -> None:
    for class_id in (-1, 2):
        with pytest.raises(ValueError, match=rf"class_id must be in \[0, 1\], got {class_id}"):
            explain(predictor, picture, class_id=class_id)
    with pytest.raises(PictureError):
        explain(predictor, b"no picture")


def test_a_re_encoded_training_image_finds_its_original(predictor: Predictor, drawn: Path) -> None:
    for original in (drawn / "train" / "cats" / "cat.3.jpg", drawn / "train" / "dogs" / "dog.7.jpg"):
        first, *others = explain(predictor, encode(Image.open(original), "PNG")).similar
        assert first.path == original
        assert first.class_name == original.parent.name.removesuffix("s").title()
        assert first.distance == pytest.approx(0, abs=1e-3)
        assert [s.distance for s in others] == sorted(s.distance for s in others)
        assert len(others) == 4


def test_a_training_image_is_not_listed_as_similar_to_itself(predictor: Predictor, drawn: Path) -> None:
    original = drawn / "train" / "cats" / "cat.3.jpg"
    found = explain(predictor, original, similar=3).similar
    assert len(found) == 3
    assert original not in [s.path for s in found]
    assert explain(predictor, original, similar=0).similar == ()
    # Held-out images aren't among those that the version learnt from; all the others can be asked for.
    everything = explain(predictor, original, similar=1000).similar
    assert {s.path.parent.parent.name for s in everything if s.path} == {"train"}
    assert len(everything) == len(SimilarPictures.of(predictor)) - 1


def test_similar_images_are_loaded_once_per_version(trained: Settings) -> None:
    predictor = Predictor(settings=trained, threads=1)
    loaded = SimilarPictures.of(predictor)
    assert SimilarPictures.of(predictor) is loaded
    reference = weakref.ref(loaded)
    del loaded, predictor
    gc.collect()
    assert reference() is None


def test_while_the_database_is_unavailable_the_replay_memory_is_used(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[Settings] = []

    def refuse(settings: Settings, **_: float) -> None:
        attempts.append(settings)
        raise OperationalError("SELECT", {}, ConnectionError("refused"))

    predictor = Predictor(settings=home, threads=1)
    (predictor.version.path / "replay.npz").unlink()  # in a small home it holds all that the cache does
    with monkeypatch.context() as away:
        away.setattr("catdog.storage.database.open_database", refuse)
        for _ in range(3):
            assert len(SimilarPictures.of(predictor)) == 0
    assert len(attempts) == 1
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + RETRY_SECONDS)
    assert len(SimilarPictures.of(predictor)) > 40


def test_a_slow_database_delays_no_prediction_and_no_second_explanation(
    home: Settings, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, may_answer = threading.Event(), threading.Event()

    def wait(*_: object, **__: float) -> None:
        asked.set()
        assert may_answer.wait(60)
        raise OperationalError("SELECT", {}, ConnectionError("silent"))

    model = LiveModel(home)
    model.refresh()
    monkeypatch.setattr("catdog.storage.database.open_database", wait)
    with ThreadPoolExecutor(1) as pool:
        explanation = pool.submit(model.explain, picture)
        try:
            assert asked.wait(60)
            assert model.predict(picture)[0].class_name in ("Cat", "Dog")
            assert model.explain(picture).similar
            assert not explanation.done()
        finally:
            may_answer.set()
        assert explanation.result().similar


def without_cache(home: Settings) -> Settings:
    """Delete the database, as on a machine that has the models only."""
    for path in home.home.glob("catdog.db*"):
        path.unlink()
    return home


def carry(home: Settings, replay: Replay) -> Predictor:
    """Save a version that carries features, on a machine where none are cached."""
    store = ModelStore(without_cache(home).models_dir)
    old = store.get()

    def write(folder: Path) -> None:
        for name in old.metadata["checksums"]:
            shutil.copy(old.path / name, folder / name)
        replay.save(folder / "replay.npz")

    return Predictor(store.save(old.metadata, write), settings=home, threads=1)


def test_changed_images_find_their_originals_in_the_replay_memory(home: Settings, predictor: Predictor) -> None:
    places = np.random.default_rng(9).integers(0, 113, (24, 2)).tolist()
    pictures = [on_ground(seed, (x, y)) for seed, (x, y) in enumerate(places)]
    features = np.stack([predictor.features(encode(p, quality=90)) for p in pictures]).astype(np.float16)
    labels, hashes = np.arange(24) % 2, np.array([f"{number:064x}" for number in range(24)])
    split = np.array(["train"] * 22 + ["test"] * 2)
    ours = carry(home, Replay(features, labels, hashes, split))
    assert len(SimilarPictures.of(ours)) == 22
    found = []
    for number, picture in enumerate(pictures[:22]):
        first = explain(ours, encode(ImageEnhance.Brightness(picture).enhance(1.02), quality=80), similar=1).similar[0]
        assert first.class_name == ("Cat", "Dog")[int(first.sha256, 16) % 2]
        assert first.path is None
        found.append(first.sha256 == hashes[number])
    assert sum(found) >= 16  # measured 20; ImageNet weights find every photograph, these were never trained
    assert not (home.home / "catdog.db").exists()


def test_carried_features_that_do_not_fit_are_refused(home: Settings) -> None:
    hashes, split = np.array(["0" * 64]), np.array(["train"])
    for width, label in ((1279, 0), (1280, 2)):
        replay = Replay(np.ones((1, width), np.float16), np.array([label]), hashes, split)
        with pytest.raises(VersionCorruptError, match="doesn't fit"):
            SimilarPictures(carry(home, replay))


def test_without_training_features_there_is_still_a_heat_map(animal_finder: Predictor) -> None:
    found = explain(animal_finder, encode(on_ground(0, (0, 0))))
    assert found.similar == ()
    assert found.heat_map.max() == 1


def test_a_deleted_or_moved_image_is_shown_without_a_path(home: Settings, picture: bytes) -> None:
    store = ModelStore(home.models_dir)
    metadata = json.loads((store.folder / "1" / "metadata.json").read_text())
    metadata["data"]["root"] = str(home.home / "moved")
    (store.folder / "1" / "metadata.json").write_text(json.dumps(metadata))
    found = explain(Predictor(settings=home, threads=1), picture).similar
    assert [s.path for s in found] == [None] * 5
    assert all(len(s.sha256) == 64 for s in found)


def test_features_of_another_backbone_are_not_compared(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    read = FeatureCache.read
    monkeypatch.setattr(FeatureCache, "read", lambda self, *a, **k: asked.append(self._backbone) or read(self, *a, **k))
    predictor = Predictor(settings=home, threads=1)
    SimilarPictures(predictor)
    assert asked == [predictor.backbone.info.id]


def test_the_rendered_map_is_transparent_where_cold_and_opaque_where_hot() -> None:
    image = Image.open(io.BytesIO(render_heat_map(BELOW_RIGHT, (300, 200))))
    assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (300, 200))
    alpha = np.asarray(image)[..., 3]
    assert alpha[:100, :150].max() == 0
    assert alpha[180:, 280:].min() == 255
    assert np.asarray(Image.open(io.BytesIO(render_heat_map(np.zeros((7, 7), np.float32), (9, 9)))))[..., 3].max() == 0


def test_hotter_positions_are_brighter_and_more_opaque() -> None:
    ramp = np.tile(np.linspace(0, 1, 7, dtype=np.float32), (7, 1))
    pixels = np.asarray(Image.open(io.BytesIO(render_heat_map(ramp, (210, 30)))))[15].astype(float)
    luminance = pixels[:, :3] @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(luminance) >= -1).all()
    assert luminance[-1] - luminance[0] > 150
    assert (np.diff(pixels[:, 3]) >= 0).all()


def test_the_overlay_has_the_requested_opacity() -> None:
    ground = encode(Image.new("RGB", (320, 240), (40, 60, 200)), quality=95)
    plain = np.asarray(Image.open(io.BytesIO(ground))).astype(int)
    shown = [np.asarray(Image.open(io.BytesIO(overlay(ground, BELOW_RIGHT, o)))).astype(int) for o in (0, 0.3, 1)]
    assert [pixels.shape for pixels in shown] == [(240, 320, 3)] * 3
    assert np.abs(shown[0] - plain).max() <= 4
    difference = [np.abs(pixels - plain)[200:, 280:].mean() for pixels in shown]
    assert difference[0] < difference[1] < difference[2]
    hot = np.asarray(Image.open(io.BytesIO(render_heat_map(BELOW_RIGHT, (320, 240)))))[230, 310, :3].astype(int)
    assert np.abs(shown[2][230, 310] - hot).max() <= 6
    with pytest.raises(ValueError, match=r"opacity must be in \[0, 1\], got 1.5"):
        overlay(ground, BELOW_RIGHT, 1.5)


def test_the_overlay_is_upright_and_of_bounded_size() -> None:
    image = Image.new("RGB", (2600, 1300), "black")
    image.paste("white", (0, 0, 2600, 650))  # stored: white above; held so that it is white to the right
    exif = Image.Exif()
    exif[0x0112] = 6
    shown = Image.open(io.BytesIO(overlay(encode(image, exif=exif), BELOW_RIGHT, 0.8)))
    assert (shown.format, shown.size) == ("JPEG", (512, 1024))
    assert not shown.getexif()
    pixels = np.asarray(shown).astype(int)
    assert pixels[100, 400].min() > 250
    assert pixels[100, 100].max() < 5
    assert pixels[1000, 480, 0] - pixels[1000, 480, 2] > 60  # hot below to the right of what people see


def run(home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line, and report on stderr whether TensorFlow was loaded."""
    code = (
        "import sys\nfrom catdog.cli import main\ntry: main()\n"
        "finally: print({'tensorflow', 'keras'} & set(sys.modules), file=sys.stderr)"
    )
    environment = {**os.environ, "CATDOG_HOME": str(home), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, env=environment, check=False
    )


def test_the_command_writes_its_files_without_tensorflow(trained: Settings, drawn: Path, tmp_path: Path) -> None:
    picture, folder = drawn / "test" / "dogs" / "dog.10001.jpg", tmp_path / "why" / "dog"
    finished = run(trained.home, "explain", picture, "--out", folder, "--similar", 3, "--opacity", 0.7)
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.strip() == "set()"
    assert "Most similar training images" in finished.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["explanation.json", "heat_map.png", "overlay.jpg"]
    document = json.loads((folder / "explanation.json").read_text())
    assert document["prediction"] == Predictor(settings=trained).predict(picture).as_dict() | {
        key: pytest.approx(document["prediction"][key], abs=1e-3) for key in ("confidence", "novelty")
    } | {"probabilities": pytest.approx(document["prediction"]["probabilities"], abs=1e-3)}
    assert document["explained"]["class"] == document["prediction"]["class"]
    assert np.shape(document["heat_map"]) == (7, 7)
    assert [set(entry) for entry in document["similar"]] == [{"class", "distance", "sha256", "path"}] * 3
    assert all(Path(entry["path"]).is_file() for entry in document["similar"])
    with Image.open(folder / "heat_map.png") as heat, Image.open(folder / "overlay.jpg") as laid_over:
        assert heat.size == laid_over.size == Image.open(picture).size


def test_the_command_explains_another_class_and_prints_one_document(
    trained: Settings, drawn: Path, tmp_path: Path
) -> None:
    picture = drawn / "test" / "dogs" / "dog.10001.jpg"
    finished = run(trained.home, "explain", picture, "--out", tmp_path / "a", "--class", "cat", "--json")
    document = json.loads(finished.stdout)
    assert document == json.loads((tmp_path / "a" / "explanation.json").read_text())
    assert document["explained"] == {"class": "Cat", "class_id": 0}
    refused = run(trained.home, "explain", picture, "--out", tmp_path / "b", "--class", "bird")
    assert refused.returncode == 2
    assert "Unknown class 'bird'. Use one of cat, dog." in refused.stderr
    assert not (tmp_path / "b").exists()
    blocked = run(trained.home, "explain", picture, "--out", picture)
    assert blocked.returncode == 1
    assert "Can't write to the folder" in blocked.stderr


@pytest.mark.shared
def test_real_photographs_are_explained(predictor: Predictor, shared: Path) -> None:
    for path in sorted((shared / "photos").glob("*.jpg"))[:3]:
        found = explain(predictor, path)
        assert found.contributions.shape == (7, 7)
        assert found.prediction.class_id == predictor.predict(path).class_id
        with Image.open(path) as original, Image.open(io.BytesIO(overlay(path, found.heat_map))) as laid_over:
            assert max(laid_over.size) <= 1024
            assert laid_over.width / laid_over.height == pytest.approx(original.width / original.height, rel=0.01)
