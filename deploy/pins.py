"""Hold an installation of a part of catdog to the versions that requirements.txt locks for the whole of it.

    python deploy/pins.py lock               # the lock without catdog itself: constraints for pip
    python deploy/pins.py select postgres    # what catdog needs, with these extras: requirements for pip
    python deploy/pins.py check ENVIRONMENT  # fails, and names them, where installed packages are not as locked

The Dockerfile uses it beside `pyproject.toml` and `requirements.txt`, with nothing installed but Python.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path


def lock(requirements: str) -> list[str]:
    """Give the lines of the lock that pin a package."""
    return [line for line in requirements.splitlines() if "==" in line and not line.startswith("#")]


def select(project: str, extras: Iterable[str]) -> list[str]:
    """Give the requirements of catdog with some of its extras, from the text of `pyproject.toml`.

    Raises:
        SystemExit: an extra is not there.
    """
    table = tomllib.loads(project)["project"]
    found = list(table["dependencies"])
    for extra in extras:
        if extra not in table["optional-dependencies"]:
            known = ", ".join(table["optional-dependencies"])
            raise SystemExit(f"There are these extras: {known}. Received: {extra}")
        found += table["optional-dependencies"][extra]
    return found


def unlocked(environment: Path, requirements: str) -> list[str]:
    """Name the packages of a virtual environment but catdog, `name==version`, that the lock does not have so."""
    pins = {_canonical(line.partition(";")[0].strip()) for line in lock(requirements)}
    folders = [str(folder) for folder in environment.glob("lib/python*/site-packages")]
    if not folders:
        raise SystemExit(f"A virtual environment is needed. Received: {environment}")
    installed = {_canonical(f"{found.name}=={found.version}") for found in distributions(path=folders)}
    return sorted(one for one in installed - pins if not one.startswith("catdog=="))


def main(arguments: list[str]) -> None:
    """Do what the first argument says, in a folder with both files."""
    what, *rest = arguments or [""]
    requirements = Path("requirements.txt").read_text(encoding="utf-8")
    if what == "lock":
        print("\n".join(lock(requirements)))
    elif what == "select":
        print("\n".join(select(Path("pyproject.toml").read_text(encoding="utf-8"), rest)))
    elif what == "check" and len(rest) == 1:
        if wrong := unlocked(Path(rest[0]), requirements):
            raise SystemExit(f"requirements.txt does not lock these; run `make lock`. Received: {', '.join(wrong)}")
    else:
        raise SystemExit(f"{__doc__}\nReceived: {' '.join(arguments) or 'nothing'}")


def _canonical(pin: str) -> str:
    """Write `name==version` as packages are compared (PEP 503)."""
    name, _, version = pin.partition("==")
    return f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}"


if __name__ == "__main__":
    main(sys.argv[1:])
