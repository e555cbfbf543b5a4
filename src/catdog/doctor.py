"""What this machine and this installation can do, what is missing, and how to get it."""

import importlib.metadata
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from catdog import __version__, telemetry
from catdog.backbone import resolve_precision
from catdog.database import database_exists, is_current, own_words
from catdog.errors import CatdogError
from catdog.frameworks import openvino_core
from catdog.regular_files import file_in_the_way
from catdog.settings import Settings, available_cores
from catdog.store import ModelStore

_ANSWERING: Final = ("openvino", "numpy", "pillow", "sqlalchemy")
_TRAINING: Final = ("keras", "tensorflow", "scikit-learn", "mlflow-skinny", "kagglehub")
_INSTRUCTION_SETS: Final = (
    "avx2",
    "avx512f",
    "avx512_bf16",
    "avx512_vnni",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "bf16",
)


@dataclass(frozen=True)
class Diagnosis:
    """What was found, and what a person may want to mend."""

    facts: dict[str, Any]
    problems: tuple[str, ...]


def diagnose(settings: Settings) -> Diagnosis:
    """Look at versions, processor, engine, paths and models; changes nothing."""
    problems: list[str] = []
    facts = {
        "catdog": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _packages(problems),
        "cores": available_cores(),
        "instruction_sets": _instruction_sets(),
        "engine": _engine(settings, problems),
        "paths": _paths(settings, problems),
        "model": _model(settings, problems),
    }
    return Diagnosis(facts, tuple(problems))


def _packages(problems: list[str]) -> dict[str, str | None]:
    found = {name: _version(name) for name in (*_ANSWERING, *_TRAINING, *telemetry.PACKAGES)}
    found["tensorflow"] = found["tensorflow"] or _version("tensorflow-cpu")
    problems.extend(f"{name} is missing: pip install catdog" for name in _ANSWERING if found[name] is None)
    if missing := [name for name in _TRAINING if found[name] is None]:
        problems.append(f"Training needs {', '.join(missing)}: pip install 'catdog[train]'")
    if telemetry.is_wanted() and (missing := [name for name in telemetry.PACKAGES if found[name] is None]):
        problems.append(f"Traces are wanted, and need {', '.join(missing)}: pip install 'catdog[telemetry]'")
    return found


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _instruction_sets() -> list[str]:
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:  # not Linux
        return []
    return [name for name in _INSTRUCTION_SETS if name in flags]


def _engine(settings: Settings, problems: list[str]) -> dict[str, Any]:
    try:
        core = openvino_core()
        precision = resolve_precision(settings.precision, core)
        if precision == "bf16" and resolve_precision("auto", core) == "f32":
            problems.append("CATDOG_PRECISION is bf16, which this processor does not have: auto would be faster")
        return {
            "device": core.get_property("CPU", "FULL_DEVICE_NAME"),
            "precision": precision,
            "threads": settings.resolved_threads,
        }
    except Exception as error:  # a broken installation may fail in any way, and that is what is being asked
        problems.append(f"OpenVINO does not start: {error}")
        return {}


def _paths(settings: Settings, problems: list[str]) -> dict[str, Any]:
    home = settings.home
    if in_the_way := file_in_the_way(home):
        problems.append(f"The home folder cannot be {home}: {in_the_way} is not a folder. Set CATDOG_HOME to another")
        return {"home": str(home)}
    if not home.is_dir():
        problems.append(f"The home folder {home} does not exist: mkdir -p {home}, or set CATDOG_HOME")
        return {"home": str(home)}
    if not os.access(home, os.W_OK):
        problems.append(f"The home folder {home} cannot be written: change its owner, or set CATDOG_HOME")
    return {
        "home": str(home),
        "data": _existing(settings.data_dir),
        "models": _existing(settings.models_dir),
        "database": _database(settings, problems),
        "free_gigabytes": round(shutil.disk_usage(home).free / 1e9, 1),
    }


def _database(settings: Settings, problems: list[str]) -> str:
    place = settings.resolved_database_url.split("@")[-1]
    try:
        if not database_exists(settings):
            return f"{place} (not made yet)"
        return place if is_current(settings) else f"{place} (older tables, brought up to date when it is opened)"
    except Exception as error:  # a server, its driver and a file can fail in any way
        problems.append(f"The database {place} cannot be used: {own_words(error).strip()}")
        return place


def _existing(path: Path) -> str:
    return str(path) if path.exists() else f"{path} (not made yet)"


def _model(settings: Settings, problems: list[str]) -> dict[str, Any]:
    store = ModelStore(settings.models_dir)
    try:
        versions = store.numbers()
        if not versions:
            return {"versions": [], "champion": "the bundled model, installed when it is first asked"}
        champion = store.get()
        return {
            "versions": versions,
            "champion": champion.number,
            "classes": list(champion.classes),
            "accuracy": round(champion.metrics["accuracy"], 4),
        }
    except CatdogError as error:
        problems.append(str(error))
        return {"versions": store.numbers()}
