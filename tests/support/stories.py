"""Pages of the documents as stories: what a page tells a reader to type is typed, in order, in one folder.

The folder is a checkout with a trained home, photographs (drawn ones) under the names that the pages use, and without
`src/`. Commands run as they stand. Only what surrounds them is quick and private: a free port in place of 5000, one web
process, no worker, no recording of runs.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from documents import ROOT, Command, simple_commands
from drawing import add_drawings, draw, encode, write_dataset, write_pictures
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from catdog.cli import console
from catdog.cli.app import app
from catdog.errors import CatdogError
from catdog.registry.store import ModelStore
from catdog.retraining.jobs.table import Jobs
from catdog.settings import Settings, load_settings
from catdog.storage.database import open_database

KEY = "a-key-for-the-documents"
SERVERS = (["catdog", "serve"], ["gunicorn"], ["python", "app.py"])
"""What runs until it is stopped, and answers at the port."""

IN_PROCESS = {"train", "evaluate", "predict", "explain", "data", "models", "uploads", "jobs", "doctor"}
"""Commands of catdog that are the same in this process: they start none and leave nothing behind in it."""

LONGEST = 250
"""Seconds for one command, on a machine that has much else to do."""

ADVICE = """
What the command needs is made in stories.prepare. One that can run on no machine goes into unrunnable.NOT_RUN, with the
reason; one whose exit code is not 0, as the page says, into test_docs_commands.ENDS_WITH."""


@dataclass
class Story:
    """A folder in which the commands of a page run, and the server that runs there, if one does."""

    folder: Path
    port: int
    environment: dict[str, str]
    server: subprocess.Popen[bytes] | None = field(default=None)

    def run(self, command: Command, code: int = 0) -> str:
        """Run a command as it stands and give what it printed; it must end with `code`, or go on where it serves."""
        programs = simple_commands(command.text)
        if any(words[: len(server)] == server for words in programs for server in SERVERS):
            return self._serve(command)
        if any(words[:2] == ["catdog", "worker"] for words in programs):
            return self._work(command)
        if any(words[0] == "curl" for words in programs) and self.server is None:
            self._serve(Command(command.page, command.line, "catdog serve"))
        if len(programs) == 1 and programs[0][0] == "catdog" and programs[0][1] in IN_PROCESS:
            ended, printed = self._call(programs[0][1:])
        else:
            ended, printed = self._shell(command.text)
        assert ended == code, f"{command}\nended with {ended}; expected: {code}\n{printed}\n{ADVICE}"
        return printed

    def settings(self) -> Settings:
        """Give the settings of the story's home."""
        return load_settings(home=self.folder)

    def stop(self) -> None:
        """Stop what still runs."""
        if self.server:
            end(self.server)
            self.server = None

    def _call(self, arguments: list[str]) -> tuple[int, str]:
        result = CliRunner().invoke(app, arguments, env=self.environment)
        if isinstance(result.exception, CatdogError):
            return result.exception.exit_code, f"{result.output}\n{result.exception}"
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    def _shell(self, text: str) -> tuple[int, str]:
        finished = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env=os.environ | self.environment,
            timeout=LONGEST,
            check=False,
        )
        return finished.returncode, finished.stdout.decode()

    def _serve(self, command: Command) -> str:
        """Start a server in place of the one before, wait until it answers, and let it run."""
        self.stop()
        self.server = self._start(command)
        self._wait_for(command, self.server, self._answers)
        return self._log(command).read_text(encoding="utf-8")

    def _work(self, command: Command) -> str:
        """Let a worker begin with a queued job, and stop it."""
        engine = open_database(self.settings())
        jobs = Jobs(engine)
        worker = self._start(command)
        try:
            self._wait_for(command, worker, lambda: jobs.latest(limit=1)[0].state != "queued")
        finally:
            end(worker)
            engine.dispose()
        return self._log(command).read_text(encoding="utf-8")

    def _start(self, command: Command) -> subprocess.Popen[bytes]:
        with self._log(command).open("wb") as log:
            return subprocess.Popen(
                ["bash", "-c", command.text],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=os.environ | self.environment,
                start_new_session=True,
            )

    def _log(self, command: Command) -> Path:
        return self.folder.parent / f"output-{command.line}.txt"

    def _answers(self) -> bool:
        with suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=10).close()
            return True
        return False

    def _wait_for(self, command: Command, process: subprocess.Popen[bytes], happened: Callable[[], bool]) -> None:
        until = time.monotonic() + LONGEST
        while not happened():
            printed = self._log(command).read_text(encoding="utf-8")
            assert process.poll() is None, f"{command}\nended with {process.returncode}\n{printed}"
            assert time.monotonic() < until, f"{command}\ndid not begin to work\n{printed}"
            time.sleep(0.05)


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a process and those that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def story(folder: Path, prepared: Path, port: int, *, with_key: bool) -> Iterator[Story]:
    """Make a folder of its own for a page, as a copy of a prepared one, and stop at the end what runs in it."""
    shutil.copytree(prepared, folder, symlinks=True)
    curl = folder.parent / "curl"
    curl.mkdir()
    # An answer that is an error fails the command; what goes to the usual port goes to the one of this test.
    redirected = "".join(f'connect-to = "{name}:5000:127.0.0.1:{port}"\n' for name in ("127.0.0.1", "localhost"))
    (curl / ".curlrc").write_text(f"silent\nshow-error\nfail-with-body\nnoproxy = *\n{redirected}")
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "COLUMNS": "300",
        "NO_COLOR": "1",
        "TTY_COMPATIBLE": "1",  # as a person sees it, and not as a pipe gets it
        "CURL_HOME": str(curl),
        "PORT": str(port),
        "CATDOG_HOST": "127.0.0.1",  # which PORT would change to every address
        "WEB_CONCURRENCY": "1",
        "CATDOG_WORKER": "external",
        "CATDOG_TRACKING": "false",
        **({"CATDOG_API_KEY": KEY} if with_key else {}),
    }
    told = Story(folder, port, environment)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setattr(console.out, "width", int(environment["COLUMNS"]))  # read when it was imported
            yield told
    finally:
        told.stop()


def prepare(folder: Path, trained: Settings, weights: Path, add_constant: Callable[[Settings, int], int]) -> Path:
    """Fill a folder with what the pages take for granted: a checkout, a home with three versions, and pictures.

    A page that needs another file gets it here.
    """
    shutil.copytree(trained.home, folder)
    for path in ROOT.iterdir():
        if path.suffix in (".py", ".yml", ".toml", ".txt") or path.name in ("deploy", "Makefile", ".env.example"):
            (folder / path.name).symlink_to(path)
    settings = load_settings(home=folder, tracking=False)
    store = ModelStore(settings.models_dir)
    for number in (add_constant(settings, 0), add_constant(settings, 1), 1):
        store.promote(number, "for the documents")
    for animal in ("cat", "dog"):
        add_drawings(settings, animal, 4)
    _write_pets(folder / "pets")
    _write_pictures(folder)
    shutil.copyfile(weights, folder / "mobilenet.weights.h5")
    return folder


def _write_pets(pets: Path) -> None:
    """Write a data set with what real ones have: files that are no pictures, copies, a label that is wrong."""
    write_dataset(pets, train=20, test=6)
    for split in ("train", "test"):
        for name in ("cats", "dogs"):
            (pets / split / name / "_DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1".ljust(6148, b"\x00"))
    for number in range(2):
        shutil.copyfile(pets / "train" / "cats" / f"cat.{number}.jpg", pets / "train" / "cats" / f"copy.{number}.jpg")
    (pets / "test" / "cats" / "cat.4688.jpg").write_bytes(encode(draw("dog", 4688), quality=90))


def _write_pictures(folder: Path) -> None:
    """Write the pictures that the pages name, and archives of some."""
    for animal, first in (("cat", 4032), ("dog", 4018)):
        write_pictures(folder / "photos", animal, 3, first=first)
    for seed, name in enumerate(("a", "b", "c", "cat", "dog"), 300):
        animal = "dog" if name in ("c", "dog") else "cat"
        (folder / f"{name}.jpg").write_bytes(encode(draw(animal, seed), quality=90))
    (folder / "things").mkdir()
    for count in range(3):
        picture = Image.new("RGB", (200, 160), "white")
        ImageDraw.Draw(picture).rectangle((20 * count, 30, 120, 90), "navy")
        (folder / "things" / f"{count}.jpg").write_bytes(encode(picture))
    shutil.copyfile(folder / "things" / "0.jpg", folder / "finch.jpg")
    (folder / "empty.jpg").touch()
    (folder / "animation.gif").write_bytes(b"GIF89a".ljust(12, b"\x00"))
    with zipfile.ZipFile(folder / "cats.zip", "w") as cats:
        for seed in range(400, 403):
            cats.writestr(f"{seed}.jpg", encode(draw("cat", seed), quality=90))
    shutil.make_archive(str(folder / "archive"), "zip", folder / "pets")
