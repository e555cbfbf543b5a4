"""The README's tour, the tutorial and the Python examples are run as a user would, each in a new folder."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from documents import blocks
from drawing import write_dataset
from servers import ask, free_port
from waiting import wait_for

LONGEST = 250
"""Seconds for one block, on a machine that has much else to do."""


class User:
    """Somebody who runs the blocks of a page in a folder; a server they start runs until the end."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.servers: list[subprocess.Popen[bytes]] = []
        # An error response fails the command, and what goes to the usual port goes to the one of this test.
        curl = f'silent\nfail-with-body\nnoproxy = *\nconnect-to = "127.0.0.1:5000:127.0.0.1:{self.port}"\n'
        (folder.parent / ".curlrc").write_text(curl)
        self.environment = os.environ | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "CURL_HOME": str(folder.parent),
            "PORT": str(self.port),
            "CATDOG_HOST": "127.0.0.1",  # which PORT would change to every address
            "WEB_CONCURRENCY": "1",
        }

    def run(self, *command: str) -> str:
        """Run a command to its end, and return what it prints."""
        finished = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=LONGEST, check=False
        )
        assert finished.returncode == 0, f"{command[-1]}\n{finished.stdout}\n{finished.stderr}"
        return finished.stdout

    def shell(self, block: str) -> str:
        """Run a block of a page; `catdog serve` goes on in the background."""
        if block.strip() != "catdog serve":
            return self.run("bash", "-euo", "pipefail", "-c", block)
        self.servers.append(
            subprocess.Popen(["catdog", "serve"], cwd=self.folder, env=self.environment, start_new_session=True)
        )
        wait_for(self._is_ready)
        return ""

    def _is_ready(self) -> bool:
        with suppress(OSError):
            return ask(self.port, "GET", "/readyz")[0] == 200
        return False


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    (tmp_path / "empty").mkdir()
    user = User(tmp_path / "empty")
    yield user
    for server in user.servers:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("curl"), reason="no curl")
@pytest.mark.timeout(900)  # many commands
def test_the_tutorial_runs_in_an_empty_folder(user: User) -> None:
    printed = "".join(user.shell(block) for block in blocks("docs/tutorial.md", "sh"))
    assert '"class":"Dog"' in printed
    assert (user.folder / "report.html").is_file()
    assert (user.folder / "models" / "2").is_dir(), "the retraining made a version"
    (python,) = blocks("README.md", "python")
    assert "class_name='Cat'" in user.run(sys.executable, "-c", python)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tour_of_the_readme_runs_in_an_empty_folder(user: User) -> None:
    _make, tour = blocks("README.md", "sh")
    assert len(tour.splitlines()) == 5
    user.shell(tour)
    assert (user.folder / "report.html").is_file()
    assert (user.folder / "why" / "overlay.jpg").is_file()


@pytest.mark.slow
def test_the_python_of_the_training_page_runs(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(tmp_path / "pets", train=12, test=2)
    shutil.copyfile(weights, tmp_path / "mobilenet.weights.h5")
    monkeypatch.chdir(tmp_path)
    (python,) = blocks("docs/training.md", "python")
    names: dict[str, object] = {}
    exec(compile(python, "training.md", "exec"), names)
    assert len(names["history"].epochs) == 1  # type: ignore[attr-defined]
