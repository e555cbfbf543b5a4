import csv
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from drawing import draw, encode, write_dataset, write_pictures
from PIL import Image

from catdog.cli.console import list_rejected
from catdog.data import dataset
from catdog.data.dataset import Scanned, read_folder, remember, scan
from catdog.data.manifest import Manifest
from catdog.errors import DatasetError
from catdog.settings import Settings, load_settings
from catdog.storage.database import open_database


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Data set of 12 training and 3 test images per class, which tests may change."""
    return write_dataset(tmp_path / "pets", train=12, test=3)


def reasons(manifest: Manifest) -> dict[str, str]:
    return {os.path.relpath(item.path, manifest.root): item.reason for item in manifest.rejected}


def test_a_manifest_lists_the_images(pets: Path, settings: Settings) -> None:
    manifest = read_folder(pets, settings).manifest
    assert manifest.root == pets
    assert manifest.classes == ("cats", "dogs")
    assert manifest.counts() == {
        "train": {"cats": 12, "dogs": 12},
        "validation": {"cats": 0, "dogs": 0},
        "test": {"cats": 3, "dogs": 3},
    }
    assert (manifest.rejected, manifest.duplicates) == ((), 0)
    labels = manifest.labels("test")
    assert (labels.tolist(), labels.dtype) == ([0, 0, 0, 1, 1, 1], np.int64)
    assert [path.parent.name for path in manifest.paths("test")] == ["cats"] * 3 + ["dogs"] * 3
    assert not settings.home.exists()


def test_a_relative_folder_is_the_same_data(pets: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pets.parent)
    assert read_folder(Path("pets"), settings) == read_folder(pets, settings)


def test_there_may_be_many_classes_with_any_names(tmp_path: Path, settings: Settings) -> None:
    names = ("Zebra", "apple pie", "日本", "cats")
    for i, name in enumerate(names):
        write_pictures(tmp_path / "x" / name, "cat", 10, first=100 * i)
    manifest = scan(tmp_path / "x", settings).manifest
    assert manifest.classes == tuple(sorted(names))
    assert {path.parent.name for path in manifest.paths("train")} == set(names)


# Junk


def test_unusable_files_are_reported_with_reasons(pets: Path, settings: Settings) -> None:
    cats = pets / "train" / "cats"
    (cats / "notes").write_text("hello")
    (cats / "empty.jpg").touch()
    (cats / "half.jpg").write_bytes(encode(draw("cat", 77))[:900])
    (cats / "link.jpg").symlink_to("nowhere.jpg")
    (pets / "cover.jpg").write_bytes(encode(draw("cat", 78)))
    manifest = scan(pets, settings).manifest
    assert len(manifest.pictures) == 30
    found = reasons(manifest)
    assert sorted(found) == [
        "cover.jpg",
        "train/cats/empty.jpg",
        "train/cats/half.jpg",
        "train/cats/link.jpg",
        "train/cats/notes",
    ]
    assert found["cover.jpg"] == "It isn't in a class folder."
    assert "empty" in found["train/cats/empty.jpg"]
    assert "truncated" in found["train/cats/half.jpg"]
    assert found["train/cats/link.jpg"] == "It is a broken link."
    assert "not a JPEG, PNG, WebP or AVIF" in found["train/cats/notes"]


def test_files_are_identified_by_content_instead_of_name(pets: Path, settings: Settings) -> None:
    (pets / "train" / "cats" / "png.jpg").write_bytes(encode(draw("cat", 70), "PNG"))
    (pets / "train" / "cats" / "webp").write_bytes(encode(draw("cat", 71), "WEBP"))
    (pets / "train" / "cats" / "gif.jpg").write_bytes(encode(draw("cat", 72), "GIF"))
    manifest = read_folder(pets, settings).manifest
    assert manifest.counts()["train"]["cats"] == 14
    assert list(reasons(manifest)) == ["train/cats/gif.jpg"]


def test_only_regular_files_are_scanned(pets: Path, settings: Settings) -> None:
    os.mkfifo(pets / "train" / "cats" / "pipe.jpg")  # reading it would block
    (pets / "train" / "cats" / "null.jpg").symlink_to("/dev/null")
    found: list[Manifest] = []
    thread = threading.Thread(target=lambda: found.append(read_folder(pets, settings).manifest), daemon=True)
    thread.start()
    thread.join(60)
    assert found, "the scan hangs"
    assert sorted(reasons(found[0])) == ["train/cats/null.jpg", "train/cats/pipe.jpg"]
    assert set(reasons(found[0]).values()) == {"It is not a regular file."}


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"max_picture_bytes": 20_000}, r"[\d,]+ bytes\. The maximum is 20,000"),
        ({"max_side": 1000}, "1,500 x 40 pixels.* 1,000 per side"),
        ({"max_pixels": 50_000}, r"1,500 x 40 pixels\. The maximum is 50,000"),
    ],
)
def test_limits_come_from_the_settings(pets: Path, tmp_path: Path, limit: dict[str, int], message: str) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (40, 1500, 3), np.uint8)
    (pets / "train" / "cats" / "big.png").write_bytes(encode(Image.fromarray(noise), "PNG"))
    assert reasons(read_folder(pets, load_settings(home=tmp_path / "home")).manifest) == {}
    found = reasons(read_folder(pets, load_settings(home=tmp_path / "home", **limit)).manifest)
    assert list(found) == ["train/cats/big.png"]
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(found["train/cats/big.png"])


@pytest.mark.databases
def test_names_that_are_not_utf8_are_treated_like_others(pets: Path, settings: Settings) -> None:
    odd = Path(os.fsdecode(os.fsencode(pets / "train" / "cats") + b"/caf\xe9.jpg"))
    odd.write_bytes(encode(draw("cat", 90)))
    for _ in range(2):
        result = scan(pets, settings)
        assert odd in [picture.path for picture in result.manifest.pictures]
        remember(open_database(settings), result.read)
        result.manifest.write_csv(pets.parent / "manifest.csv")
        assert len(result.manifest.digest) == 64
    assert len((pets.parent / "manifest.csv").read_bytes().splitlines()) == 32


# Copies


def test_copies_count_once(pets: Path, settings: Settings) -> None:
    cats = pets / "train" / "cats"
    for i in range(3):
        shutil.copy(cats / "cat.0.jpg", cats / f"copy{i}.jpg")
    manifest = read_folder(pets, settings).manifest
    assert (len(manifest.pictures), manifest.duplicates, manifest.rejected) == (30, 3, ())


@pytest.mark.parametrize("name", ["a.jpg", "zzz.jpg"])
def test_a_copy_in_the_test_folder_is_excluded_from_training(pets: Path, settings: Settings, name: str) -> None:
    shutil.copy(pets / "train" / "cats" / "cat.0.jpg", pets / "test" / "cats" / name)
    manifest = scan(pets, settings).manifest
    assert manifest.counts()["test"]["cats"] == 4
    assert pets / "test" / "cats" / name in manifest.paths("test")
    splits = [manifest.select(split) for split in ("train", "validation", "test")]
    assert sum(len(split) for split in splits) == len({p.sha256 for split in splits for p in split}) == 30
    assert manifest.duplicates == 1


def test_a_copy_in_the_validation_folder_is_excluded_from_training(pets: Path, settings: Settings) -> None:
    (pets / "val" / "cats").mkdir(parents=True)
    shutil.copy(pets / "train" / "cats" / "cat.0.jpg", pets / "val" / "cats" / "a.jpg")
    counts = read_folder(pets, settings).manifest.counts()
    assert (counts["validation"]["cats"], counts["train"]["cats"]) == (1, 11)


def test_an_image_in_two_classes_is_rejected_in_both(pets: Path, settings: Settings) -> None:
    shutil.copy(pets / "train" / "cats" / "cat.0.jpg", pets / "test" / "dogs" / "odd.jpg")
    manifest = read_folder(pets, settings).manifest
    assert reasons(manifest) == dict.fromkeys(
        ("test/dogs/odd.jpg", "train/cats/cat.0.jpg"), "The same image is in several classes: cats, dogs."
    )
    assert manifest.counts()["train"]["cats"] == 11
    assert manifest.counts()["test"]["dogs"] == 3


# Too little


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, r"At least 2 class folders .* Found in .*: none"),
        ({"cats": 12}, r"At least 2 class folders .* Found in .*: cats: 12"),
        ({"cats": 12, "dogs": 9}, r"At least 10 usable images per class .* Found in .*: cats: 12, dogs: 9"),
        ({"cats": 0, "dogs": 12}, r"At least 2 class folders .* Found in .*: dogs: 12"),
    ],
)
def test_too_few_images_are_rejected_with_their_numbers(
    tmp_path: Path, settings: Settings, counts: dict[str, int], message: str
) -> None:
    (tmp_path / "few").mkdir()
    for name, count in counts.items():
        write_pictures(tmp_path / "few" / name, name.rstrip("s"), count)
    with pytest.raises(DatasetError, match=message) as caught:
        scan(tmp_path / "few", settings)
    assert str(tmp_path / "few") in str(caught.value)


def test_ten_per_class_are_enough(tmp_path: Path, settings: Settings) -> None:
    write_dataset(tmp_path / "few", train=10, test=0)
    counts = scan(tmp_path / "few", settings).manifest.counts()
    assert [sum(table[name] for table in counts.values()) for name in ("cats", "dogs")] == [10, 10]
    assert min(counts[split][name] for split in counts for name in ("cats", "dogs")) >= 2


def test_unusable_files_do_not_count(tmp_path: Path, settings: Settings) -> None:
    write_dataset(tmp_path / "few", train=10, test=0)
    (tmp_path / "few" / "train" / "cats" / "cat.0.jpg").write_bytes(b"junk")
    with pytest.raises(DatasetError, match=r"Found in .*: cats: 9, dogs: 10 \(1 unusable file"):
        scan(tmp_path / "few", settings)


@pytest.mark.parametrize("also", [0, 12])
def test_the_same_images_in_each_class_are_rejected(tmp_path: Path, settings: Settings, also: int) -> None:
    write_pictures(tmp_path / "x" / "cats", "cat", 12)
    shutil.copytree(tmp_path / "x" / "cats", tmp_path / "x" / "dogs")
    if also:
        write_pictures(tmp_path / "x" / "dogs", "dog", also)
    with pytest.raises(DatasetError, match=rf"At least .* Found in .*: cats: 0, dogs: {also}"):
        scan(tmp_path / "x", settings)


def test_a_class_without_training_images_is_rejected(pets: Path, settings: Settings) -> None:
    write_pictures(pets / "test" / "birds", "bird", 12)
    with pytest.raises(DatasetError, match=r"needs training images\. .* has none of 'birds'"):
        scan(pets, settings)


@pytest.mark.parametrize("exists", [False, True])
def test_a_path_that_is_not_a_folder_is_rejected(tmp_path: Path, settings: Settings, exists: bool) -> None:
    if exists:
        (tmp_path / "pets").write_text("a file")
    for read in (scan, read_folder):
        with pytest.raises(DatasetError, match=r"/pets is not a folder\. Name a folder of images"):
            read(tmp_path / "pets", settings)


# Progress and holding out


def test_progress_is_reported_to_the_end(pets: Path, settings: Settings) -> None:
    told: list[tuple[int, int]] = []
    scan(pets, settings, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(i + 1, 30) for i in range(30)]


def test_a_share_held_out_without_a_test_folder_stays_as_the_data_grows(tmp_path: Path, settings: Settings) -> None:
    data = write_dataset(tmp_path / "pets", train=60, test=0)
    before = scan(data, settings).manifest
    assert 8 <= len(before.select("test")) <= 40
    assert len(before.select("validation")) >= 4
    write_dataset(data, train=90, test=0)
    after = {picture.sha256: picture.split for picture in scan(data, settings).manifest.pictures}
    assert len(after) == 180
    assert all(after[picture.sha256] == picture.split for picture in before.pictures)


# Scanning again


@pytest.mark.databases
def test_a_second_scan_reads_no_file(pets: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    first = scan(pets, settings)
    assert len(first.read) == 30
    remember(open_database(settings), first.read)

    read: list[Path] = []
    original = dataset.read_picture

    def spy(path: Path, max_bytes: int) -> bytes:
        read.append(path)
        return original(path, max_bytes)

    monkeypatch.setattr(dataset, "read_picture", spy)
    second = scan(pets, settings)
    assert second.manifest == first.manifest
    assert (second.read, read) == ([], [])
    # Only new and changed files are read.
    new = write_pictures(pets / "train" / "cats", "cat", 1, first=300)[0]
    changed = pets / "train" / "dogs" / "dog.3.jpg"
    changed.write_bytes(encode(draw("dog", 400), quality=80))
    third = scan(pets, settings)
    assert sorted(scanned.path for scanned in third.read) == sorted(read) == [new, changed]
    assert third.manifest.digest != second.manifest.digest
    remember(open_database(settings), third.read)
    assert scan(pets, settings).read == []


@pytest.mark.databases
def test_a_removed_file_disappears(pets: Path, settings: Settings) -> None:
    remember(open_database(settings), scan(pets, settings).read)
    (pets / "train" / "cats" / "cat.0.jpg").unlink()
    manifest = scan(pets, settings).manifest
    assert len(manifest.pictures) == 29
    assert manifest.rejected == ()


@pytest.mark.databases
def test_a_folder_whose_name_begins_alike_is_not_included(pets: Path, settings: Settings) -> None:
    other = pets.with_name("pets_2")
    shutil.copytree(pets, other)
    remember(open_database(settings), scan(pets, settings).read)
    result = scan(other, settings)
    assert len(result.read) == 30
    assert all(path.is_relative_to(other) for path in result.manifest.paths("train"))


def test_a_raised_limit_accepts_images_rejected_before(pets: Path, tmp_path: Path) -> None:
    strict = load_settings(home=tmp_path / "home", max_side=150)
    result = read_folder(pets, strict)
    assert len(result.manifest.rejected) == 30
    remember(open_database(strict), result.read)
    assert len(read_folder(pets, load_settings(home=tmp_path / "home")).manifest.pictures) == 30


@pytest.mark.databases
def test_more_files_than_fit_into_one_statement_are_remembered(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "many" / "a"
    folder.mkdir(parents=True)
    tiny = encode(draw("cat", 1, (8, 8)))
    for i in range(1100):
        (folder / f"{i}.jpg").write_bytes(tiny + str(i).encode())
    result = read_folder(tmp_path / "many", settings)
    assert len(result.manifest.pictures) == 1100
    for _ in range(2):  # repeating it changes nothing
        remember(open_database(settings), result.read)
    assert read_folder(tmp_path / "many", settings).read == []


@pytest.mark.databases
def test_files_with_long_paths_are_used_and_read_each_time(pets: Path, settings: Settings) -> None:
    deep = pets.joinpath("train", "cats", *[f"{i:0200}" for i in range(14)])
    deep.mkdir(parents=True)
    (pets / "train" / "cats" / "cat.0.jpg").rename(deep / "cat.0.jpg")
    first = scan(pets, settings)
    assert len(first.manifest.pictures) == 30
    remember(open_database(settings), first.read)
    assert [scanned.path for scanned in scan(pets, settings).read] == [deep / "cat.0.jpg"]


@pytest.mark.databases
def test_processes_may_scan_the_same_folder_at_once(pets: Path, settings: Settings) -> None:
    read = scan(pets, settings).read
    engine, start = open_database(settings), threading.Barrier(4)

    def keep(found: list[Scanned]) -> None:
        start.wait()
        for _ in range(10):
            remember(engine, found)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(keep, found) for found in (read, read[::-1]) * 2]:
            done.result()
    assert scan(pets, settings).read == []


# The digest


def test_the_digest_does_not_depend_on_the_location(pets: Path, tmp_path: Path, settings: Settings) -> None:
    digest = scan(pets, settings).manifest.digest
    assert len(digest) == 64
    assert scan(pets, settings).manifest.digest == digest
    shutil.move(pets, tmp_path / "moved")
    (tmp_path / "moved" / "train" / "cats" / "cat.0.jpg").rename(tmp_path / "moved" / "train" / "cats" / "renamed.jpg")
    (tmp_path / "moved" / "junk.txt").write_text("x")
    assert scan(tmp_path / "moved", settings).manifest.digest == digest


@pytest.mark.parametrize("change", ["add", "remove", "edit", "class", "split"])
def test_the_digest_changes_with_the_data(pets: Path, settings: Settings, change: str) -> None:
    before = read_folder(pets, settings).manifest.digest
    path = pets / "train" / "cats" / "cat.0.jpg"
    if change == "add":
        write_pictures(path.parent, "cat", 1, first=50)
    elif change == "remove":
        path.unlink()
    elif change == "edit":
        path.write_bytes(path.read_bytes() + b"\0")
    else:
        path.rename(pets / ("train/dogs" if change == "class" else "test/cats") / path.name)
    assert read_folder(pets, settings).manifest.digest != before


def test_the_manifest_can_be_written_as_csv(pets: Path, settings: Settings, tmp_path: Path) -> None:
    (pets / "train" / "cats" / 'na"me, with comma.jpg').write_bytes(encode(draw("cat", 60)))
    manifest = scan(pets, settings).manifest
    manifest.write_csv(tmp_path / "manifest.csv")
    with (tmp_path / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(pets / row["path"], row["sha256"], row["split"]) for row in rows] == [
        (picture.path, picture.sha256, picture.split) for picture in manifest.pictures
    ]
    assert {row["class"] for row in rows} == {"cats", "dogs"}


# Names, and classes that lack something


def test_classes_without_images_in_a_split_are_reported(pets: Path, settings: Settings) -> None:
    write_pictures(pets / "train" / "birds", "bird", 12)
    (pets / "train" / "fish").mkdir()
    (pets / "train" / "frogs").mkdir()
    (pets / "train" / "frogs" / "broken.jpg").write_bytes(b"x")
    remarks = scan(pets, settings).manifest.remarks
    assert "Without images: train/fish/." in remarks
    assert "Without usable images: frogs." in remarks
    assert "1 class has no test images: birds." in remarks


def test_all_classes_without_training_images_are_named(pets: Path, settings: Settings) -> None:
    for name in ("birds", "fish"):
        write_pictures(pets / "test" / name, name, 12, first=500)
    with pytest.raises(DatasetError, match="none of 'birds', 'fish' outside the held-out folders"):
        scan(pets, settings)


@pytest.mark.parametrize("name", ["neither", "Unsure", "NEITHER"])
def test_verdicts_cannot_be_class_names(pets: Path, settings: Settings, name: str) -> None:
    write_pictures(pets / "train" / name, "bird", 12)
    with pytest.raises(DatasetError, match=f"class can't be called {name}.*evaluate --other"):
        scan(pets, settings)


def test_a_class_name_that_is_not_utf8_is_decoded(pets: Path, settings: Settings) -> None:
    folder = Path(os.fsdecode(os.fsencode(pets / "train") + b"/caf\xe9"))
    write_pictures(folder, "bird", 12)
    manifest = scan(pets, settings).manifest
    assert manifest.classes == ("café", "cats", "dogs")
    assert "The folder name caf\\udce9 isn't UTF-8; its class is called café." in manifest.remarks


def test_clutter_is_counted_but_not_listed(pets: Path, settings: Settings) -> None:
    for name in ("_DS_Store", "Thumbs.db", "desktop.ini", "._cat.jpg", "labels.csv", "README.md"):
        (pets / "train" / "cats" / name).write_bytes(b"x")
    manifest = scan(pets, settings).manifest
    assert (manifest.rejected, manifest.clutter, len(manifest.pictures)) == ((), 6, 30)


def test_own_data_is_read_as_written_whatever_its_classes_are_called(settings: Settings) -> None:
    for split in ("train", "test"):
        for i, name in enumerate(("original", "augmented")):
            write_pictures(settings.data_dir / split / name, "cat", 12, first=100 * i + 1000 * (split == "test"))
    assert scan(settings.data_dir, settings).manifest.classes == ("augmented", "original")
    with pytest.raises(DatasetError, match="versions of the same images"):
        scan(settings.data_dir / "train", settings)


def test_a_folder_linked_twice_is_reported(pets: Path, settings: Settings) -> None:
    (pets / "train" / "birds").symlink_to(pets / "train" / "cats")
    manifest = read_folder(pets, settings).manifest
    assert list(reasons(manifest)) == ["train/cats"]  # the second, in order of names
    assert "which has been read already" in reasons(manifest)["train/cats"]


def test_a_hidden_folder_with_images_is_reported_but_not_read(pets: Path, settings: Settings) -> None:
    (pets / "train" / "cats").rename(pets / "train" / ".cats")
    (pets / ".git").mkdir()
    remarks = read_folder(pets, settings).manifest.remarks
    assert any(r.startswith("Hidden folders are skipped, with 12 files: train/.cats/.") for r in remarks), remarks


def test_a_long_list_of_unusable_files_is_summarised(capsys: pytest.CaptureFixture[str]) -> None:
    items = [(f"cats/{i}", "It is empty." if i % 2 else "It is no image.") for i in range(1_500)]
    said: list[str] = []
    list_rejected(items, write=said.append)
    assert len(said) == 23
    assert said[20].startswith("  and 1,480 more; ")
    assert said[21:] == ["    740: It is no image.", "    740: It is empty."]
    assert capsys.readouterr().err == ""
