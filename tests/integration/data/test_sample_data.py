"""Sample data: reproducible, learnable, and written atomically."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catdog.data.dataset import scan
from catdog.data.images.pixels import Limits, decode
from catdog.data.sample import CLASSES, SampleData, write_sample_data
from catdog.errors import DatasetError
from catdog.features.backbone import Backbone
from catdog.prediction.predictor import Predictor
from catdog.registry.starter import BUNDLE, ensure_champion
from catdog.settings import Settings


@pytest.fixture(scope="module")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> SampleData:
    return write_sample_data(tmp_path_factory.mktemp("drawn") / "sample", classes=12, per_class=12)


def contents(folder: Path) -> dict[str, str]:
    """Map each file below a folder to the hash of its bytes."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def catdog(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "catdog", "data", "sample", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_the_sample_has_two_splits_of_each_class_and_other_things(twelve: SampleData) -> None:
    folders = {path.parent for path in twelve.folder.rglob("*.jpg")}
    expected = {twelve.folder / split / name for split in ("train", "test") for name in CLASSES}
    assert folders == {*expected, twelve.folder / "other"}
    assert {len(list((twelve.folder / "train" / name).iterdir())) for name in CLASSES} == {12}
    assert {len(list((twelve.folder / "test" / name).iterdir())) for name in CLASSES} == {4}
    assert twelve.counts == {"train": dict.fromkeys(CLASSES, 12), "test": dict.fromkeys(CLASSES, 4)}
    assert len(list((twelve.folder / "other").glob("*.jpg"))) == twelve.other == 12


def test_other_things_are_none_of_the_classes(twelve: SampleData, tmp_path: Path) -> None:
    def kinds(folder: Path) -> set[str]:
        return {path.name.partition(".")[0] for path in folder.rglob("*.jpg")}

    two = write_sample_data(tmp_path / "two", per_class=10).folder
    for folder in (twelve.folder, two):
        assert not kinds(folder / "other") & (kinds(folder / "train") | kinds(folder / "test"))
    assert len(kinds(two / "other")) == 12


def test_images_are_jpeg_of_several_sizes(twelve: SampleData) -> None:
    sizes = set()
    for path in twelve.folder.rglob("*.jpg"):
        with Image.open(path) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB")
            sizes.add(image.size)
    assert len(sizes) >= 5
    assert max(max(size) for size in sizes) <= 320
    assert min(min(size) for size in sizes) >= 160


def test_the_same_seed_draws_the_same_images(tmp_path: Path) -> None:
    first, again, other = (
        contents(write_sample_data(tmp_path / str(i), per_class=10, seed=seed).folder)
        for i, seed in enumerate((3, 3, 4))
    )
    assert first == again
    assert first.keys() == other.keys()
    assert not set(first.values()) & {other[name] for name in other if name.endswith(".jpg")}


def test_an_image_is_the_same_in_a_larger_sample(twelve: SampleData, tmp_path: Path) -> None:
    small = contents(write_sample_data(tmp_path / "small", classes=3, per_class=10).folder)
    large = contents(twelve.folder)
    shared = [name for name in small if not name.startswith("other")]
    assert len(shared) == 3 * (10 + 4)
    assert {name: small[name] for name in shared} == {name: large[name] for name in shared}


def test_no_image_is_drawn_twice_even_nearly(twelve: SampleData) -> None:
    """A test split that repeats training images would measure memory."""
    thumbnails = [
        np.asarray(Image.open(path).convert("L").resize((16, 16)), float).ravel()
        for path in twelve.folder.rglob("*.jpg")
    ]
    distances = np.linalg.norm(np.stack(thumbnails)[:, None] - np.stack(thumbnails)[None], axis=2) / 16
    assert distances[~np.eye(len(thumbnails), dtype=bool)].min() > 5  # mean difference in grey levels


def test_catdog_finds_the_classes_and_skips_the_other_things(twelve: SampleData, settings: Settings) -> None:
    manifest = scan(twelve.folder, settings).manifest
    assert set(manifest.classes) == set(CLASSES)
    assert manifest.rejected == ()
    assert manifest.duplicates == 0
    assert len(manifest.pictures) == 12 * 16


def test_the_bundled_backbone_distinguishes_the_classes(twelve: SampleData) -> None:
    """The nearest class mean of 12 images is correct for most test images, but some are hard."""
    backbone = Backbone(BUNDLE / "backbone", precision="f32")

    def features(split: str) -> np.ndarray:
        size = backbone.info.image_size
        limits = Limits()
        batch = [
            decode(path.read_bytes(), size, limits)
            for name in CLASSES
            for path in sorted((twelve.folder / split / name).iterdir())
        ]
        found = np.stack([backbone.features(image) for image in batch])
        unit: np.ndarray = found / np.linalg.norm(found, axis=1, keepdims=True)
        return unit.reshape(12, -1, found.shape[1])

    means, test = features("train").mean(axis=1), features("test")
    nearest = (test @ means.T).argmax(axis=2)
    right = nearest == np.arange(12)[:, None]
    assert right.mean() >= 0.85
    assert right[:2].mean() >= 0.6, "cats and dogs"


def test_the_bundled_model_recognises_most_drawn_cats_and_dogs(twelve: SampleData, settings: Settings) -> None:
    ensure_champion(settings.models_dir)
    predictor = Predictor(settings=settings)
    for name, label in (("cats", "Cat"), ("dogs", "Dog")):
        answers = [predictor.predict(path) for path in sorted((twelve.folder / "train" / name).iterdir())]
        assert sum(answer.class_name == label for answer in answers) >= 10, name


def test_a_sample_is_drawn_into_an_empty_folder_that_exists(tmp_path: Path) -> None:
    write_sample_data(tmp_path, per_class=10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "test", "train"]


def test_missing_parent_folders_are_created(tmp_path: Path) -> None:
    write_sample_data(tmp_path / "a" / "b", per_class=10)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_a_folder_that_is_not_empty_is_rejected_and_left_unchanged(tmp_path: Path) -> None:
    (tmp_path / ".hidden").touch()
    with pytest.raises(DatasetError, match=r"isn't empty.*new folder"):
        write_sample_data(tmp_path, per_class=10)
    assert [path.name for path in tmp_path.iterdir()] == [".hidden"]


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_a_path_that_is_not_a_folder_is_rejected_and_left_unchanged(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    path.write_text("mine") if kind == "file" else path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="Name a folder"):
        write_sample_data(path, per_class=10)
    assert [found.name for found in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    "wrong", [{"classes": 1}, {"classes": 13}, {"per_class": 9}, {"per_class": -1}, {"seed": -1}], ids=str
)
def test_numbers_out_of_range_are_rejected(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(DatasetError):
        write_sample_data(tmp_path / "new", **wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("folder", [".", "new", "a/b"])
def test_an_interrupted_drawing_leaves_nothing(tmp_path: Path, folder: str, error: type[BaseException]) -> None:
    def stop(done: int, _total: int) -> None:
        if done == 5:
            raise error

    with pytest.raises(error):
        write_sample_data(tmp_path / folder, per_class=10, on_progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_filled_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    def write_too(done: int, _total: int) -> None:
        if done == 1:
            (tmp_path / "new").mkdir()
            (tmp_path / "new" / "mine").touch()

    with pytest.raises(DatasetError, match="isn't empty"):
        write_sample_data(tmp_path / "new", per_class=10, on_progress=write_too)
    assert contents(tmp_path).keys() == {"new/mine"}


def test_progress_counts_each_image(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write_sample_data(tmp_path / "new", per_class=10, on_progress=lambda *counts: told.append(counts))
    assert told == [(i + 1, 40) for i in range(40)]
    assert all(after[0] > before[0] for before, after in pairwise(told))


def test_the_command_reports_the_sample_and_the_next_step(tmp_path: Path) -> None:
    finished = catdog("pets", "--per-class", "10", "--classes", "3", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "rabbits" in finished.stdout
    assert "catdog train pets" in finished.stdout
    assert len(list((tmp_path / "pets").rglob("*.jpg"))) == 3 * 14 + 12
    assert [path.name for path in tmp_path.iterdir()] == ["pets"]  # nothing else was written


def test_the_command_writes_json(tmp_path: Path) -> None:
    finished = catdog("pets", "--per-class", "10", "--seed", "5", "--json", cwd=tmp_path)
    counts = {"train": {"cats": 10, "dogs": 10}, "test": {"cats": 4, "dogs": 4}}
    assert json.loads(finished.stdout) == {"folder": "pets", "counts": counts, "other": 12}


def test_the_command_rejects_a_folder_in_use(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    finished = catdog(".", cwd=tmp_path)
    assert (finished.returncode, finished.stdout) == (1, "")
    assert "isn't empty" in finished.stderr


@pytest.mark.parametrize("wrong", [("--classes", "1"), ("--classes", "13"), ("--per-class", "9"), ("--seed", "-1")])
def test_the_command_rejects_numbers_out_of_range(tmp_path: Path, wrong: tuple[str, str]) -> None:
    finished = catdog("pets", *wrong, cwd=tmp_path)
    assert finished.returncode == 2
    assert wrong[0] in finished.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "catdog", "data", "sample", "pets", "--per-class", "5000"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.rglob("*.jpg")) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Nothing was written" in said
    assert list(tmp_path.iterdir()) == []


def test_drawing_needs_only_pillow_and_numpy(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from catdog.data.sample import write_sample_data\n"
        "write_sample_data(Path('pets'), per_class=10)\n"
        "print({'openvino', 'tensorflow', 'keras', 'scipy', 'sklearn', 'sqlalchemy', 'requests'} & set(sys.modules))"
    )
    finished = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "set()"
