import json
import multiprocessing
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from small_versions import METADATA, save, write_head

from catdog.errors import StoreError, VersionCorruptError, VersionNotFoundError
from catdog.registry.store import ModelStore, remove_leftovers
from catdog.storage.files import file_sha256


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


def test_only_folders_with_a_number_from_1_on_are_versions(store: ModelStore, tmp_path: Path) -> None:
    for name in ("0", "007", "-1", "1.0", "ten", "1234567890", "³"):
        (store.folder / name).mkdir()
    (store.folder / "5").write_text("a file")
    assert store.numbers() == []
    save(store)
    assert store.numbers() == [1]
    assert ModelStore(tmp_path / "missing").numbers() == []
    with pytest.raises(VersionNotFoundError):
        store.get(0)


def test_a_number_that_something_else_took_is_passed_over(store: ModelStore) -> None:
    for name in ("1", "2"):
        (store.folder / name).write_text("a file")
    version = store.save(METADATA, write_head)
    assert (version.number, version.path) == (3, store.folder / "3")
    assert store.get(3).metadata["version"] == 3


def test_a_version_says_when_it_was_saved(store: ModelStore) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    saved = datetime.fromisoformat(store.save(METADATA, write_head).metadata["created_at"])
    store.promote(1, "test")
    promoted = datetime.fromisoformat(store.history()[0].at)
    assert before <= saved <= promoted <= datetime.now(UTC)
    assert (saved.utcoffset(), saved.microsecond) == (timedelta(0), 0)


def test_a_folder_that_is_being_written_carries_the_mark(store: ModelStore) -> None:
    names = []

    def write(folder: Path) -> None:
        names.append(folder.parent.name)
        write_head(folder)

    store.save(METADATA, write)
    store.save(METADATA, write, mark="job7")
    assert names[0].startswith(".new-")
    assert "job7" not in names[0]
    assert names[1].startswith(".new-job7-")


def test_the_version_of_a_retraining_job_is_found_again(store: ModelStore) -> None:
    for job in ("a", "b", "a", "c"):
        store.save({**METADATA, "job": job}, write_head)
    (store.folder / "4" / "metadata.json").write_text("{")
    (store.folder / "2" / "head.npz").unlink()
    found = store.made_by("a")
    assert found is not None
    assert found.number == 3
    assert [store.made_by(job) for job in ("b", "c", "d")] == [None, None, None]


def test_a_version_from_elsewhere_is_adopted_under_the_next_number(store: ModelStore, tmp_path: Path) -> None:
    save(store, 2)
    other = ModelStore(tmp_path / "some" / "where" / "else")
    assert other.adopt(store.folder / "2").number == 1
    version = store.adopt(other.folder / "1")
    assert version.number == 3
    assert store.get(3).metadata == {**store.get(2).metadata, "version": 3}
    (store.folder / "3" / "head.npz").unlink()
    with pytest.raises(VersionCorruptError):
        other.adopt(store.folder / "3")
    assert [path.name for path in other.folder.iterdir()] == ["1"]


def test_the_first_version_makes_the_folder(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "some" / "where")
    save(store)
    assert store.numbers() == [1]


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
    with pytest.raises(StoreError, match="no reason from the system"):
        store.save(METADATA, lambda _: (_ for _ in ()).throw(OSError("no reason from the system")))
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


def test_a_listing_says_what_a_version_is(store: ModelStore) -> None:
    assert store.summaries() == []
    save(store)
    store.save({**METADATA, "metrics": None}, write_head)
    store.promote(1, "test")
    first, second = store.summaries()
    created_at = store.get(1).metadata["created_at"]
    row = {"classes": ["cats", "dogs"], "backbone": "none", "accuracy": 1.0, "n": 1}
    assert first == {"version": 1, "champion": True, "created_at": created_at, **row}
    assert (second["version"], second["champion"], "error" in second) == (2, False, True)


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
    version, backbone = store.folder / ".new-killed", store.folder / "backbones" / ".new-killed"
    shutil.copytree(store.folder / "1", version / "version")
    backbone.mkdir()
    (store.folder / ".new-file").touch()
    assert store.numbers() == [1]
    assert remove_leftovers(store.folder, older_than_seconds=3600) == []
    now = datetime.now(UTC).timestamp()
    os.utime(backbone, (now, now - 3700))
    os.utime(version, (now, now + 3700))  # the clock was put back
    assert remove_leftovers(store.folder, older_than_seconds=3600) == [backbone]
    assert remove_leftovers(store.folder, older_than_seconds=-7200) == [version]
    assert sorted(path.name for path in store.folder.iterdir()) == [".new-file", "1", "backbones"]
    assert [path.name for path in (store.folder / "backbones").iterdir()] == ["none"]
