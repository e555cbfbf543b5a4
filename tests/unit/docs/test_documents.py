"""The reader of the documents finds commands as bash would take them, and what a page shows of their output."""

from pathlib import Path

import documents
import pytest
from documents import commands, inline_commands, missing_lines, simple_commands

PAGE = """\
Type `catdog doctor --json`, `catdog`, or

| Command | What |
| --- | --- |
| `catdog models show V` | shows `catdog models show 2` |

```sh
# a remark
cat <<END | tr a b   # of three lines
a
END
curl -F image=@cat.jpg \\
  http://127.0.0.1:5000
```

    ```console
    $ catdog predict photos
    photos/cat.1.jpg: cat  (Cat 99.98 %)
    [80 more]

    $ echo done
    ```
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    path = tmp_path / "page.md"
    path.write_text(PAGE, encoding="utf-8")
    return path


def test_commands_are_cut_where_bash_would_run_them(page: Path) -> None:
    found = commands(page)
    assert [(one.line, one.text.splitlines()[-1]) for one in found] == [
        (9, "END"),
        (12, "  http://127.0.0.1:5000"),
        (17, "catdog predict photos"),
        (21, "echo done"),
    ]
    assert found[2].shown == ("photos/cat.1.jpg: cat  (Cat 99.98 %)", "[80 more]", "")


def test_inline_code_is_a_command_with_a_program_and_more(page: Path) -> None:
    found = [(one.inline, one.text) for one in inline_commands(page)]
    assert found == [
        ("prose", "catdog doctor --json"),
        ("cell", "catdog models show V"),
        ("prose", "catdog models show 2"),
    ]


def test_a_command_is_cut_into_its_programs() -> None:
    text = "A=1 make test && { printf '%s;' x; base64 < cat.jpg; } | curl -d @- http://here >out"
    assert simple_commands(text) == [
        ["make", "test"],
        ["printf", "%s;", "x"],
        ["base64"],
        ["curl", "-d", "@-", "http://here"],
    ]


@pytest.mark.parametrize(
    ("shown", "printed", "as_shown"),
    [
        ("│ Accuracy │ 98.78 % │", "│ Accuracy    │ 7.00 % │", True),
        ("│ Accuracy │ 98.78 % │", "│ Precision   │ 7.00 % │", False),
        ("Report: …/models/2/report.html", "Report: /home/me/models/14/report.html", True),
        ('{"class": "Cat", "novelty": 0.3}', '{"novelty": 0.9, "class": "Dog"}', True),
        ('{"class": "Cat", "novelty": 0.3}', '{"class": "Dog"}', False),
        ("[80 more]", "", True),
        ("Nothing is missing.", "1 thing is missing.", False),
    ],
)
def test_what_is_shown_has_the_shape_of_what_is_printed(shown: str, printed: str, as_shown: bool) -> None:
    assert (missing_lines((shown,), printed) == []) == as_shown


def test_lines_are_looked_for_in_order() -> None:
    assert missing_lines(("first", "second"), "first\nbetween\nsecond") == []
    assert missing_lines(("first", "second"), "second\nfirst") != []
