"""Every command in the documents is run, or stands in a list with the reason why not and is checked as far as can be.

For a page that gets a new command there is nothing to add: it runs with the others of that page, in the folder that
`stories.prepare` fills. A file that it names is made there; what can run on no machine goes into `unrunnable.NOT_RUN`.
"""

import ast
import importlib
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from documents import PAGES, ROOT, Command, blocks, commands, inline_commands, missing_lines, name_of, simple_commands
from servers import free_port
from stories import Story, prepare, story
from typer.main import get_command
from unrunnable import NOT_RUN, NotRun, Words, check_catdog

from catdog.cli.app import app
from catdog.settings import Settings, variable_name

SETTINGS = {variable_name(name) for name in Settings.model_fields}


OUTSIDE = re.compile(r">\s*(?!/dev/)/")
"""A redirection to a file outside the folder of a story."""

LATEST_JOB = '$(catdog jobs list --json | sed -n \'s/.*"id": "\\(.*\\)",/\\1/p\' | head -n 1)'

EXAMPLES = {
    "catdog train DATA": "catdog train pets",
    "catdog evaluate --data DIR": "catdog evaluate --data pets/test",
    "catdog predict PATH…": "catdog predict photos",
    "catdog explain PATH --out DIR": "catdog explain photos/cat.4032.jpg --out why",
    "catdog jobs show ID": f"catdog jobs show {LATEST_JOB}",
    "catdog jobs cancel ID": f"catdog jobs cancel {LATEST_JOB}",
    "catdog data import SRC": "catdog data import archive.zip",
    "catdog data check DIR": "catdog data check pets",
    "catdog data sample DIR": "catdog data sample sample",
    "catdog data download NAME": "catdog data download kaggle:tongpython/cat-and-dog",
    "catdog models show V": "catdog models show 2",
    "catdog models promote V": "catdog models promote 1",
    "catdog models export V --format FORMAT --out PATH": "catdog models export 2 --format openvino --out exported",
    "catdog models bundle V --out DIR": "catdog models bundle 2 --out bundle",
    "catdog uploads add PATH… --category CLASS": "catdog uploads add a.jpg --category cats",
}
"""What is run for commands in tables that have a word in the place of a name."""

ENDS_WITH = {"catdog predict finch.jpg empty.jpg animation.gif --json": 1}
"""Commands whose exit code is not 0, as their page says."""

LANGUAGES = {
    "sh",
    "console",
    "text",
    "python",
    "yaml",
    "json",
    "toml",
    "javascript",
    "js",
    "ini",
    "nginx",
    "dockerfile",
}


def rule_for(words: Words) -> NotRun | None:
    text = " ".join(words) + " "
    return next((rule for rule in NOT_RUN if text.startswith(rule.begins)), None)


def rules_for(command: Command) -> list[tuple[Words, NotRun | None]]:
    return [(words, rule_for(words)) for words in simple_commands(command.text)]


def is_run(command: Command) -> bool:
    """Tell whether a command is run, which it is unless a part of it stands in the list."""
    return all(rule is None for _, rule in rules_for(command))


def is_name(command: Command) -> bool:
    """Tell whether inline code names a command of catdog without what it cannot do without."""
    words = command.text.split()
    group = get_command(app)
    while len(words) > 1 and words[1] in getattr(group, "commands", {}):
        group = group.commands[words.pop(1)]  # type: ignore[attr-defined]
    return len(words) == 1 and any(one.required for one in group.params)


def told(page: Path) -> list[Command]:
    """List the commands of a page's story: those in blocks, then those in cells of tables that stand in no block."""
    found = list(commands(page))
    known = {" ".join(simple_commands(one.text)[0]) for other in PAGES for one in commands(other)}
    for cell in inline_commands(page):
        text = EXAMPLES.get(cell.text, cell.text)
        if cell.inline == "cell" and text not in known and not (text.startswith("catdog") and is_name(cell)):
            known.add(text)
            found.append(Command(cell.page, cell.line, text, inline="cell"))
    return found


@pytest.fixture(scope="session")
def prepared(
    tmp_path_factory: pytest.TempPathFactory,
    trained: Settings,
    weights: Path,
    add_constant: Callable[[Settings, int], int],
) -> Path:
    """A folder as `stories.prepare` fills it. Not to be changed; each page gets a copy."""
    return prepare(tmp_path_factory.mktemp("prepared") / "catdog", trained, weights, add_constant)


WITH_COMMANDS = [page for page in PAGES if any(is_run(command) for command in told(page))]


@pytest.mark.timeout(900)  # a page is many commands
@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_the_commands_of_a_page_run(page: Path, prepared: Path, tmp_path: Path) -> None:
    told_here = told(page)
    asking = [one for one in told_here if any(words[0] == "curl" for words in simple_commands(one.text))]
    left = asking if shutil.which("curl") is None else []
    with_key = "$CATDOG_API_KEY" in page.read_text(encoding="utf-8")
    with story(tmp_path / "catdog", prepared, free_port(), with_key=with_key) as running:
        for command in told_here:
            if command not in left:
                run_or_stand_in(running, command)
    if left:
        pytest.skip(f"no curl: all but {len(left)} commands of {name_of(page)} were run")


def run_or_stand_in(running: Story, command: Command) -> None:
    """Run a command and compare what it prints with what is shown; run what stands in for it where it cannot be run."""
    if is_run(command):
        assert not OUTSIDE.search(command.text), f"{command}\nwrites outside of its folder: it belongs into NOT_RUN"
        printed = running.run(command, ENDS_WITH.get(command.text, 0))
        missing = missing_lines(command.shown, printed)
        assert not missing, f"{command}\nshows what was not printed: {missing}\nprinted:\n{printed}"
        return
    for _, rule in rules_for(command):
        if rule and rule.instead:
            running.run(Command(command.page, command.line, rule.instead))


EVERY = [command for page in PAGES for command in [*told(page), *inline_commands(page)]]


@pytest.mark.parametrize("command", [one for one in EVERY if one.inline or not is_run(one)], ids=str)
def test_what_is_not_run_is_checked(command: Command) -> None:
    for words, rule in rules_for(command):
        if rule:
            rule.check(words)
        elif words[0] == "catdog":
            check_catdog(words)
        for word in words:
            inside = re.match(r"(?:benchmarks|deploy|docs|src|tests)/[\w./-]+$|[\w-]+\.(?:py|ya?ml)$", word)
            assert not inside or (ROOT / word).exists() or rule is None, f"{command}\nno such file: {word}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_variables_are_settings(page: Path) -> None:
    texts = " ".join(command.text for command in EVERY if command.page == name_of(page))
    named = set(re.findall(r"\b(?:CATDOG_[A-Z_]+|WEB_CONCURRENCY)\b", texts))
    of_tests = {name for name in named - SETTINGS if f'"{name}"' in all_tests()}
    assert named - SETTINGS - of_tests == set()


def all_tests() -> str:
    return "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests").glob("*.py")))


def test_the_list_holds_nothing_that_no_page_has() -> None:
    used = {rule.begins for command in EVERY for _, rule in rules_for(command) if rule}
    assert {rule.begins for rule in NOT_RUN} - used == set(), "no page has such a command: take it out of NOT_RUN"
    texts = {command.text for page in PAGES for command in inline_commands(page)}
    assert EXAMPLES.keys() - texts == set(), "no table has such a command: take it out of EXAMPLES"
    assert ENDS_WITH.keys() - {command.text for command in EVERY} == set()


def test_words_in_the_place_of_names_have_an_example() -> None:
    open_ones = [
        str(command)
        for page in PAGES
        for command in told(page)
        for words in simple_commands(command.text)
        if words[0] == "catdog" and any(re.fullmatch(r"[A-Z]+…?|…", word) for word in words)
    ]
    assert open_ones == [], "write what is meant in the page, or for a table what to run in EXAMPLES"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_other_blocks_are_what_they_say(page: Path) -> None:
    for block in blocks(page):
        where = f"{block.page}:{block.line}"
        assert block.language in LANGUAGES, f"{where}: name the language, {', '.join(sorted(LANGUAGES))}; commands: sh"
        if block.language == "python":
            check_imports(ast.parse(block.text, where))
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "yaml":
            yaml.safe_load(block.text)
        elif block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "text":
            assert not re.search(r"^\$ ", block.text, re.MULTILINE), f"{where}: commands with prompts are `console`"
        elif block.language in ("javascript", "js") and shutil.which("node"):
            subprocess.run(["node", "--check", "-"], input=block.text, text=True, check=True)


def check_imports(tree: ast.Module) -> None:
    """Import what a snippet imports, and look up each name that it takes from there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"
