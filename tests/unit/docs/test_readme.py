"""The README keeps up with the code: its tree, its command table, and its Python example."""

import os
import re
import shutil
from pathlib import Path

import pytest
from drawing import write_dataset, write_pictures

from catdog.cli.app import app
from catdog.settings import Settings

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")

MADE_BY_CATDOG = {"cache", "data", "models", "retrain_data", "mlruns"}
MADE_BY_TOOLS = {"build", "dist", "__pycache__", "catdog-home"}
WEB = "src/catdog/web"
LISTED_AS_FOLDERS = ("tests", "src/catdog/migrations", f"{WEB}/static/css", f"{WEB}/static/js", f"{WEB}/templates")
# What a person may keep here too, such as pictures or a report, is none of the project's.
KINDS = {".conf", ".css", ".html", ".ipynb", ".js", ".md", ".py", ".service", ".sh", ".toml", ".typed", ".yaml", ".yml"}
KINDS_AT_TOP = (KINDS | {"", ".txt"}) - {".html"}


def block(language: str, heading: str) -> str:
    """Return the first fenced block of a language behind a heading."""
    found = re.search(rf"^## {heading}$.*?^```{language}$\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    assert found, f"README.md needs a ```{language} block under {heading!r}"
    return found[1]


def files_on_disk() -> set[str]:
    """List what the tree must name: the project's files, but hidden ones and those in folders with a line."""
    found = {f"{folder}/" for folder in LISTED_AS_FOLDERS}
    for folder, folders, names in os.walk(ROOT):
        here = Path(folder).relative_to(ROOT)
        skipped = MADE_BY_TOOLS if here.parts else MADE_BY_TOOLS | MADE_BY_CATDOG
        folders[:] = [n for n in folders if not n.startswith(".") and n not in skipped]
        if here.as_posix() not in LISTED_AS_FOLDERS:
            kinds = KINDS if here.parts else KINDS_AT_TOP
            paths = [here / name for name in names if not name.startswith(".")]
            found |= {path.as_posix() for path in paths if path.suffix in kinds}
        else:
            folders.clear()
    return found


def test_the_tree_matches_the_disk() -> None:
    lines = [line.split(maxsplit=1) for line in block("text", "What is where").splitlines()]
    assert [line for line in lines if len(line) < 2] == [], "each path needs a description"
    named = [path for path, _ in lines]
    assert len(named) == len(set(named))
    assert files_on_disk() - set(named) == set(), "not in the tree"
    assert set(named) - files_on_disk() == set(), "not on disk"


def test_the_table_lists_each_command() -> None:
    def name_of(command: object) -> str:
        given = getattr(command, "name", None)
        return str(given or command.callback.__name__)  # type: ignore[attr-defined]

    commands = {name_of(command) for command in app.registered_commands}
    for group in app.registered_groups:
        commands |= {f"{group.name} {name_of(c)}" for c in group.typer_instance.registered_commands}
    listed = set(re.findall(r"^\| `catdog ([a-z]+(?: [a-z]+)?)", README, re.MULTILINE))
    assert commands == listed


def test_the_python_example_runs(
    home: Settings, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(tmp_path / "pets", train=12, test=2)
    write_pictures(tmp_path / "photos", "cat", 2, first=4032)
    # The ImageNet weights lie in the store already, as after a first download.
    shutil.copyfile(weights, home.models_dir / "backbones" / weights.name)
    monkeypatch.setenv("CATDOG_HOME", str(home.home))
    monkeypatch.setenv("CATDOG_WEIGHTS_URL", f"https://weights.invalid/{weights.name}")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(block("python", "Python"), "README.md", "exec"), names)
    assert names["answer"].class_name in ("Cat", "Dog")  # type: ignore[attr-defined]
    assert len(names["history"].epochs) == 1  # type: ignore[attr-defined]
