import json
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny import write_backbone

from catdog.errors import StoreError, VersionCorruptError, VersionNotFoundError
from catdog.model.head import Head
from catdog.model.novelty import NoveltyReference
from catdog.registry.store import ModelStore, remove_leftovers
from catdog.storage.files import file_sha256

METADATA = {"classes": ["cats", "dogs"], "backbone": "none", "metrics": {"accuracy": 1.0, "n": 1}}


def write_head(folder: Path) -> None:
    zeros = np.zeros
    Head(zeros((4, 3), "f4"), zeros(3, "f4"), zeros((3, 2), "f4"), zeros(2, "f4")).save(folder / "head.npz")
    ones = np.ones
    NoveltyReference(zeros(4, "f4"), ones((4, 2), "f4"), ones((5, 2), "f4"), 1, 0.5).save(folder / "novelty.npz")


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    write_backbone(tmp_path / "models" / "backbones" / "none")
    return ModelStore(tmp_path / "models")


def save(store: ModelStore, count: int = 1) -> None:
    for _ in range(count):
        store.save(METADATA, write_head)


def test_versions_are_numbered_and_found(store: ModelStore) -> None:
    assert store.numbers() == []
    save(store, 3)
    assert store.numbers() == [1, 2, 3]
    version = store.get(2)
    assert (version.number, version.classes) == (2, ("cats", "dogs"))
    assert version.metadata["version"] == 2
    assert version.load_head().output_bias.shape == (2,)


def test_missing_versions_are_named(store: ModelStore) -> None:
    with pytest.raises(VersionNotFoundError, match="catdog train DATA"):
        store.get()
    save(store)
    with pytest.raises(VersionNotFoundError, match=r"No version 7 .*Available: 1\."):
        store.get(7)
    with pytest.raises(VersionNotFoundError):
        store.promote(7, "test")
    assert store.champion() is None


def save_in_process(folder: str) -> None:
    for _ in range(5):
        ModelStore(Path(folder)).save(METADATA, write_head)


def test_concurrent_trainings_make_separate_versions(store: ModelStore) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=save_in_process, args=(str(store.folder),)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert store.numbers() == list(range(1, 16))
    assert all(store.get(number).metadata["version"] == number for number in store.numbers())
    assert not list(store.folder.glob(".new-*"))


def test_a_failed_save_leaves_nothing(store: ModelStore) -> None:
    def fail(folder: Path) -> None:
        write_head(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match=r"No space left on device.*Nothing was changed"):
        store.save(METADATA, fail)
    assert [path.name for path in store.folder.iterdir()] == ["backbones"]


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "metadata", "list", "format", "backbone"])
def test_a_damaged_version_is_refused_and_the_champion_stays(store: ModelStore, damage: str) -> None:
    save(store, 2)
    store.promote(1, "test")
    head, metadata = store.folder / "2" / "head.npz", store.folder / "2" / "metadata.json"
    if damage == "flip":
        data = bytearray(head.read_bytes())
        data[100] ^= 255
        head.write_bytes(data)
    elif damage == "truncate":
        head.write_bytes(head.read_bytes()[:50])
    elif damage == "remove":
        head.unlink()
    elif damage == "metadata":
        metadata.write_text("{")
    elif damage == "list":
        metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "checksums": []}))
    elif damage == "backbone":
        (store.folder / "backbones" / "none" / "backbone.json").unlink()
    else:
        metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "format": 99}))
    with pytest.raises(VersionCorruptError):
        store.promote(2, "test")
    assert store.champion() == 1
    assert store.get().number == 1


def test_listing_reads_a_file_once_and_reports_damage(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []

    def count(path: Path) -> str:
        hashed.append(path)
        return file_sha256(path)

    monkeypatch.setattr("catdog.storage.files.file_sha256", count)
    save(store, 2)
    first = store.summaries()
    assert len(hashed) == 4
    assert store.summaries() == first
    assert len(hashed) == 4
    save(store)
    assert [row["version"] for row in store.summaries()] == [1, 2, 3]
    assert len(hashed) == 6
    data = bytearray((store.folder / "2" / "head.npz").read_bytes())
    data[100] ^= 255
    (store.folder / "2" / "head.npz").write_bytes(data)  # as long as before
    for _ in range(2):
        assert ["error" in row for row in store.summaries()] == [False, True, False]
    assert len(hashed) == 7


def test_a_head_that_does_not_fit_the_classes_is_refused(store: ModelStore) -> None:
    store.save({**METADATA, "classes": ["a", "b", "c"]}, write_head)
    with pytest.raises(VersionCorruptError, match=r"has 3 classes, but its head has 2 outputs"):
        store.promote(1, "test")


def test_promotions_are_remembered(store: ModelStore) -> None:
    save(store, 2)
    store.promote(1, "the first")
    store.promote(2, "better")
    assert [(entry.version, entry.reason) for entry in store.history()] == [(1, "the first"), (2, "better")]
    assert json.loads((store.folder / "champion.json").read_text())["version"] == 2


def test_rolling_back_goes_back_step_by_step(store: ModelStore) -> None:
    save(store, 3)
    with pytest.raises(StoreError, match="no version is in use"):
        store.rollback()
    assert store.earlier_champion() is None
    for number in (1, 2, 3):
        store.promote(number, "better")
    assert [store.rollback(), store.rollback()] == [2, 1]
    with pytest.raises(StoreError, match=r"before version 1"):
        store.rollback()
    assert store.earlier_champion() is None
    store.promote(3, "again")
    assert store.earlier_champion() == 1
    assert store.rollback() == 1
    assert store.champion() == 1


def test_an_unreadable_champion_file_is_an_error(store: ModelStore) -> None:
    save(store)
    (store.folder / "champion.json").write_text('{"history": [{"version": 1}]}')
    with pytest.raises(VersionCorruptError, match=r"champion\.json"):
        store.champion()


def test_leftovers_of_killed_trainings_are_removed(store: ModelStore) -> None:
    save(store)
    shutil.copytree(store.folder / "1", store.folder / ".new-killed" / "version")
    assert store.numbers() == [1]
    assert remove_leftovers(store.folder, older_than_seconds=3600) == []
    assert remove_leftovers(store.folder, older_than_seconds=0) == [store.folder / ".new-killed"]
    assert not (store.folder / ".new-killed").exists()
