"""The documents under docs/ keep up with the code."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
sys.path.append(str(ROOT / "docs"))

import make_settings  # noqa: E402

from catdog.settings import Settings, variable_name  # noqa: E402

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def test_the_settings_page_lists_each_setting_with_its_default() -> None:
    page = make_settings.PAGE.read_text(encoding="utf-8")
    assert page == make_settings.with_table(page), "run `python docs/make_settings.py`"
    for name, field in Settings.model_fields.items():
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `{variable_name(name)}` |"))
        assert str(field.description) in row
        assert ("not set" if field.default is None else f"`{field.default!s}`").lower() in row.lower()


def test_a_settings_page_without_its_table_is_refused() -> None:
    assert make_settings.with_table("a\n| x |\n| y |\nb\n").endswith("\nb\n")
    for page in ("nothing\n", "| a |\n\n| b |\n"):
        with pytest.raises(SystemExit, match="needs one table"):
            make_settings.with_table(page)


def test_the_architecture_page_explains_each_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    required = [*project["dependencies"], *(line for lines in extras for line in lines)]
    names = {re.split(r"[\s\[<>=;]", line)[0] for line in required} - {"catdog"}
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert {name for name in names if f"`{name}`" not in page} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_exist(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_both_locks_hold_the_same_versions() -> None:
    pins = [
        # What is needed only on some platforms is so in more cases where more packages need it.
        {line.partition(";")[0].strip() for line in (ROOT / name).read_text().splitlines() if "==" in line}
        for name in ("requirements.txt", "requirements-dev.txt")
    ]
    assert pins[0] - pins[1] == set(), "run `make lock`"
