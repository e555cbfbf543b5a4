"""Commands end with one sentence and an exit code."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from drawing import draw, encode, write_dataset, write_pictures

from catdog.settings import Settings, load_settings

CATDOG = f"{shlex.quote(sys.executable)} -m catdog"


def shell(home: Path, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell with `catdog` in it."""
    return subprocess.run(
        ["bash", "-c", command.replace("catdog ", f"{CATDOG} ")],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "CATDOG_HOME": str(home), "CATDOG_TRACKING": "false", **environment},
        cwd=home.parent,
        check=False,
        timeout=120,
    )


COMMANDS = ["models list", "jobs list --json", "--help"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_closed_stdout_causes_no_traceback(bundled: Settings, command: str) -> None:
    for closed in (">&-", ">&- 2>&- <&-"):
        finished = shell(bundled.home, f"catdog {command} {closed}")
        assert (finished.returncode, "Traceback" in finished.stderr) == (0, False)
    assert load_settings(home=bundled.home).home.is_dir()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_closed_pipe_causes_no_traceback(bundled: Settings, command: str) -> None:
    finished = shell(bundled.home, f"catdog {command} | head -c 1")
    assert (finished.returncode, finished.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("command", [*COMMANDS, "--version", "predict {picture}"])
def test_unwritable_output_is_a_sentence_and_an_exit_code(bundled: Settings, tmp_path: Path, command: str) -> None:
    (tmp_path / "cat.jpg").write_bytes(encode(draw("cat", 1)))
    finished = shell(bundled.home, f"catdog {command.format(picture=tmp_path / 'cat.jpg')} > /dev/full")
    assert finished.returncode == 1
    assert finished.stderr == "Error: Can't write the output or a file: No space left on device.\n"


SURROUNDINGS = {
    "ASCII": {"PYTHONIOENCODING": "ascii", "LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"},
    "Latin-1": {"PYTHONIOENCODING": "latin-1"},
    "a dumb terminal": {"TERM": "dumb", "COLUMNS": "1", "LINES": "1"},
    "no width": {"COLUMNS": "0"},
    "widths that are none": {"COLUMNS": "abc", "TERMINAL_WIDTH": "abc", "LINES": "-3"},
    "no home": {"HOME": ""},
    "a home that is not there": {"HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent/cache"},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", SURROUNDINGS)
def test_unusual_environments_cause_no_traceback(bundled: Settings, tmp_path: Path, case: str) -> None:
    name = tmp_path / "猫 ü \udcff.jpg"
    Path(os.fsdecode(os.fsencode(name))).write_bytes(encode(draw("cat", 1)))
    for command in (*COMMANDS, f"predict {tmp_path}"):
        finished = shell(bundled.home, f"catdog {command}", **SURROUNDINGS[case])
        assert (finished.returncode, "Traceback" in finished.stderr) == (0, False), finished.stderr
        assert finished.stdout
    refused = shell(bundled.home, f"catdog data import '{tmp_path}/猫'", **SURROUNDINGS[case])
    assert (refused.returncode, refused.stderr.startswith("Error: ")) == (1, True)


def test_a_missing_working_directory_is_one_sentence(bundled: Settings, tmp_path: Path) -> None:
    gone = "mkdir gone && cd gone && rmdir ../gone"
    assert shell(bundled.home, f"{gone} && catdog models list").returncode == 0
    finished = shell(bundled.home, f"{gone} && unset CATDOG_HOME && catdog models list")
    assert finished.returncode == 2
    assert finished.stderr.startswith("Error: CATDOG_HOME: The working directory no longer exists")
    assert list(tmp_path.iterdir()) == []


STOPPED = {
    "train": ("train {pets}", "Features computed so far are kept; run the same command to continue."),
    "import": ("data import {pets}", "Nothing was added to data/."),
    "check": ("data check {pets}", "Nothing was written."),
    "predict": ("predict -r {pets}", "The predictions so far are complete."),
    "evaluate": ("evaluate --data {pets}", "Nothing was written."),
    "add": (
        "uploads add -r {pets} --category cat",
        "Images added so far are kept; run the same command to add the rest.",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("case", STOPPED)
def test_a_stopped_command_says_what_was_kept(tmp_path: Path, pets: Path, case: str, number: signal.Signals) -> None:
    command, sentence = STOPPED[case]
    home = tmp_path / "home"
    code = (  # a slow machine: whatever reads an image takes its time, and says that it has begun
        "import sys, time, catdog.data.images.decoding as d\n"
        "inner = d.inspect\n"
        "def slow(*given):\n"
        "    sys.stderr.write('begun\\n'); sys.stderr.flush(); time.sleep(0.3)\n"
        "    return inner(*given)\n"
        "d.inspect = slow\n"
        "from catdog.__main__ import main\n"
        "main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *command.format(pets=pets).split()],
        env={**os.environ, "CATDOG_HOME": str(home), "CATDOG_TRACKING": "false", "CATDOG_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for _ in range(3):
        assert process.stderr.readline() == "begun\n"
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert errors.splitlines()[-1] == f"Error: Stopped. {sentence}"
    assert "Traceback" not in errors
    if case == "add":
        assert "added to cats" in output
    if case == "import":
        assert list((home / "data").iterdir()) == []


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that takes some time."""
    return write_dataset(tmp_path_factory.mktemp("pets") / "pets", 40, 10)


def test_a_second_signal_causes_no_traceback(tmp_path: Path, pets: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "catdog", "train", str(pets)],
        env={**os.environ, "CATDOG_HOME": str(tmp_path / "home"), "CATDOG_TRACKING": "false"},
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(2)
    for _ in range(20):
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "Traceback" not in errors


@pytest.mark.parametrize(("raised", "code"), [("KeyboardInterrupt", 130), ("StoppedError('Stopped.', 143)", 143)])
def test_a_stopped_command_leaves_no_temporary_folder(tmp_path: Path, raised: str, code: int) -> None:
    program = (
        "import sys, tempfile\n"
        "from catdog.cli import ending\n"
        "from catdog.errors import StoppedError\n"
        "held = tempfile.TemporaryDirectory(dir=sys.argv[1])\n"
        f"def command(): raise {raised}\n"
        "print('output', end='')\n"
        "ending.run(command)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (finished.returncode, finished.stdout, finished.stderr) == (code, "output", "Error: Stopped.\n")
    assert list(tmp_path.iterdir()) == []


def test_predictions_are_complete_for_file_names_that_are_not_text(bundled: Settings, tmp_path: Path) -> None:
    write_pictures(tmp_path / "cats", "cat", 1)[0].rename(tmp_path / "cats" / "\udcff\udcfe.jpg")
    finished = shell(bundled.home, f"catdog predict {tmp_path}/cats")
    assert finished.returncode == 0
    assert "\\udcff\\udcfe.jpg" in finished.stdout


def test_a_name_in_an_error_moves_no_cursor(bundled: Settings, tmp_path: Path) -> None:
    name = "\x1b[2J[bold]\u202egpj"
    finished = subprocess.run(
        [sys.executable, "-m", "catdog", "data", "import", tmp_path / name],
        env={**os.environ, "CATDOG_HOME": str(bundled.home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1
    assert "\\x1b[2J[bold]\\u202egpj" in finished.stderr
    assert "\x1b" not in finished.stderr
