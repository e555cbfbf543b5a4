"""The documents under docs/ keep up with the code."""

import re
import tomllib
from pathlib import Path

import pytest
from test_architecture import LAYERS

from catdog.settings import Settings, variable_name

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def settings_table() -> list[str]:
    """Make the rows that docs/settings.md must hold, one a setting, in the order of the class."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = "not set" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        rows.append(f"| `{variable_name(name)}` | {shown} | {field.description} |")
    return rows


def test_the_settings_page_lists_each_setting_with_its_default() -> None:
    lines = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8").splitlines()
    table = [line for line in lines if line.startswith("| `")]
    assert table == settings_table(), "docs/settings.md must hold these rows:\n" + "\n".join(settings_table())


def test_the_architecture_page_explains_each_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    required = [*project["dependencies"], *(line for lines in extras for line in lines)]
    names = {re.split(r"[\s\[<>=;]", line)[0] for line in required} - {"catdog"}
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert {name for name in names if f"`{name}`" not in page} == set()


def test_the_architecture_page_draws_the_layers() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    picture = page.split("```text\n")[1].split("```")[0]
    assert [set(row.split(" | ")) for row in picture.splitlines()] == LAYERS


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
