"""The documents keep up with the code: links, settings, dependencies, files, variables, and commands of catdog."""

import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from documents import FENCE, PAGES, ROOT
from pymdownx.slugs import slugify
from typer import Context
from typer.main import get_command

from catdog.cli.app import app
from catdog.settings import Settings, variable_name

sys.path.append(str(ROOT / "docs"))

import make_settings

CURRENT = [page for page in PAGES if page.name != "CHANGELOG.md"]
"""Pages about catdog as it is now."""

OF_TESTS = {"CATDOG_SHARED", "CATDOG_PICTURES", "CATDOG_CHROMIUM", "CATDOG_TEST_IMAGES"}
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
each_current_page = pytest.mark.parametrize("page", CURRENT, ids=lambda page: page.name)


def test_the_settings_page_lists_each_setting_with_its_default() -> None:
    page = make_settings.PAGE.read_text(encoding="utf-8")
    assert page == make_settings.with_table(page), "run `python docs/make_settings.py`"
    for name, field in Settings.model_fields.items():
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `{variable_name(name)}` |"))
        assert str(field.description) in row
        assert ("not set" if field.default is None else f"`{field.default!s}`").lower() in row.lower()


def test_a_settings_page_without_its_table_is_refused() -> None:
    page = f"a\n\n{make_settings.MARK}\n\n| x |\n| y |\n\nb\n"
    assert "CATDOG_HOME" in make_settings.with_table(page)
    assert make_settings.with_table(page).endswith("|\n\nb\n")
    for wrong in ("nothing\n", f"{make_settings.MARK}\n", "| a |\n"):
        with pytest.raises(SystemExit, match="needs one line"):
            make_settings.with_table(wrong)


def test_the_architecture_page_explains_each_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    required = [*project["dependencies"], *(line for lines in extras for line in lines)]
    names = {re.split(r"[\s\[<>=;]", line)[0] for line in required} - {"catdog"}
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("## Dependencies")[1]
    assert {name for name in names if f"`{name}`" not in page} == set()


def test_the_journeys_lead_through_modules_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    journeys = page.split("## Five journeys")[1].split("\n## ")[0].split("\n### ")[1:]
    assert len(journeys) == 5
    for journey in journeys:
        rooms = re.findall(r"^\| `([\w./]+)` \|", journey, re.MULTILINE)
        assert 0 < len(rooms) <= 6
        files = [
            ROOT / "src/catdog" / (f"web/{name}" if "/" in name else f"{name.replace('.', '/')}.py") for name in rooms
        ]
        assert [path for path in files if not path.is_file()] == []


def test_both_locks_hold_the_same_versions() -> None:
    pins = [
        # What is needed only on some platforms is so in more cases where more packages need it.
        {line.partition(";")[0].strip() for line in (ROOT / name).read_text().splitlines() if "==" in line}
        for name in ("requirements.txt", "requirements-dev.txt")
    ]
    assert pins[0] - pins[1] == set(), "run `make lock`"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@each_page
def test_links_lead_to_files_that_exist(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@each_page
def test_anchors_are_there_on_github_too(page: Path) -> None:
    for path, anchor in re.findall(r"\]\(([^)\s:#]*\.md|)#([^)\s]+)\)", page.read_text(encoding="utf-8")):
        target = (page.parent / path if path else page).resolve()
        headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
        slugs = {slugify(case="lower")(re.sub(r"[`*]", "", heading), "-") for heading in headings}
        assert anchor in slugs, f"{target.name} has no heading #{anchor}"


@each_current_page
def test_files_of_the_project_exist(page: Path) -> None:
    text = re.sub(r"https?://\S+", "", page.read_text(encoding="utf-8"))
    named = re.findall(r"(?<![\w./-])(?:benchmarks|deploy|docs|notebook|src|tests)/[\w./-]*\w", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


@each_current_page
def test_variables_are_settings(page: Path) -> None:
    named = set(re.findall(r"\bCATDOG_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8")))
    assert named - OF_TESTS - {variable_name(name) for name in Settings.model_fields} == set()


@each_current_page
def test_commands_and_their_options_exist(page: Path) -> None:
    for words in commands(page.read_text(encoding="utf-8")):
        parse(words)


@pytest.mark.parametrize("line", ["catdog models polish 1", "catdog train pets --fast", "A=1 catdog --verbose"])
def test_a_command_that_does_not_exist_is_noticed(line: str) -> None:
    (words,) = commands(f"```sh\n{line}   # a remark\n```\n")
    with pytest.raises(Exception, match=r"polish|--fast|--verbose"):
        parse(words)


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words behind `catdog` of each command in blocks and in inline code."""
    scripts = [found["text"].replace("\\\n", " ") for found in FENCE.finditer(text) if found["language"] == "sh"]
    lines = [line for script in scripts for line in script.splitlines()]
    for line in [*lines, *re.findall(r"`([^`\n]+)`", FENCE.sub("", text))]:
        if found := re.match(r"(?:[A-Z_]+=\S+ )*catdog (?!COMMAND)(.*)", line):
            yield shlex.split(re.split(r" (?:\||&&|>)", found[1])[0], comments=True)


def parse(words: list[str]) -> None:
    """Parse a command line without running it; raises what the command line does."""
    command, context = get_command(app), None
    while words:
        context = Context(command, parent=context)
        _, words, _ = command.make_parser(context).parse_args(args=words)
        if not words or not (inner := getattr(command, "commands", None)):
            return
        assert words[0] in inner, f"catdog has no command {words[0]!r}"
        command, words = inner[words[0]], words[1:]


def test_the_threat_model_names_tests_that_exist() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").split("### Threats")[1]
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", page))
    assert named - set(re.findall(r"^def (test_\w+)", sources, re.MULTILINE)) == set()
    threats, tested = (set(re.findall(r"^\| (\d+) \|", part, re.MULTILINE)) for part in page.split("### Where that"))
    assert threats == tested
