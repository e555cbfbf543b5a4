"""What the documents tell a reader to type: fenced blocks, the commands in them with what they print, inline code."""

import json
import re
import shlex
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]

PROGRAMS = {
    "az", "bash", "catdog", "curl", "docker", "gcloud", "gunicorn", "kubectl", "locust", "make", "mkdocs", "pip",
    "pytest", "python", "systemctl",
}  # fmt: skip
"""What inline code that is a command begins with; one word alone is the program's name, and no command."""

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the number of its first line, its language, its text without indentation."""

    page: str
    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command as bash would take it, perhaps of several lines, and the lines that the page shows as its output.

    `inline` is "" in a block; inline code is "cell" where a cell of a table holds nothing else, otherwise "prose".
    """

    page: str
    line: int
    text: str
    shown: tuple[str, ...] = ()
    inline: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text.partition(' #')[0].strip()}"


def name_of(page: Path) -> str:
    """Name a page as a link from the root of the project does."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """List the fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            name_of(page),
            text.count("\n", 0, found.start("text")) + 1,
            found["language"].strip(),
            textwrap.dedent(found["text"]),
        )
        for found in FENCE.finditer(text)
    ]


@cache
def commands(page: Path) -> list[Command]:
    """List the commands in the blocks of a page, in its order."""
    found = []
    for block in blocks(page):
        if block.language == "sh":
            found += _from_script(block)
        elif block.language == "console":
            found += _from_console(block)
    return found


def inline_commands(page: Path) -> list[Command]:
    """List the commands in inline code of a page: two words or more, the first of which is a program."""
    text = FENCE.sub(lambda block: "\n" * block[0].count("\n"), page.read_text(encoding="utf-8"))
    found = []
    for code in re.finditer(r"(?<!`)`([^`]+)`(?!`)", text):
        words = code[1].split()
        program = next((word for word in words if not re.match(r"[A-Z_]+=", word)), "")
        if program in PROGRAMS and words[-1] != program:
            fills = text[: code.start()].endswith("| ") and text[code.end() :].startswith(" |")
            line = text.count("\n", 0, code.start()) + 1
            found.append(Command(name_of(page), line, " ".join(words), inline="cell" if fills else "prose"))
    return found


def is_whole(text: str) -> bool:
    """Tell whether bash would run the lines, or wait for more: an open quote, brace, here-document, or a backslash."""
    checked = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    return checked.returncode == 0 and not checked.stderr and not text.rstrip("\n").endswith("\\")


def simple_commands(text: str) -> list[list[str]]:
    """Cut a command at `&&`, `;`, `|` and braces, and each part into words; redirections and `NAME=…` before it go."""
    lexer = shlex.shlex(text.replace("\\\n", " "), posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.whitespace_split = " \t\r", True
    found: list[list[str]] = [[]]
    skip = False
    for word in lexer:
        if set(word) <= set("();|&\n") or word in ("{", "}"):
            found.append([])
        elif set(word) <= set("<>"):
            skip = True
        elif skip:
            skip = False
        elif found[-1] or not re.match(r"[A-Z_]+=", word):
            found[-1].append(word)
    return [words for words in found if words]


def shape(line: str) -> str:
    """Reduce a line of output to what does not change with data: figures, paths, classes, dates and padding go.

    So does what a processor can do. JSON becomes its keys. Of a table's rows the cells remain; its borders become "".
    """
    line = re.sub(r"\x1b\[[\d;]*m", "", line)
    if line.lstrip().startswith("{"):
        try:
            return json.dumps(_keys(json.loads(line)))
        except ValueError:
            pass
    cells = [cell.strip() for cell in re.split("[│┃]", line) if cell.strip(" ━─┏┓┡┩└┘┳╇┴┼├┤╈")]
    text = " | ".join(cells)
    text = re.sub(r"[^\s(]*/[^\s:)]*[^\s:).,]", "PATH", re.sub(r"https?://[\w.:]+", "ADDRESS", text))
    text = re.sub(r"\b(cats?|dogs?|neither|unsure)\b", "CLASS", text, flags=re.IGNORECASE)
    text = re.sub(r"mobilenetv2-\d+-\w+", "BACKBONE", text)
    text = re.sub(r"\b(?:avx\w*|amx\w*|asimd|bf16|f32)\b(?:, \w+)*", "ARITHMETIC", text)
    return re.sub(r"\s+", " ", re.sub(r"\d[\d,.:T+-]*", "#", text))


def left_out(line: str) -> bool:
    """Tell whether a line only says that something is not shown: `[80 more]`, or an ellipsis."""
    return bool(re.fullmatch(r"\s*(\[.*\]|…|\.\.\.)\s*", line))


def missing_lines(shown: tuple[str, ...], printed: str) -> list[str]:
    """List what a page shows and a command did not print, in shape and in this order."""
    lines = iter([shape(line) for line in printed.splitlines()])
    missing, before = [], ""
    for line in shown:
        wanted = shape(line)
        if left_out(line) or not wanted or wanted == before:
            continue  # rows of one shape: as many as there are
        before = wanted
        if not any(found == wanted for found in lines):
            missing.append(f"{line}   (as {wanted!r})")
            break  # what follows would be looked for behind the end
    return missing


def _keys(value: object) -> object:
    if isinstance(value, dict):
        return {key: _keys(inner) for key, inner in sorted(value.items())}
    return [_keys(value[0])] if isinstance(value, list) and value else None


def _from_script(block: Block) -> Iterator[Command]:
    """Cut a block into commands, each of as many lines as bash needs for it."""
    taken: list[str] = []
    for number, line in enumerate(block.text.splitlines(), block.line):
        taken.append(line)
        text = "\n".join(taken)
        if is_whole(text):
            if re.sub(r"^\s*#.*", "", text, flags=re.MULTILINE).strip():
                yield Command(block.page, number - len(taken) + 1, text)
            taken = []
    assert not taken, f"{block.page}:{block.line}: bash needs more lines for: {taken[0]}"


def _from_console(block: Block) -> Iterator[Command]:
    """Cut a block at its prompts; what stands below a command is what it shows."""
    assert block.text.startswith("$ "), f"{block.page}:{block.line}: a console block begins with `$ ` and a command"
    lines = block.text.splitlines()
    starts = [at for at, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        last = next(
            at for at in range(start, end) if is_whole("\n".join([lines[start][2:], *lines[start + 1 : at + 1]]))
        )
        text = "\n".join([lines[start][2:], *(line.removeprefix("> ") for line in lines[start + 1 : last + 1])])
        yield Command(block.page, block.line + start, text, tuple(lines[last + 1 : end]))
