"""Commands of the documents that are not run, why not, and how each is checked all the same.

A new command belongs here only if it cannot run on any machine: it needs an account, an engine, hours, or changes the
machine. What it begins with, the reason, and a function that checks its words against the project.
"""

import argparse
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from documents import ROOT
from typer.main import get_command

from catdog.cli.app import app

Words = list[str]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
KUSTOMIZATION = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "kustomization.yaml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


class ParsedError(Exception):
    """Ends a script when its arguments were understood."""


def check_catdog(words: Words) -> None:
    """Check that catdog has the command and each of its options."""
    command, known, rest = get_command(app), {"--help"}, words[1:]
    known |= options_of(command)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]  # type: ignore[attr-defined]
        known |= options_of(command)
    if rest and rest[0] != "COMMAND":
        assert not getattr(command, "commands", {}) or rest[0].startswith("-"), f"catdog has no command {rest[0]!r}"
    unknown = {word.partition("=")[0] for word in rest if word.startswith("-")} - known
    assert not unknown, f"no options of that command: {unknown}"


def options_of(command: object) -> set[str]:
    return {name for one in command.params for name in [*one.opts, *one.secondary_opts]}  # type: ignore[attr-defined]


def check_python(words: Words) -> None:
    """Let a script read its arguments, and end it there; one without any arguments only has to be there."""
    path = ROOT / words[1]
    assert path.is_file(), f"no such file: {words[1]}"
    if "argparse" not in path.read_text(encoding="utf-8"):
        return
    original = argparse.ArgumentParser.parse_args

    def parse_and_end(parser: argparse.ArgumentParser, *given: object) -> None:
        original(parser, *given)  # type: ignore[call-overload]
        raise ParsedError

    refused = True
    arguments = ["--help"] if "…" in words or len(words) == 2 else words[2:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_end)
        patch.setattr(sys, "argv", [str(path), *arguments])
        patch.syspath_prepend(path.parent)
        try:
            runpy.run_path(str(path), run_name="__main__")
        except ParsedError:
            return
        except SystemExit as ended:
            refused = ended.code != 0
    assert not refused, f"{words[1]} does not take {arguments}"


def check_make(words: Words) -> None:
    """Let make say what it would do, and check the tests that pytest is told to choose."""
    environment = os.environ | {"PYTHON": sys.executable}  # which it would look for
    said = subprocess.run(
        ["make", "-n", *words[1:]], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    for word in words[1:]:
        if word.startswith("ARGS=") and words[1] == "test":
            check_pytest(["pytest", *shlex.split(word.removeprefix("ARGS="))])
        elif word.startswith("ARGS=") and words[1] == "loadtest":
            check_python(["python", "benchmarks/loadtest.py", *shlex.split(word.removeprefix("ARGS="))])


def check_pytest(words: Words) -> None:
    """Check that the files exist, and that the keyword is in the name of a test or its file."""
    for word in words[1:]:
        assert not word.startswith("tests/") or (ROOT / word).exists(), f"no such file: {word}"
    if "-k" in words:
        keyword = words[words.index("-k") + 1]
        names = [name for path in (ROOT / "tests").glob("test_*.py") for name in [path.stem, *names_of_tests(path)]]
        assert any(keyword in name for name in names), f"no test has {keyword!r} in its name"


def names_of_tests(path: Path) -> list[str]:
    return re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)


def check_pip(words: Words) -> None:
    """Check that the file of requirements, or the extra of this project, exists."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for word in words:
        if found := re.fullmatch(r"\.\[([\w,]+)\]|catdog\[([\w,]+)\]", word):
            assert set((found[1] or found[2]).split(",")) <= extras.keys(), f"no such extra: {word}"
    if "-r" in words:
        assert (ROOT / words[words.index("-r") + 1]).is_file()


def check_docker(words: Words) -> None:
    """Check stages, services and volumes against Dockerfile and docker-compose.yml."""
    if words[1] == "compose":
        scaled = [word.partition("=")[0] for word in words if re.fullmatch(r"[a-z]+=\d+", word)]
        services = [word for before, word in pairwise(words) if before in ("exec", "logs", "-T")]
        assert {*scaled, *(name for name in services if not name.startswith("-"))} <= COMPOSE["services"].keys()
        return
    for option, known in (
        ("--target", set(re.findall(r"^FROM \S+ AS ([\w-]+)$", DOCKERFILE, re.MULTILINE))),
        ("-v", {"catdog:/var/lib/catdog"}),
    ):
        if option in words:
            assert words[words.index(option) + 1] in known
    assert words[1] != "build" or words[-1] == ".", "the Dockerfile is at the top of the project"


def check_kubectl(words: Words) -> None:
    """Check names against the files under deploy/kubernetes/, and let kubectl try what needs no cluster."""
    namespace = KUSTOMIZATION["namespace"]
    if "--namespace" in words:
        assert words[words.index("--namespace") + 1] == namespace
    if "--kustomize" in words:
        assert (ROOT / words[words.index("--kustomize") + 1] / "kustomization.yaml").is_file()
    if "create" not in words:
        return
    kind, name = (words[words.index("create") + 1], words[words.index("create") + (3 if "secret" in words else 2)])
    texts = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "deploy" / "kubernetes").glob("*.yaml"))
    assert name == namespace if kind == "namespace" else f"name: {name}" in texts
    if shutil.which("kubectl"):
        tried = subprocess.run([*words, "--dry-run=client", "-o", "name"], capture_output=True, text=True, check=False)
        assert tried.returncode == 0, tried.stderr


def check_cloud(words: Words) -> None:
    """Check that the image is one that is built here, and that the home is mounted where the image has it."""
    text = " ".join(words)
    image = words[words.index("--image") + 1]
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert f"-t {image.rpartition('/')[2]} " in page, f"no image is built under the name of {image}"
    home = re.search(r"CATDOG_HOME=(\S+)", DOCKERFILE)
    assert home
    assert home[1] in text


def check_system(words: Words) -> None:
    """Check that what is set up for systemd is what deploy/catdog.service uses."""
    unit = (ROOT / "deploy" / "catdog.service").read_text(encoding="utf-8")
    for path in re.findall(r"/(?:opt|etc|var)/[\w./]*catdog[\w./-]*", " ".join(words)):
        assert path.rpartition("/bin/")[0] in unit if "/bin/" in path else path in unit, f"the service has no {path}"
    if words[0] == "systemctl":
        assert (ROOT / "deploy" / f"{words[-1]}.service").is_file()
    if words[0] == "useradd":
        assert f"User={words[-1]}" in unit


def check_locust(words: Words) -> None:
    """Let locust load its file and list its options."""
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / words[words.index("-f") + 1]), "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= set(
        re.findall(r"--[\w-]+", said.stdout)
    )


def check_program(words: Words) -> None:
    """Check a program of the project, or of its environment, by its path."""
    path = words[0]
    assert path.startswith(".venv/bin/") or os.access(ROOT / path, os.X_OK), f"no such program: {path}"


def check_notebook(words: Words) -> None:
    """Check that the notebook is there."""
    assert (ROOT / words[-1]).is_file(), f"no such file: {words[-1]}"


@dataclass(frozen=True)
class NotRun:
    """Commands that are not run: what they begin with, why, and how they are checked; what is run in their place."""

    begins: str
    reason: str
    check: Callable[[Words], None]
    instead: str = ""


DEBIAN = "changes the machine, as root"
NOT_RUN = [
    NotRun("make run", "installs everything anew; the README is followed by hand before a release", check_make),
    NotRun("make test", "would run this test too", check_make),
    NotRun("make check", "`.ci/run` has run it before", check_make),
    NotRun("make loadtest", "takes minutes; its parts are tested by tests/e2e/deploy/test_deploy_load.py", check_make),
    NotRun("make docs", "builds the site, as tests/e2e/docs/test_site.py does", check_make),
    NotRun("make notebook", "takes minutes; tests/e2e/docs/test_notebook.py runs its cells", check_make),
    NotRun("make lock", "needs a network, and changes the locks", check_make),
    NotRun(".ci/run", "would run this test too", check_program),
    NotRun(".venv/bin/ruff", "would change the project", check_program),
    NotRun("python benchmarks/", "takes minutes, and photographs", check_python),
    NotRun("python docs/make_", "changes the project's pictures and tables", check_python),
    NotRun("pytest", "a choice of these tests", check_pytest),
    NotRun("jupyter lab", "opens a browser; tests/e2e/docs/test_notebook.py runs the cells", check_notebook),
    NotRun(
        "locust", "loads a server until it is stopped; tests/e2e/deploy/test_deploy_load.py runs the file", check_locust
    ),
    NotRun("pip install", "needs a network, and changes the environment", check_pip),
    NotRun("catdog data download", "needs a network", check_catdog, "catdog data import archive.zip"),
    NotRun("catdog train pets --backbone mobilenet.weights.h5 --fine-tune", "takes hours", check_catdog),
    NotRun(
        "docker",
        "needs a Docker engine; tests/e2e/deploy/test_deploy_image.py builds the images without one",
        check_docker,
    ),
    NotRun("kubectl", "needs a cluster; tests/e2e/deploy/test_deploy_files.py checks the objects", check_kubectl),
    NotRun("gcloud", "needs an account", check_cloud),
    NotRun("az", "needs an account", check_cloud),
    NotRun("apt-get", DEBIAN, check_system),
    NotRun("useradd", DEBIAN, check_system),
    NotRun("systemctl", DEBIAN, check_system),
    NotRun("python3 -m venv /opt/", DEBIAN, check_system),
    NotRun(
        "python3 deploy/pins.py", "writes into /tmp; tests/e2e/deploy/test_deploy_files.py tests what", check_python
    ),
    NotRun("printf CATDOG_API_KEY", DEBIAN, check_system),
    NotRun("/opt/", DEBIAN, check_pip),
    NotRun("chmod 600 /etc/", DEBIAN, check_system),
    NotRun("cp deploy/catdog.service /etc/", DEBIAN, check_system),
]
