import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawing import encode
from PIL import Image, ImageDraw

from catdog.errors import StoreError, VersionNotFoundError
from catdog.evaluation.measure import evaluate
from catdog.features.replay import Replay
from catdog.prediction.predictor import Predictor
from catdog.registry.starter import BUNDLE, ensure_champion, write_bundle
from catdog.registry.store import ModelStore
from catdog.settings import Settings, load_settings
from catdog.training.backbones import resolve_backbone


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """The bundled model, installed on a machine that never trained."""
    settings = load_settings(home=tmp_path_factory.mktemp("fresh"))
    ensure_champion(settings.models_dir)
    return Predictor(settings=settings)


def test_the_bundle_is_small_and_holds_no_photographs() -> None:
    files = [path for path in BUNDLE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 25_000_000
    assert {path.suffix for path in files if "__pycache__" not in path.parts} <= {
        ".py", ".json", ".npz", ".keras", ".h5", ".xml", ".bin", ".csv",
    }  # fmt: skip
    metadata = json.loads((BUNDLE / "version" / "metadata.json").read_text())
    assert "root" not in metadata["data"]
    assert metadata["parameters"]["fine_tune"]["blocks"] is None  # every layer


def test_it_is_installed_once_as_version_1(starter: Predictor) -> None:
    store = ModelStore(starter.settings.models_dir)
    assert store.numbers() == [1]
    assert store.history()[0].reason == "the bundled model"
    ensure_champion(store.folder)
    assert store.numbers() == [1]
    assert len(store.history()) == 1


def test_it_does_not_replace_what_was_trained(home: Settings) -> None:
    before = ModelStore(home.models_dir).get().metadata
    ensure_champion(home.models_dir)
    assert ModelStore(home.models_dir).get().metadata == before


def test_a_removed_champion_is_not_replaced_silently(home: Settings) -> None:
    (home.models_dir / "champion.json").unlink()
    ensure_champion(home.models_dir)
    with pytest.raises(VersionNotFoundError):
        ModelStore(home.models_dir).get()


def test_its_backbone_can_be_reused_for_training(settings: Settings) -> None:
    folder = resolve_backbone("starter", settings)
    assert folder.parent == settings.models_dir / "backbones"
    assert resolve_backbone("starter", settings) == folder
    assert ModelStore(settings.models_dir).numbers() == []


def test_its_replay_memory_measures_as_its_metadata_says(starter: Predictor) -> None:
    replay = Replay.load(starter.version.path / "replay.npz")
    test = replay.split == "test"
    assert (~test).sum() == 1000
    assert np.bincount(replay.labels[~test]).tolist() == [500, 500]
    accuracy = (starter.head.logits(replay.features[test]).argmax(1) == replay.labels[test]).mean()
    assert accuracy == pytest.approx(starter.version.metadata["metrics"]["accuracy"], abs=1e-9)
    seen = starter.version.training_hashes()
    assert set(replay.sha256[~test]) <= seen
    assert not set(replay.sha256[test]) & seen


def made_things() -> dict[str, Image.Image]:
    """Images that show no animal: noise, gradients, text, plain colour, stripes."""
    rng = np.random.default_rng(0)
    ramp = np.tile(np.linspace(0, 255, 256, dtype=np.uint8), (256, 1))
    page = Image.new("RGB", (400, 300), "white")
    pen = ImageDraw.Draw(page)
    for line in range(0, 300, 14):
        pen.text((10, line), "the quick brown fox jumps over the lazy dog " * 2, "black")
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[::16] = (255, 0, 0)
    return {
        "noise": Image.fromarray(rng.integers(0, 256, (256, 256, 3), np.uint8)),
        "gradient": Image.fromarray(ramp).convert("RGB"),
        "colours": Image.fromarray(np.dstack([ramp, ramp.T, ramp[::-1]])),
        "text": page,
        "plain": Image.new("RGB", (256, 256), (30, 120, 200)),
        "stripes": Image.fromarray(stripes),
    }


@pytest.mark.parametrize("name", made_things())
def test_synthetic_images_are_neither(starter: Predictor, name: str) -> None:
    assert starter.predict(encode(made_things()[name], "PNG")).verdict == "neither"


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_photographs_of_other_objects_are_neither(starter: Predictor, name: str) -> None:
    from sklearn.datasets import load_sample_image

    assert starter.predict(encode(Image.fromarray(load_sample_image(name)))).verdict == "neither"


def test_a_bundle_is_a_version_without_its_report(home: Settings, tmp_path: Path) -> None:
    version = ModelStore(home.models_dir).get(1)
    size = write_bundle(version, tmp_path / "bundle")
    assert size == sum(path.stat().st_size for path in (tmp_path / "bundle").rglob("*") if path.is_file())
    store = ModelStore(tmp_path / "models")
    adopted = store.adopt(tmp_path / "bundle" / "version")
    assert adopted.classes == version.classes
    assert not (adopted.path / "report.html").exists()
    with pytest.raises(StoreError, match="already contains a bundle"):
        write_bundle(version, tmp_path / "bundle")


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_bundle_whose_writing_was_killed_is_replaced(home: Settings, tmp_path: Path, renames: int) -> None:
    """Writing is killed before metadata, backbone and version are renamed into place."""
    write = (
        "import os, pathlib, signal, sys\n"
        "from catdog.registry.starter import write_bundle\n"
        "from catdog.registry.store import ModelStore\n"
        f"left, replace = [{renames}], pathlib.Path.replace\n"
        "def step(path, target):\n"
        "    left[0] -= 1\n"
        "    if left[0] < 0:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return replace(path, target)\n"
        "pathlib.Path.replace = step\n"
        "write_bundle(ModelStore(pathlib.Path(sys.argv[1])).get(1), pathlib.Path(sys.argv[2]))"
    )
    bundle = tmp_path / "bundle"
    killed = subprocess.run([sys.executable, "-c", write, str(home.models_dir), str(bundle)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (bundle / "version").exists()
    write_bundle(ModelStore(home.models_dir).get(1), bundle)
    assert ModelStore(tmp_path / "models").adopt(bundle / "version").number == 1


def test_a_folder_named_like_a_backbone_is_left_alone(home: Settings, tmp_path: Path) -> None:
    (tmp_path / "backbone").mkdir()
    (tmp_path / "backbone" / "mine.txt").write_text("mine")
    with pytest.raises(StoreError, match="Can't read the backbone"):
        write_bundle(ModelStore(home.models_dir).get(1), tmp_path)
    assert (tmp_path / "backbone" / "mine.txt").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} <= {"backbone", "home"}


@pytest.mark.slow
@pytest.mark.shared
def test_real_cats_and_dogs_are_classified_correctly(starter: Predictor, shared: Path) -> None:
    evaluation, _, _ = evaluate(starter, shared / "cat-and-dog" / "test", starter.settings, other=shared / "other")
    assert evaluation.metrics["accuracy"] > 0.99
    assert evaluation.metrics["ece"] <= 0.01
    assert evaluation.metrics["coverage"] >= 0.98
    assert evaluation.seen_in_training == 0
    assert evaluation.other is not None
    assert evaluation.other.accepted_share <= 0.03
    elsewhere, _, _ = evaluate(starter, shared / "elsewhere", starter.settings)
    # One of the 41 lies so near the border that bf16 and f32 fall on either side of it.
    assert elsewhere.metrics["coverage"] >= 0.92


@pytest.mark.shared
def test_orientation_and_encoding_do_not_change_the_answer(starter: Predictor, shared: Path) -> None:
    path = sorted((shared / "photos").iterdir())[0]
    expected = starter.predict(path)
    with Image.open(path) as picture:
        turned = picture.convert("RGB").transpose(Image.Transpose.ROTATE_90)
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(buffer, "JPEG", quality=97, exif=exif)
    answer = starter.predict(buffer.getvalue())
    assert answer.class_name == expected.class_name
    assert answer.confidence == pytest.approx(expected.confidence, abs=0.05)


def test_it_is_installed_if_the_only_version_was_never_promoted(settings: Settings) -> None:
    store = ModelStore(settings.models_dir)
    assert store.adopt(BUNDLE / "version").number == 1  # as `catdog train --no-promote` leaves it
    for _ in range(2):
        ensure_champion(settings.models_dir)
        assert store.numbers() == [1, 2]
        assert (store.champion(), store.history()[0].reason) == (2, "the bundled model")
    assert Predictor(settings=settings).version.number == 2
    (store.folder / "champion.json").unlink()  # and where that is removed later, nothing takes its place
    ensure_champion(settings.models_dir)
    assert store.champion() is None
