"""The shape of the house: imports point downwards, and importing does nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from servers import free_port

SOURCE = Path(__file__).parents[1] / "src" / "catdog"

# From the top; a module may import from layers below its own only. `docs/architecture.md` shows the same picture.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"foreground"},
    {"worker"},
    {"trainer"},
    {"retraining", "training"},
    {"recording", "web"},
    {"export", "fitting", "material", "report", "review"},
    {"backbone_sources", "chart_files", "collection", "evaluation", "explain", "parity"},
    {"activity", "assessment", "doctor", "drift", "gate", "importing", "packing", "prediction", "starter"},
    {"adaptation", "dataset", "finetune", "replay", "store"},
    {"features", "layout_view", "manifest", "model", "repair", "trial"},
    {"backbone", "intake", "layout", "tuning", "views"},
    {"layout_rules", "preprocessing"},
    {
        "decoding",
        "durable",
        "folding",
        "formats",
        "jobs",
        "keras_twin",
        "layout_groups",
        "monitoring",
        "uploads",
        "worker_lock",
    },
    {
        "charts",
        "curves",
        "database",
        "frameworks",
        "head",
        "insights",
        "layout_doubts",
        "layout_levels",
        "layout_shapes",
        "logs",
        "novelty",
        "sample_data",
        "split",
        "tracking",
        "unpacking",
        "version_files",
        "webp",
    },
    {
        "archive_kinds",
        "arrays",
        "avif",
        "decoding_apart",
        "figures",
        "jpeg",
        "layout_roles",
        "metrics",
        "png",
        "settings",
        "tar_reading",
        "vp8l",
    },
    {
        "archive_links",
        "compressed",
        "content_types",
        "decode_gate",
        "encoded",
        "env_file",
        "files",
        "labels",
        "patience",
        "sampling",
        "split_words",
        "sqlite_file",
        "walking",
        "zip_reading",
    },
    {
        "archive_names",
        "augmentation",
        "choices",
        "clutter",
        "errors",
        "file_prefixes",
        "folder_tree",
        "histograms",
        "json_reader",
        "orientation",
        "parallel",
        "regular_files",
        "split_vocabulary",
        "staging",
        "strict_json",
        "tables",
        "teacher",
        "telemetry",
        "wording",
    },
]


def imports(path: Path) -> set[str]:
    """Name the catdog modules that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "catdog":
            found |= {alias.name for alias in node.names if alias.name != "__version__"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("catdog."):
            found.add(str(node.module).split(".")[1])
    return found


def modules() -> dict[str, list[Path]]:
    """Map each module or package of catdog to its files."""
    found = {path.stem: [path] for path in SOURCE.glob("*.py") if path.stem != "__init__"}
    for package in SOURCE.iterdir():
        if (package / "__init__.py").exists() and package.name != "migrations":
            found[package.name] = list(package.glob("*.py"))
    return found


def test_every_module_has_a_layer() -> None:
    assert set().union(*LAYERS) == set(modules())


def test_imports_point_downwards() -> None:
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    upward = [
        f"{name} imports {target}"
        for name, paths in modules().items()
        for path in paths
        for target in imports(path) - {name}
        if level[target] <= level[name]
    ]
    assert upward == []


def test_importing_does_nothing(tmp_path: Path) -> None:
    names = [f"catdog.{name}" for name in modules() if name != "__main__"]
    code = (
        "import importlib, sys, threading, logging\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
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
    path = SOURCE / "web" / "gunicorn_config.py"
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
