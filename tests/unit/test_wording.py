import pytest

from catdog.text import for_spreadsheet, listed, visible


@pytest.mark.parametrize("text", ["cats", "猫 🐶", "[/x]", "<b>", "👩‍👧", "می‌خواهم", "a\u00a0b", "-x", "ﷺ", "é"])
def test_text_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", "a\\nb"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b2J", "\\x9b2J"),
        ("a\u202eb", "a\\u202eb"),
        ("a\u2066b\u2069", "a\\u2066b\\u2069"),
        ("caf\udce9", "caf\\udce9"),
        ("\ufeffx", "\\ufeffx"),
        ("a\u2028b", "a\\u2028b"),
        ("\x7f\0", "\\x7f\\x00"),
    ],
)
def test_what_moves_the_cursor_or_turns_text_is_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_many_names_are_cut() -> None:
    assert listed(["a", "b\n"]) == "a, b\\n"
    assert listed(map(str, range(1500)), most=3) == "0, 1, 2 and 1,497 more"
    assert listed([]) == ""


@pytest.mark.parametrize(
    ("cell", "written"),
    [("=cmd|'/c calc'!A0", "'=cmd|'/c calc'!A0"), ("+1", "'+1"), ("-cats", "'-cats"), ("@SUM(A1)", "'@SUM(A1)"),
     ("\t=1", "'\t=1"), ("cats", "cats"), ("a=b", "a=b"), (-0.5, -0.5), (3, 3), (None, None)],
)  # fmt: skip
def test_no_cell_is_a_formula(cell: object, written: object) -> None:
    assert for_spreadsheet(cell) == written
