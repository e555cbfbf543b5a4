import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from catdog.data.walking import count_files, find_pictures, list_tree, walk

CLUTTER = ("_DS_Store", ".DS_Store", "Thumbs.db", "desktop.ini", "._1.jpg", "labels.csv", "1.xml", "README.md")


def write(root: Path, files: Iterable[str]) -> None:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def listed(root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in list_tree(root).files]


def test_hidden_and_system_folders_are_skipped(tmp_path: Path) -> None:
    hidden = [".git/cats/1.jpg", "__MACOSX/cats/._1.jpg", "cats/.thumbnails/1.jpg", "cats/@eaDir/1.jpg", "lost+found/x"]
    write(tmp_path, [*hidden, "cats/.ipynb_checkpoints/1.jpg", "cats/1.jpg", "dogs/1.jpg"])
    assert listed(tmp_path) == ["cats/1.jpg", "dogs/1.jpg"]
    assert sorted(walk(tmp_path)) == list_tree(tmp_path).files


def test_all_functions_skip_the_same_files(tmp_path: Path) -> None:
    write(tmp_path, [*(f"cats/{name}" for name in CLUTTER), "cats/1.jpg", "cats/2"])
    expected = [tmp_path / "cats" / "1.jpg", tmp_path / "cats" / "2"]
    listing = list_tree(tmp_path)
    assert (listing.files, listing.clutter) == (expected, len(CLUTTER))
    assert list(find_pictures([tmp_path], recursive=True)) == expected
    assert list(find_pictures([tmp_path / "cats"])) == expected
    assert count_files(tmp_path / "cats") == 2


def test_a_named_file_is_included_whatever_its_name(tmp_path: Path) -> None:
    write(tmp_path, CLUTTER)
    named = [tmp_path / name for name in CLUTTER]
    assert list(find_pictures(named)) == named


def test_subfolders_are_entered_only_on_request(tmp_path: Path) -> None:
    write(tmp_path, ["1.jpg", "cats/2.jpg"])
    assert list(find_pictures([tmp_path])) == [tmp_path / "1.jpg"]
    assert len(list(find_pictures([tmp_path], recursive=True))) == 2


def test_empty_folders_are_listed(tmp_path: Path) -> None:
    write(tmp_path, ["cats/1.jpg"])
    (tmp_path / "dogs" / "young").mkdir(parents=True)
    assert [str(path.relative_to(tmp_path)) for path in list_tree(tmp_path).folders] == ["cats", "dogs", "dogs/young"]


def test_a_hidden_root_is_walked(tmp_path: Path) -> None:
    write(tmp_path, [".pets/cats/1.jpg"])
    assert listed(tmp_path / ".pets") == ["cats/1.jpg"]


@pytest.mark.parametrize("recursive", [False, True])
def test_links_are_followed_by_all_commands(tmp_path: Path, recursive: bool) -> None:
    write(tmp_path, ["elsewhere/1.jpg", "pets/dogs/1.jpg"])
    (tmp_path / "pets" / "cats").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "pets" / "dogs" / "2.jpg").symlink_to(tmp_path / "elsewhere" / "1.jpg")
    folders = [tmp_path / "pets"] if recursive else [tmp_path / "pets" / "cats", tmp_path / "pets" / "dogs"]
    found = [str(path.relative_to(tmp_path / "pets")) for path in find_pictures(folders, recursive=recursive)]
    assert found == listed(tmp_path / "pets") == ["cats/1.jpg", "dogs/1.jpg", "dogs/2.jpg"]


def test_links_in_a_loop_end(tmp_path: Path) -> None:
    write(tmp_path, ["cats/1.jpg", "dogs/1.jpg"])
    (tmp_path / "cats" / "again").symlink_to(tmp_path)
    (tmp_path / "dogs" / "itself").symlink_to(tmp_path / "dogs")
    (tmp_path / "dogs" / "a").symlink_to(tmp_path / "dogs" / "b")
    (tmp_path / "dogs" / "b").symlink_to(tmp_path / "dogs" / "a")
    assert listed(tmp_path) == ["cats/1.jpg", "dogs/1.jpg", "dogs/a", "dogs/b"]  # a link to itself isn't a folder
    assert list_tree(tmp_path).problems == []
    assert len(list(find_pictures([tmp_path], recursive=True))) == 4


def test_a_folder_linked_twice_is_read_once(tmp_path: Path) -> None:
    write(tmp_path, ["pictures/1.jpg"])
    (tmp_path / "pets").mkdir()
    for name in ("a", "b"):
        (tmp_path / "pets" / name).symlink_to(tmp_path / "pictures")
    listing = list_tree(tmp_path / "pets")
    assert listed(tmp_path / "pets") == ["a/1.jpg"]
    assert listing.problems == [
        (tmp_path / "pets" / "b", f"It links to {tmp_path / 'pets' / 'a'}, which has been read already.")
    ]


def test_an_unreadable_folder_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, ["cats/1.jpg", "dogs/1.jpg"])
    scandir, closed = os.scandir, str(tmp_path / "cats")

    def refuse(path: str) -> object:  # tests may run as root, who can read every folder
        if str(path) == closed:
            raise PermissionError(13, "Permission denied", closed)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert list_tree(tmp_path).problems == [(Path(closed), "The folder can't be read: Permission denied.")]


def test_names_that_are_not_utf8_are_listed(tmp_path: Path) -> None:
    write(tmp_path, [os.fsdecode(b"caf\xe9/\xff.jpg")])
    assert listed(tmp_path) == [os.fsdecode(b"caf\xe9/\xff.jpg")]


@pytest.mark.parametrize("target", ["..", "../..", "/"])
def test_links_upwards_out_of_the_folder_are_reported_but_not_entered(tmp_path: Path, target: str) -> None:
    write(tmp_path, ["pets/cats/1.jpg", "pets/dogs/1.jpg"])
    link = tmp_path / "pets" / "cats" / "loop"
    link.symlink_to(target)
    cats = tmp_path / "pets" / "cats"
    assert list(find_pictures([cats], recursive=True)) == list_tree(cats).files == [cats / "1.jpg"]
    real = (cats / target).resolve()
    assert list_tree(cats).problems == [(link, f"It links to {real}, which contains the folder being read.")]


@pytest.mark.parametrize("target", ["/proc", "/proc/self", "/sys", "/dev", "/usr", "/etc"])
def test_links_to_system_folders_are_reported_but_not_entered(tmp_path: Path, target: str) -> None:
    write(tmp_path, ["cats/1.jpg"])
    (tmp_path / "d").symlink_to(target)
    listing = list_tree(tmp_path)
    assert listed(tmp_path) == ["cats/1.jpg"]
    assert [(path, "belongs to the system" in why) for path, why in listing.problems] == [(tmp_path / "d", True)]


def test_hidden_folders_not_from_tools_are_reported(tmp_path: Path) -> None:
    write(tmp_path, [".cats/1.jpg", ".git/1.jpg", "dogs/.ipynb_checkpoints/1.jpg", "dogs/1.jpg"])
    assert list_tree(tmp_path).hidden == [tmp_path / ".cats"]
