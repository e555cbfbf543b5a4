"""The shape of the house: small folders, public names, and importing does nothing. Imports: `make check`."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from servers import free_port

SOURCE = Path(__file__).parents[2] / "src" / "catdog"

MOST_MODULES = 16
"""More in a folder than this cannot be taken in at a glance."""

PUBLIC = {
    "catdog.preprocessing": ["prepare_dataset"],
    "catdog.model": ["create_model", "train_model"],
    "catdog.prediction": ["Predictor"],
    "catdog.training": ["train"],
    "catdog.evaluation": ["evaluate"],
}
"""What people import by these names, whatever moves below them."""


def modules() -> list[str]:
    """Name every module of catdog but what runs when it is imported."""
    paths = [path.relative_to(SOURCE.parent).with_suffix("") for path in SOURCE.rglob("*.py")]
    named = {".".join(path.parts).removesuffix(".__init__") for path in paths if "migrations" not in path.parts}
    return sorted(named - {"catdog.__main__", "catdog.web.server.gunicorn_config"})


def test_no_folder_holds_more_modules_than_one_takes_in() -> None:
    folders = {path.parent for path in SOURCE.rglob("*.py")}
    counts = {str(folder): len([p for p in folder.glob("*.py") if p.stem != "__init__"]) for folder in folders}
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_where_they_were(module: str) -> None:
    found = importlib.import_module(module)
    for name in PUBLIC[module]:
        assert callable(getattr(found, name))
        assert name in found.__all__


def test_a_name_that_a_package_does_not_have_is_an_attribute_error() -> None:
    for module in PUBLIC:
        assert not hasattr(importlib.import_module(module), "no_such_name")


def test_importing_does_nothing(tmp_path: Path) -> None:
    code = (
        "import importlib, sys, threading, logging\n"
        f"for name in {modules()!r}: importlib.import_module(name)\n"
        "heavy = {'tensorflow', 'keras', 'mlflow', 'kagglehub', 'openvino'} & set(sys.modules)\n"
        "print(sorted(heavy), threading.active_count(), logging.getLogger().handlers)"
    )
    finished = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert finished.stdout.strip() == "[] 1 []"
    assert finished.stderr == ""
    assert list(tmp_path.iterdir()) == []


LIBRARIES = ["numpy", "openvino", "scipy", "PIL", "sqlalchemy", "alembic", "flask", "prometheus_client", "jinja2"]
"""What takes long to load."""


@pytest.mark.parametrize("arguments", [["--help"], ["models", "--help"], ["uploads", "list", "--help"]])
def test_help_loads_no_library_that_takes_long(arguments: list[str]) -> None:
    assert loaded("from catdog.cli import main\nmain()", *arguments) == []


def test_serving_loads_no_such_library_before_gunicorn_takes_over(tmp_path: Path) -> None:
    """It stands in place of the command: what that has loaded would be loaded for nothing."""
    code = "import os\nos.execv = lambda *_: sys.exit(0)\nfrom catdog.cli import main\nmain()"
    assert loaded(code, "--home", str(tmp_path), "serve", "--port", str(free_port()), "--host", "127.0.0.1") == []


def test_gunicorn_reads_its_configuration_without_such_a_library() -> None:
    """NumPy must find the number of its threads set, and processes are forked from what is loaded here."""
    path = SOURCE / "web" / "server" / "gunicorn_config.py"
    assert loaded(f"import runpy\nrunpy.run_path({str(path)!r})") == []


def loaded(code: str, *arguments: str) -> list[str]:
    """List which of `LIBRARIES` a program has loaded when it ends well."""
    report = (
        f"atexit.register(lambda: print('loaded', *sorted(set({LIBRARIES!r}) & set(sys.modules)), file=sys.stderr))"
    )
    finished = subprocess.run(
        [sys.executable, "-c", f"import atexit, sys\n{report}\n{code}", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return finished.stderr.splitlines()[-1].split()[1:]
