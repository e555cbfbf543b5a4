"""The servers of `benchmarks/serve.py`, and how to start them."""

import hashlib
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
SERVERS = HERE / "servers"
REQUIREMENTS = SERVERS / "requirements.txt"
SAME_VERSIONS = ("numpy", "openvino", "pillow")
"""Packages for decoding and inference; rivals get the versions installed here."""

CATDOG, USUAL, BARE, BARE_FEATURES = "catdog", "usual", "bare", "bare-features"
FRAMEWORKS = ("fastapi", "litserve", "bentoml")


@dataclass(frozen=True)
class Place:
    """Port, number of processes and folders for a server.

    `home` has the bundled model installed, `fresh_home` is empty, `model` is the whole network as a Keras file, and
    `environment` is the virtual environment of the frameworks.
    """

    port: int
    workers: int
    home: Path
    fresh_home: Path
    model: Path
    environment: Path


@dataclass(frozen=True)
class Server:
    """A server with `POST /api/predict`; `takes_raw` is whether it accepts an `image/jpeg` body."""

    name: str
    command: Callable[[Place], list[str]]
    variables: Callable[[Place], Mapping[str, str]]
    takes_raw: bool = field(default=False)


def _catdog_variables(place: Place) -> dict[str, str]:
    return {"CATDOG_HOME": str(place.fresh_home), "WEB_CONCURRENCY": str(place.workers)}


def _rival_variables(place: Place) -> dict[str, str]:
    # As in catdog's processes: matrix products of one process shouldn't take another's core.
    return {"CATDOG_HOME": str(place.home), "OPENBLAS_NUM_THREADS": "1", "WORKERS": str(place.workers)}


def _usual_variables(place: Place) -> dict[str, str]:
    return {"MODEL": str(place.model), "TF_CPP_MIN_LOG_LEVEL": "3"}


def _catdog(place: Place) -> list[str]:
    return [sys.executable, "-m", "catdog", "serve", "--host", "127.0.0.1", "--port", str(place.port)]


def _usual(place: Place) -> list[str]:
    return [sys.executable, str(SERVERS / "usual.py"), str(place.port)]


def _usual_gunicorn(place: Place) -> list[str]:
    options = ["--workers", str(place.workers), "--bind", f"127.0.0.1:{place.port}", "--timeout", "120"]
    # gunicorn reads `gunicorn.conf.py` in the working directory, which may be catdog's own.
    return ["env", f"--chdir={SERVERS}", sys.executable, "-m", "gunicorn", *options, "usual:app"]


def _fastapi(place: Place) -> list[str]:
    options = ["--host", "127.0.0.1", "--port", str(place.port), "--workers", str(place.workers)]
    quiet = ["--no-access-log", "--log-level", "warning"]
    return [str(place.environment / "bin/uvicorn"), "with_fastapi:app", "--app-dir", str(SERVERS), *options, *quiet]


def _litserve(place: Place) -> list[str]:
    return [str(place.environment / "bin/python"), str(SERVERS / "with_litserve.py"), str(place.port)]


def _bentoml(place: Place) -> list[str]:
    options = ["--host", "127.0.0.1", "--port", str(place.port), "--working-dir", str(SERVERS)]
    return [str(place.environment / "bin/bentoml"), "serve", "with_bentoml:Classifier", *options]


SERVING = (
    Server(CATDOG, _catdog, _catdog_variables, takes_raw=True),
    Server(USUAL, _usual, _usual_variables),
    Server("usual-gunicorn", _usual_gunicorn, _usual_variables),
    Server("fastapi", _fastapi, _rival_variables),
    Server("litserve", _litserve, _rival_variables),
    Server("bentoml", _bentoml, _rival_variables),
)
LOOPS = {BARE: "predict", BARE_FEATURES: "features"}
NAMES = (*(server.name for server in SERVING), *LOOPS)


def prepare_home(home: Path) -> None:
    """Install the bundled model into a home folder."""
    from catdog.registry.starter import ensure_champion  # here, to keep `--help` fast

    ensure_champion(home / "models")


def save_usual_model(home: Path, target: Path) -> None:
    """Write the bundled backbone and head as one Keras file, in a separate process that loads TensorFlow."""
    subprocess.run(
        [sys.executable, str(SERVERS / "save_usual_model.py"), str(home / "models"), str(target)], check=True
    )


def prepare_environment(folder: Path) -> None:
    """Create the virtual environment of the frameworks unless it is up to date.

    It contains `servers/requirements.txt` and this checkout of catdog, with the versions of OpenVINO, Pillow and NumPy
    installed here.
    """
    same = "".join(f"{name}=={version(name)}\n" for name in SAME_VERSIONS)
    wanted = hashlib.sha256(f"{HERE.parent}\n{same}{REQUIREMENTS.read_text()}".encode()).hexdigest()
    stamp = folder / "made-from"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"installing the frameworks into {folder}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    constraints = folder / "same-versions.txt"
    constraints.write_text(same)
    what = ["--requirement", str(REQUIREMENTS), "--constraint", str(constraints), "--editable", str(HERE.parent)]
    subprocess.run([str(folder / "bin/pip"), "install", "--quiet", *what], check=True)
    stamp.write_text(wanted)
