"""Diagnosis of the machine and the installation."""

import importlib.metadata
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from catdog import __version__
from catdog.errors import CatdogError
from catdog.features.backbone import resolve_precision
from catdog.features.frameworks import openvino_core
from catdog.monitoring import tracing
from catdog.registry.store import ModelStore
from catdog.settings import Settings, available_cores
from catdog.storage.database import database_exists, driver_message, is_current
from catdog.storage.regular_files import file_in_the_way

_RUNTIME_PACKAGES: Final = ("openvino", "numpy", "pillow", "sqlalchemy")
_TRAINING_PACKAGES: Final = ("keras", "tensorflow", "scikit-learn", "mlflow-skinny", "kagglehub")
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
    """The findings, and problems to fix."""

    facts: dict[str, Any]
    problems: tuple[str, ...]


def diagnose(settings: Settings) -> Diagnosis:
    """Check versions, processor, engine, paths and models, without changing anything."""
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
    found = {name: _version(name) for name in (*_RUNTIME_PACKAGES, *_TRAINING_PACKAGES, *tracing.PACKAGES)}
    found["tensorflow"] = found["tensorflow"] or _version("tensorflow-cpu")
    problems.extend(f"{name} is missing: pip install catdog" for name in _RUNTIME_PACKAGES if found[name] is None)
    if missing := [name for name in _TRAINING_PACKAGES if found[name] is None]:
        problems.append(f"Training needs {', '.join(missing)}: pip install 'catdog[train]'")
    if tracing.is_wanted() and (missing := [name for name in tracing.PACKAGES if found[name] is None]):
        problems.append(f"Tracing is on and needs {', '.join(missing)}: pip install 'catdog[telemetry]'")
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
            problems.append("CATDOG_PRECISION is bf16, which this processor doesn't support; auto is faster")
        return {
            "device": core.get_property("CPU", "FULL_DEVICE_NAME"),
            "precision": precision,
            "threads": settings.resolved_threads,
        }
    except Exception as error:  # a broken installation may fail in any way
        problems.append(f"OpenVINO can't be started: {error}")
        return {}


def _paths(settings: Settings, problems: list[str]) -> dict[str, Any]:
    home = settings.home
    if in_the_way := file_in_the_way(home):
        problems.append(f"The home folder can't be {home}: {in_the_way} isn't a folder. Set CATDOG_HOME to another one")
        return {"home": str(home)}
    if not home.is_dir():
        problems.append(f"The home folder {home} doesn't exist. Create it with mkdir -p {home}, or set CATDOG_HOME")
        return {"home": str(home)}
    if not os.access(home, os.W_OK):
        problems.append(f"The home folder {home} isn't writable. Change its owner, or set CATDOG_HOME")
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
            return f"{place} (not created yet)"
        return place if is_current(settings) else f"{place} (older tables, upgraded when it is opened)"
    except Exception as error:  # a server, its driver and a file can fail in any way
        problems.append(f"The database {place} can't be used: {driver_message(error).strip()}")
        return place


def _existing(path: Path) -> str:
    return str(path) if path.exists() else f"{path} (not created yet)"


def _model(settings: Settings, problems: list[str]) -> dict[str, Any]:
    store = ModelStore(settings.models_dir)
    try:
        versions = store.numbers()
        if not versions:
            return {"versions": [], "champion": "the bundled model, installed on first use"}
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
