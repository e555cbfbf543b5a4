"""The commands about images for retraining."""

import json
from pathlib import Path

import pytest
from commands import run
from drawing import write_pictures

from catdog.settings import Settings


def test_adding_listing_reviewing_and_purging(home: Settings, tmp_path: Path) -> None:
    write_pictures(tmp_path / "cats", "cat", 12, first=9000)
    (tmp_path / "cats" / "notes.gif").write_text("hello")
    added = json.loads(
        run(home.home, "uploads", "add", tmp_path / "cats", "--category", "cat", "--json", code=1).stdout
    )
    assert (added["folder"], added["accepted"], added["duplicates"]) == ("cats", 12, 0)
    assert [refused["name"] for refused in added["rejected"]] == ["notes.gif"]
    listed = json.loads(run(home.home, "uploads", "list", "--json").stdout)
    assert (listed["total"], {row["uploader"] for row in listed["images"]}) == (12, {"cli"})
    assert json.loads(run(home.home, "uploads", "list", "--state", "removed", "--json").stdout)["total"] == 0
    reviewed = run(home.home, "uploads", "review").stdout
    assert added["batch"] in reviewed
    assert "fine" in reviewed
    assert json.loads(run(home.home, "uploads", "purge", "--days", 0, "--json").stdout) == {"deleted": 0}


def test_one_image_is_singular(home: Settings, tmp_path: Path) -> None:
    write_pictures(tmp_path / "cats", "cat", 1, first=9100)
    said = run(home.home, "uploads", "add", tmp_path / "cats", "--category", "cat", "--batch", "one").stdout
    assert said == "1 image added to cats, 0 duplicates skipped; batch one.\n"
    again = run(home.home, "uploads", "add", tmp_path / "cats", "--category", "cat", "--batch", "one").stdout
    assert again.startswith("0 images added to cats, 1 duplicate skipped")


@pytest.mark.parametrize("category", ["bird", "../x"])
def test_an_unknown_class_is_reported(home: Settings, tmp_path: Path, category: str) -> None:
    write_pictures(tmp_path / "cats", "cat", 1)
    finished = run(home.home, "uploads", "add", tmp_path / "cats", "--category", category, code=1)
    assert "cats, dogs" in finished.stderr


def test_images_stored_before_a_missing_file_are_reported(home: Settings, tmp_path: Path) -> None:
    good, missing = write_pictures(tmp_path / "cats", "cat", 1, first=9200)[0], tmp_path / "missing.jpg"
    finished = run(home.home, "uploads", "add", missing, good, "--category", "cat", "--batch", "one", code=1)
    assert finished.stdout == "1 image added to cats, 0 duplicates skipped; batch one.\n"
    assert f"{missing}: Can't read the file: No such file or directory." in finished.stderr
    document = json.loads(run(home.home, "uploads", "add", missing, good, "--category", "cat", "--json", code=1).stdout)
    assert (document["duplicates"], [item["name"] for item in document["rejected"]]) == (1, [str(missing)])


def test_subfolders_need_the_recursive_option(home: Settings, tmp_path: Path) -> None:
    write_pictures(tmp_path / "outer" / "inner", "cat", 2, first=9300)
    finished = run(home.home, "uploads", "add", tmp_path / "outer", "--category", "cat", code=1)
    assert "1 folder was skipped, such as" in finished.stderr
    assert "--recursive" in finished.stderr
    assert "No files in" in finished.stderr
    added = run(home.home, "uploads", "add", tmp_path / "outer", "--category", "cat", "-r").stdout
    assert added.startswith("2 images added")


def test_images_stored_before_the_disk_filled_are_reported(home: Settings, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "cats", "cat", 3, first=9400)
    arguments = ("uploads", "add", *pictures, "--category", "cat", "--batch", "full")
    finished = run(home.home, *arguments, code=1, CATDOG_MAX_KEPT_PICTURES="2")
    assert finished.stdout.startswith("2 images added to cats")
    assert "batch full" in finished.stderr
