import hashlib
from pathlib import Path

import pytest

from catdog.data.layout.vocabulary import Split
from catdog.data.split import Picture, hash_share, hold_out
from catdog.settings import Settings, load_settings


def made(count: int, label: int = 0, split: Split = "train", *, first: int = 0) -> list[Picture]:
    """Return images with distinct hashes, without files."""
    names = [f"{label}-{split}-{i}" for i in range(first, first + count)]
    return [Picture(Path(name), hashlib.sha256(name.encode()).hexdigest(), label, split) for name in names]


def chosen(pictures: tuple[Picture, ...], split: Split) -> set[str]:
    return {picture.sha256 for picture in pictures if picture.split == split}


def test_about_the_given_share_of_each_class_is_held_out() -> None:
    settings = load_settings(test_share=0.3, validation_share=0.1)
    pictures = hold_out([*made(2000, 0), *made(1000, 1)], settings)
    for label, count in ((0, 2000), (1, 1000)):
        splits = [picture.split for picture in pictures if picture.label == label]
        assert splits.count("test") == pytest.approx(0.3 * count, rel=0.15)
        assert splits.count("validation") == pytest.approx(0.7 * 0.1 * count, rel=0.3)
    assert len(pictures) == 3000


def test_only_the_split_of_an_image_changes(settings: Settings) -> None:
    before = [*made(30, 0), *made(30, 1)]
    after = hold_out(before, settings)
    assert [(p.path, p.sha256, p.label) for p in after] == [(p.path, p.sha256, p.label) for p in before]


def test_an_image_keeps_its_split_as_the_data_grows(settings: Settings) -> None:
    before = hold_out([*made(100, 0), *made(100, 1)], settings)
    after = hold_out([*made(500, 1), *made(500, 0)], settings)
    lots = {picture.sha256: picture.split for picture in after}
    assert {picture.split for picture in before} == {"train", "validation", "test"}
    assert all(lots[picture.sha256] == picture.split for picture in before)


def test_the_order_of_the_images_does_not_matter(settings: Settings) -> None:
    pictures = [*made(50, 0), *made(50, 1)]
    assert set(hold_out(pictures, settings)) == set(hold_out(pictures[::-1], settings))


def test_a_small_class_has_at_least_two_test_images() -> None:
    pictures = hold_out([*made(10, 0), *made(10, 1), *made(10, 2)], load_settings(test_share=0.001))
    for label in range(3):
        splits = [picture.split for picture in pictures if picture.label == label]
        assert splits.count("test") == 2
        assert splits.count("validation") >= 2
        assert splits.count("train") >= 10 - 2 - 5


def test_existing_splits_are_left_unchanged(settings: Settings) -> None:
    data = [*made(100), *made(5, split="test"), *made(7, split="validation")]
    assert hold_out(data, settings) == tuple(data)


def test_with_only_a_test_split_validation_comes_from_training(settings: Settings) -> None:
    test = made(5, split="test")
    pictures = hold_out([*made(200), *test], settings)
    assert chosen(pictures, "test") == {picture.sha256 for picture in test}
    assert 5 <= len(chosen(pictures, "validation")) <= 40


def test_the_hashes_for_testing_and_validation_are_independent() -> None:
    # Otherwise none would be left for validation below the test share's threshold.
    pictures = hold_out(made(2000), load_settings(test_share=0.5, validation_share=0.5))
    assert len(chosen(pictures, "validation")) == pytest.approx(500, rel=0.15)


def test_a_validation_split_that_the_data_has_is_left_alone(settings: Settings) -> None:
    validation = made(50, split="validation")
    pictures = hold_out([*made(200), *validation], settings)
    assert chosen(pictures, "validation") == {picture.sha256 for picture in validation}
    assert chosen(pictures, "test")


def test_an_upgrade_of_catdog_moves_no_picture_to_another_split() -> None:
    # The first eight digits decide on testing, the next eight on validation. Shares are exclusive: 0x40000000 is 0.25.
    hashes = {
        "test": ["3fffffff", "00000000", "0fffffff"],
        "validation": ["ffffffff3fffffff", "ffffffff00000000", "400000000fffffff"],
        "train": ["4000000040000000", "ffffffffffffffff", "f0fffffff0ffffff", "4000000ffff00000"],
    }
    pictures = [
        Picture(Path(digits), digits.ljust(64, "f"), 0, "train") for group in hashes.values() for digits in group
    ]
    found = hold_out(pictures, load_settings(test_share=0.25, validation_share=0.25))
    assert {split: [str(p.path) for p in found if p.split == split] for split in hashes} == hashes


def test_hash_shares_are_spread_over_the_unit_interval() -> None:
    assert hash_share("0" * 64, 0) == 0
    assert 0.999 < hash_share("f" * 64, 8) < 1
    shares = [hash_share(picture.sha256, 0) for picture in made(1000)]
    assert sum(share < 0.25 for share in shares) == pytest.approx(250, rel=0.2)
