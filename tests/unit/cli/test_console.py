"""Text and tables on a terminal of 80 columns, with names as users have them."""

import io
import json
from collections.abc import Callable

import pytest
import typer
from rich.console import Console
from rich.table import Table

from catdog.cli import console

NAMES = [
    "[cats]",
    "[/dogs]",
    "[red]x",
    "a\nb",
    "\x1b[2J",
    "\u202eabc",
    "caf\udce9",
    "x" * 255,
    "猫",
    "-x",
    "[link=http://x]",
]


def render(table: Table, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Return what was printed on stdout and stderr, as a terminal gets it."""
    file = io.StringIO()
    for name in ("out", "notes"):
        monkeypatch.setattr(console, name, Console(file=file, width=80, force_terminal=True, color_system="truecolor"))
    return file.getvalue


@pytest.mark.parametrize("classes", [2, 26, 200])
def test_tables_of_counts_fit_80_columns(classes: int) -> None:
    counts = {split: {f"class {i:03}": 1000 + i for i in range(classes)} for split in ("train", "validation", "test")}
    lines = render(console.counts_table("Pictures", counts))
    assert max(map(len, lines)) <= 80
    cells = [line.strip("│ ").replace("│", " ").split() for line in lines]
    assert ["class", "001", "1001", "1001", "1001", "3003"] in cells
    assert [row[1] for row in cells if row[0] == "class"] == [f"{i:03}" for i in range(classes)]
    total = sum(1000 + i for i in range(classes))
    assert all(str(number) in lines[-2] for number in (total, 3 * total))


@pytest.mark.parametrize("classes", [2, 200])
def test_the_most_frequent_confusions_are_shown_and_no_matrix(classes: int) -> None:
    matrix = [[50 if i == j else (i * 7 + j) % 5 for j in range(classes)] for i in range(classes)]
    matrix[1][0] = 49
    table = console.confusions_table(matrix, [f"class {i}" for i in range(classes)])
    assert table is not None
    lines = render(table)
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 16
    first = next(line for line in lines if "│ class" in line)
    assert [cell.strip() for cell in first.strip("│").split("│")] == ["class 1", "class 0", "49"]


def test_without_confusions_there_is_no_table() -> None:
    assert console.confusions_table([[3, 0], [0, 2]], ["a", "b"]) is None


@pytest.mark.parametrize("name", NAMES)
def test_names_in_tables_are_shown_as_they_are(name: str) -> None:
    for table in (
        console.table(name, ("x",), []),
        console.table("", (name,), [("y",)]),
        console.table("", ("x",), [(name,)]),
        console.counts_table("", {"train": {name: 1}}),
    ):
        lines = render(table)
        assert max(map(len, lines)) <= 80
        text = "".join(lines)
        assert text.isprintable()
        if name.isprintable() and len(name) < 50:
            assert name in text


@pytest.mark.parametrize("name", NAMES)
def test_names_in_sentences_are_shown_as_they_are(name: str, printed: Callable[[], str]) -> None:
    console.say(f"1: {name}")
    console.note(f"2: {name}", style="yellow")
    console.note_all([f"3: {name}"])
    console.list_rejected([(name, name)])
    text = printed()
    for code in ("\x1b[33m", "\x1b[0m"):  # yellow and its end
        text = text.replace(code, "")
    assert "".join(text.splitlines()).isprintable()
    assert len(text.splitlines()) == 5
    if name.isprintable():
        assert text.count(name) == 5


@pytest.mark.parametrize(("levels", "names"), [("nonsense", None), (None, ["train"]), (None, ["foo=bar"])])
def test_invalid_layout_options_are_usage_errors(levels: str | None, names: list[str] | None) -> None:
    with pytest.raises(typer.BadParameter, match="--layout" if levels else "--split-names") as caught:
        console.layout_of(levels, names)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", NAMES)
def test_json_is_valid_and_moves_no_cursor(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({name: [name]})
    console.print_json_line({name: [name]})
    text = capsys.readouterr().out
    assert "".join(text.splitlines()).isprintable()
    *lines, last = text.splitlines()
    assert json.loads(last) == json.loads("\n".join(lines)) == {name: [name]}
