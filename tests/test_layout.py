from collections.abc import Iterable
from pathlib import Path

import pytest

from catdog.layout import place, walk


def write(root: Path, files: Iterable[str]) -> None:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def placed(root: Path, *files: str) -> dict[str, tuple[str, str | None] | None]:
    """Write files and return what each is taken for: (class, split), or None for no class."""
    write(root, files)
    places, stray = place(root, sorted(walk(root)))
    result = {str(path.relative_to(root)): (where.folder, where.split) for path, where in places.items()}
    return {**result, **{str(path.relative_to(root)): None for path in stray}}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("training_set/training_set", "test_set/test_set"),
        ("pets/train", "pets/test"),
        ("archive/pets/Training", "archive/pets/Testing"),
        ("train/images", "test/images"),
        ("TRAIN", "Test"),
    ],
)
def test_layouts_with_splits(tmp_path: Path, train: str, test: str) -> None:
    files = [f"{train}/cats/1.jpg", f"{train}/dogs/1.jpg", f"{test}/cats/2.jpg", f"{test}/dogs/2.jpg"]
    assert placed(tmp_path, *files) == {
        files[0]: ("cats", "train"),
        files[1]: ("dogs", "train"),
        files[2]: ("cats", "test"),
        files[3]: ("dogs", "test"),
    }


@pytest.mark.parametrize("root", ["", "PetImages/"])
def test_layouts_without_splits(tmp_path: Path, root: str) -> None:
    assert placed(tmp_path, f"{root}Cat/1.jpg", f"{root}Dog/1.jpg") == {
        f"{root}Cat/1.jpg": ("Cat", None),
        f"{root}Dog/1.jpg": ("Dog", None),
    }


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *[(name, "train") for name in ("train", "training", "train_set", "training_set", "Train")],
        *[(name, "validation") for name in ("val", "valid", "validation", "val_set", "validation_set", "dev", "VAL")],
        *[(name, "test") for name in ("test", "testing", "test_set", "TEST")],
    ],
)
def test_spellings_of_splits(tmp_path: Path, name: str, split: str) -> None:
    assert placed(tmp_path, f"{name}/cats/1.jpg") == {f"{name}/cats/1.jpg": ("cats", split)}


def test_pictures_beside_the_splits_are_in_no_split(tmp_path: Path) -> None:
    assert placed(tmp_path, "test/cats/1.jpg", "test/dogs/1.jpg", "cats/2.jpg", "dogs/2.jpg") == {
        "test/cats/1.jpg": ("cats", "test"),
        "test/dogs/1.jpg": ("dogs", "test"),
        "cats/2.jpg": ("cats", None),
        "dogs/2.jpg": ("dogs", None),
    }


def test_a_class_may_be_called_train_where_there_are_no_splits(tmp_path: Path) -> None:
    assert placed(tmp_path, "train/1.jpg", "car/1.jpg", "ship/1.jpg") == {
        "train/1.jpg": ("train", None),
        "car/1.jpg": ("car", None),
        "ship/1.jpg": ("ship", None),
    }


def test_a_class_may_be_called_train_within_splits(tmp_path: Path) -> None:
    files = ["train/train/1.jpg", "train/car/1.jpg", "test/train/2.jpg", "test/car/2.jpg"]
    assert placed(tmp_path, *files) == {
        "train/train/1.jpg": ("train", "train"),
        "train/car/1.jpg": ("car", "train"),
        "test/train/2.jpg": ("train", "test"),
        "test/car/2.jpg": ("car", "test"),
    }


def test_deeper_folders_belong_to_their_class(tmp_path: Path) -> None:
    assert placed(tmp_path, "cats/siamese/young/1.jpg", "cats/2.jpg", "dogs/beagle/1.jpg", "dogs/2.jpg") == {
        "cats/siamese/young/1.jpg": ("cats", None),
        "cats/2.jpg": ("cats", None),
        "dogs/beagle/1.jpg": ("dogs", None),
        "dogs/2.jpg": ("dogs", None),
    }


def test_a_folder_within_a_class_is_no_split_whatever_its_name(tmp_path: Path) -> None:
    assert placed(tmp_path, "train/cats/test/1.jpg", "train/dogs/2.jpg", "train/cats/val/more/3.jpg") == {
        "train/cats/test/1.jpg": ("cats", "train"),
        "train/cats/val/more/3.jpg": ("cats", "train"),
        "train/dogs/2.jpg": ("dogs", "train"),
    }


def test_files_in_no_class_folder_are_told_apart(tmp_path: Path) -> None:
    files = ["README.md", "train/notes.txt", "train/cats/1.jpg", "train/dogs/1.jpg"]
    assert placed(tmp_path, *files) == {
        "README.md": None,
        "train/notes.txt": None,
        "train/cats/1.jpg": ("cats", "train"),
        "train/dogs/1.jpg": ("dogs", "train"),
    }


def test_files_beside_the_classes_in_a_wrapper_are_told_apart(tmp_path: Path) -> None:
    files = ["licence.txt", "PetImages/readme.txt", "PetImages/Cat/1.jpg", "PetImages/Dog/1.jpg"]
    assert placed(tmp_path, *files) == {
        "licence.txt": None,
        "PetImages/readme.txt": None,
        "PetImages/Cat/1.jpg": ("Cat", None),
        "PetImages/Dog/1.jpg": ("Dog", None),
    }


def test_kaggles_own_stray_files_are_no_class(tmp_path: Path) -> None:
    files = ["training_set/training_set/_DS_Store", "training_set/training_set/cats/1.jpg", "test_set/x.txt"]
    assert placed(tmp_path, *files, "test_set/test_set/cats/1.jpg") == {
        "training_set/training_set/_DS_Store": None,
        "training_set/training_set/cats/1.jpg": ("cats", "train"),
        "test_set/x.txt": None,
        "test_set/test_set/cats/1.jpg": ("cats", "test"),
    }


def test_one_class_alone_is_a_class_and_not_a_wrapper(tmp_path: Path) -> None:
    assert placed(tmp_path, "cats/1.jpg", "cats/2.jpg") == {"cats/1.jpg": ("cats", None), "cats/2.jpg": ("cats", None)}


def test_nothing_is_placed_nowhere(tmp_path: Path) -> None:
    assert placed(tmp_path) == {}


def test_hidden_and_system_folders_are_passed_over(tmp_path: Path) -> None:
    hidden = [".git/cats/1.jpg", "__MACOSX/cats/._1.jpg", "cats/.thumbnails/1.jpg", "cats/@eaDir/1.jpg", "lost+found/x"]
    write(tmp_path, [*hidden, "cats/1.jpg", "dogs/1.jpg"])
    assert sorted(walk(tmp_path)) == [tmp_path / "cats" / "1.jpg", tmp_path / "dogs" / "1.jpg"]


def test_a_hidden_root_is_walked_since_it_was_named(tmp_path: Path) -> None:
    write(tmp_path, [".pets/cats/1.jpg"])
    assert list(walk(tmp_path / ".pets")) == [tmp_path / ".pets" / "cats" / "1.jpg"]


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    write(tmp_path, ["elsewhere/1.jpg", "pets/dogs/1.jpg"])
    (tmp_path / "pets" / "cats").symlink_to(tmp_path / "elsewhere")
    places, stray = place(tmp_path / "pets", sorted(walk(tmp_path / "pets")))
    assert sorted((path.name, where.folder) for path, where in places.items()) == [("1.jpg", "cats"), ("1.jpg", "dogs")]
    assert stray == []


def test_links_in_a_loop_end(tmp_path: Path) -> None:
    write(tmp_path, ["cats/1.jpg", "dogs/1.jpg"])
    (tmp_path / "cats" / "again").symlink_to(tmp_path)
    (tmp_path / "dogs" / "itself").symlink_to(tmp_path / "dogs")
    assert sorted(walk(tmp_path)) == [tmp_path / "cats" / "1.jpg", tmp_path / "dogs" / "1.jpg"]


def test_a_folder_linked_twice_is_read_once(tmp_path: Path) -> None:
    write(tmp_path, ["pictures/1.jpg"])
    (tmp_path / "pets").mkdir()
    for name in ("a", "b"):
        (tmp_path / "pets" / name).symlink_to(tmp_path / "pictures")
    assert len(list(walk(tmp_path / "pets"))) == 1


def test_a_folder_marked_nomedia_is_passed_over(tmp_path: Path) -> None:
    files = ["train/cats/1.jpg", "train/dogs/1.jpg", "other/.nomedia", "other/1.jpg", "other/deep/2.jpg"]
    assert placed(tmp_path, *files).keys() == set(files[:2])


def test_the_folder_that_is_asked_for_is_read_though_it_is_marked(tmp_path: Path) -> None:
    write(tmp_path, [".nomedia", "cats/1.jpg"])
    assert tmp_path / "cats" / "1.jpg" in set(walk(tmp_path))
