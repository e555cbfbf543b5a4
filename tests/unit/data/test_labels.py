import pytest

from catdog.data.labels import class_name, display_name, match_all, match_class, probability_key, require_distinct
from catdog.errors import ClassNameError, DatasetError, RequestError


@pytest.mark.parametrize(
    ("folder", "shown", "key"),
    [("cats", "Cat", "cat"), ("dogs", "Dog", "dog"), ("Cat", "Cat", "Cat"), ("birds", "birds", "birds")],
)
def test_names_of_classes(folder: str, shown: str, key: str) -> None:
    assert display_name(folder) == shown
    assert probability_key(folder) == key


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("cats", "cats"),
        ("cafe\u0301", "caf\u00e9"),
        ("caf\udce9", "café"),
        ("\udcfcber \udc80", "über €"),
        (" cats ", "cats"),
        ("dogs.", "dogs"),
        ("etc. . ", "etc"),
        ("...", "..."),
        ("   ", "   "),
        ("-cats", "-cats"),
        ("[/x]", "[/x]"),
        ("__proto__", "__proto__"),
        ("猫 🐶", "猫 🐶"),
        ("x" * 255, "x" * 255),
    ],
)
def test_a_folders_name_as_it_is_stored(folder: str, name: str) -> None:
    assert class_name(folder) == name
    assert class_name(name) == name


@pytest.mark.parametrize(
    ("name", "classes", "index"),
    [
        ("cats", ("cats", "dogs"), 0),
        ("Cat", ("cats", "dogs"), 0),
        ("DOG", ("cats", "dogs"), 1),
        ("maine coon", ("cats", "Maine Coon"), 1),
        ("bird", ("cats", "dogs"), None),
        ("a", ("A", "a"), 1),
        ("A", ("A", "a"), 0),
        ("cat", ("cats", "cat"), 1),
        ("Cat", ("cats", "Cat"), 1),
        ("cafe\u0301", ("caf\u00e9", "the"), 0),
        ("CAFE\u0301", ("caf\u00e9", "the"), 0),
        ("straße", ("STRASSE", "weg"), 0),
        (" cats", ("cats", "dogs"), 0),
    ],
)
def test_exact_names_take_precedence(name: str, classes: tuple[str, ...], index: int | None) -> None:
    assert match_class(name, classes) == index


def test_an_ambiguous_name_is_an_error_that_lists_the_classes() -> None:
    for error in (ClassNameError, RequestError, DatasetError):
        with pytest.raises(error, match=r"'AB' is ambiguous: Ab, aB\. Use the exact name"):
            match_class("AB", ("Ab", "x", "aB"))


def test_folders_that_differ_only_in_case_are_not_merged() -> None:
    assert match_all(["A", "a"], ["a", "A"]) == [1, 0]
    assert match_all(["Cat", "dog"], ["cats", "dogs"]) == [0, 1]
    assert match_all(["cats", "bird"], ["cats", "dogs"]) == [0, None]
    for names, classes in ((["A", "a"], ["A", "b"]), (["cat", "cats"], ["cats", "dogs"]), (["CAT", "Cat"], ["cats"])):
        with pytest.raises(DatasetError, match=rf"{names[0]}, {names[1]} would all count as the model's class"):
            match_all(names, classes)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["cats", "neither"], "can't be called neither"),
        (["Unsure", "x"], "can't be called Unsure"),
        (["cat", "cats"], "cat and cats are both shown as cat"),
        (["Cat", "cats"], "Cat and cats are both shown as Cat"),
        (["dogs", "Dog"], "dogs and Dog are both shown as Dog"),
    ],
)
def test_indistinct_names_are_rejected(classes: list[str], message: str) -> None:
    with pytest.raises(ClassNameError, match=message):
        require_distinct(classes)


def test_other_names_are_accepted() -> None:
    require_distinct(["cats", "dogs", "A", "a", "catsx", "neither of them", "CATS", "-x", "=y"])
