"""The review finds wrong labels, batches to exclude, and copies of test images."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from drawing import draw, encode
from PIL import Image

from catdog.features.embedding import FeatureCache
from catdog.features.replay import Replay
from catdog.prediction.predictor import Predictor
from catdog.registry.starter import ensure_champion
from catdog.registry.store import ModelStore
from catdog.retraining.uploads.review import find_doubted, find_near_copies, find_pairs, report, review
from catdog.retraining.uploads.storage import DOUBTED, NEAR_COPY
from catdog.retraining.uploads.uploads import Uploads
from catdog.settings import Settings
from catdog.storage import database


def two_kinds(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features of two separable classes, `(count, 32)`, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    features = rng.normal(0, 1, (count, 32)) + np.where(labels[:, np.newaxis] == 1, 2, -2) * (np.arange(32) < 8)
    return features.astype(np.float16), labels


@pytest.fixture
def uploads(home: Settings) -> Iterator[Uploads]:
    made = Uploads(home, database.open_database(home))
    yield made
    made.storage.engine.dispose()


def drawings(animal: str, first: int, count: int) -> list[tuple[str, bytes]]:
    return [(f"{animal}.{i}.jpg", encode(draw(animal, i))) for i in range(first, first + count)]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5])
def test_flipped_labels_are_found_and_others_are_not(share: float) -> None:
    base, base_labels = two_kinds(300, 1)
    features, truth = two_kinds(100, 2)
    flipped = np.random.default_rng(3).permutation(100)[: int(share * 100)]
    labels = truth.copy()
    labels[flipped] = 1 - labels[flipped]
    doubted, quality = find_doubted(features, labels, ["one"] * 100, base, base_labels)
    assert doubted[flipped].all()
    assert np.delete(doubted, flipped).mean() <= 0.02
    assert quality[flipped].max(initial=0) < 0.5


def test_a_batch_does_not_vouch_for_itself() -> None:
    base, base_labels = two_kinds(60, 1)
    features, truth = two_kinds(400, 2)  # far more than the base, and all of it wrong
    doubted, _ = find_doubted(features, 1 - truth, ["one"] * 400, base, base_labels)
    assert doubted.mean() > 0.9


def test_without_images_there_are_no_issues() -> None:
    base, base_labels = two_kinds(60, 1)
    doubted, quality = find_doubted(base[:0], base_labels[:0], [], base, base_labels)
    assert doubted.shape == quality.shape == (0,)
    assert find_near_copies(base[:0], base).shape == (0,)
    assert not find_near_copies(base, base[:1]).any()


def test_near_duplicates_and_pairs_are_found() -> None:
    rng = np.random.default_rng(0)
    test = rng.normal(0, 1, (50, 64)).astype(np.float32)
    copies = test[[3, 7]] + rng.normal(0, 0.05, (2, 64))
    others = rng.normal(0, 1, (20, 64))
    assert find_near_copies(np.concatenate([others, copies]), test).tolist() == [False] * 20 + [True] * 2
    assert find_pairs(np.concatenate([others, others[4:5] * 1.01]), 0.1) == [(4, 20)]


def test_a_batch_of_wrong_labels_is_kept_out_until_a_person_confirms(uploads: Uploads) -> None:
    good = uploads.add(drawings("cat", 7000, 12), "cats").batch
    bad = uploads.add(drawings("dog", 7000, 7), "dogs").batch
    uploads.add(drawings("cat", 7100, 5), "dogs", bad)
    findings = review(uploads)
    assert {row["batch"]: row["verdict"] for row in findings["batches"]} == {good: "fine", bad: "quarantined"}
    wrong = {row.id for row in uploads.page(limit=99)[0] if row.folder == "dogs" and "cat" in row.name}
    doubted = {row["id"] for row in findings["doubted"]}
    assert doubted <= wrong
    assert len(doubted) >= len(wrong) - 1  # features of an untrained network, which differ between processors
    assert {row.batch for row in uploads.active()} == {good}
    kept_out = [row for row in uploads.page(limit=99)[0] if row.problem]
    assert {row.problem for row in kept_out} == {DOUBTED}
    assert {row.predicted for row in kept_out if row.id in wrong} == {"cats"}

    uploads.relabel(wrong, "cats")
    assert wrong <= {row.id for row in uploads.active()}
    findings = review(uploads)
    assert [row["verdict"] for row in findings["batches"]] == ["fine", "fine"]
    assert len(uploads.active()) == 24


def test_uploads_in_the_replay_memory_do_not_confirm_themselves(uploads: Uploads, home: Settings) -> None:
    bad = uploads.add(drawings("cat", 7000, 12), "dogs").batch
    review(uploads)
    rows = uploads.page(limit=99)[0]
    cached = FeatureCache(uploads.storage.engine, Predictor(settings=home).backbone.info.id)
    vectors = cached.read([row.sha256 for row in rows], 0)
    store = ModelStore(home.models_dir)
    version = store.get()
    old = Replay.load(version.path / "replay.npz")
    split = ["test" if row.held_out else "train" for row in rows]
    added = Replay(
        np.array([vectors[row.sha256] for row in rows] * 5),
        np.ones(60, np.int64),
        np.array([row.sha256 for row in rows] * 5),
        np.array(split * 5),
    )
    both = Replay(*(np.concatenate(pair) for pair in zip(vars(old).values(), vars(added).values(), strict=True)))

    def write(folder: Path) -> None:
        for name in ("head.npz", "novelty.npz", "manifest.csv"):
            shutil.copyfile(version.path / name, folder / name)
        both.save(folder / "replay.npz")

    kept = {key: version.metadata[key] for key in ("classes", "backbone", "metrics")}
    store.promote(store.save(kept, write).number, "trained on the uploads")
    findings = review(uploads)
    assert findings["near_copies"] == []
    assert [(row["batch"], row["verdict"]) for row in findings["batches"]] == [(bad, "quarantined")]


def test_the_report_has_current_counts_and_says_if_its_findings_are_current(uploads: Uploads) -> None:
    uploads.add(drawings("cat", 7000, 6), "cats", "first", "192.0.2.1")
    uploads.add(drawings("dog", 7000, 2), "dogs", "second", "192.0.2.2")
    before = report(uploads)
    assert before["review"] is None
    assert [(row["batch"], row["pictures"], row["share"]) for row in before["batches"]] == [
        ("first", 6, 0.75),
        ("second", 2, 0.25),
    ]
    assert before["uploaders"][0]["uploader"] == "192.0.2.1"
    review(uploads)
    assert report(uploads)["review"]["is_current"] is True
    assert report(uploads)["review"]["pictures"] == 8
    uploads.remove([1])
    after = report(uploads)
    assert after["review"]["is_current"] is False
    assert after["counts"]["removed"]["cats"] == 1


@pytest.mark.shared
@pytest.mark.parametrize(("flipped", "verdict"), [(0.0, "fine"), (0.3, "quarantined")])
def test_real_photographs(shared: Path, settings: Settings, flipped: float, verdict: str) -> None:
    ensure_champion(settings.models_dir)
    uploads = Uploads(settings, database.open_database(settings))
    for number, path in enumerate(sorted((shared / "elsewhere").glob("*/*.jp*g"))):
        classes = ("cats", "dogs") if path.parent.name == "cats" else ("dogs", "cats")
        uploads.add([(path.name, path.read_bytes())], classes[number % 10 < flipped * 10], "one")
    assert uploads.counts()["total"] > 30
    findings = review(uploads)
    assert findings["near_copies"] == []
    assert [row["verdict"] for row in findings["batches"]] == [verdict]
    uploads.storage.engine.dispose()


@pytest.mark.shared
def test_copies_of_test_photographs_are_kept_out_for_good(shared: Path, settings: Settings) -> None:
    ensure_champion(settings.models_dir)
    uploads = Uploads(settings, database.open_database(settings))
    for split, count in (("test", 8), ("train", 8)):
        paths = sorted((shared / "cat-and-dog" / split / "cats").glob("*.jpg"))[:count]
        uploads.add([(split, encode(Image.open(path), quality=90)) for path in paths], "cats")
    findings = review(uploads)
    copies = uploads.page(limit=99, folder="cats")[0]
    assert {row.id for row in copies if row.problem == NEAR_COPY} == {row.id for row in copies if row.name == "test"}
    assert len(findings["near_copies"]) == 8
    uploads.confirm(findings["near_copies"])
    assert {row.name for row in uploads.active()} == {"train"}
    uploads.storage.engine.dispose()
