"""The folder of a server's metrics, and what a killed server leaves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from catdog.web import metrics_folder

SERVER = (
    "import sys, pathlib\n"
    "from catdog.web import metrics_folder\n"
    "where = pathlib.Path(sys.argv[1])\n"
    "metrics_folder.remove_orphans(where)\n"
    "print(metrics_folder.make_locked(where), flush=True)\n"
    "sys.stdin.read()\n"
)


def start(where: Path) -> tuple["subprocess.Popen[str]", Path]:
    """Run a process that has its folder in `where`."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(where)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def test_the_next_start_removes_what_a_killed_server_left_and_nothing_else(tmp_path: Path) -> None:
    killed, left = start(tmp_path)
    (left / f"counter_{os.getpid()}.db").write_bytes(b"x")  # its process id was given to another one since
    running, used = start(tmp_path)
    assert left.is_dir()
    end(killed)
    foreign, link = tmp_path / "something-else", tmp_path / f"{metrics_folder.PREFIX}link"
    foreign.mkdir()
    link.symlink_to(foreign)
    third, own = start(tmp_path)
    try:
        assert not left.exists()
        assert used.is_dir()
        assert own.is_dir()
        assert foreign.is_dir()
        assert link.is_symlink()
        assert own.stat().st_mode & 0o777 == 0o700
    finally:
        end(running)
        end(third)


def test_folders_of_other_users_are_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / f"{metrics_folder.PREFIX}theirs"
    theirs.mkdir()
    if os.geteuid() == 0:
        os.chown(theirs, 12345, 12345)
    else:
        theirs.chmod(0)
    metrics_folder.remove_orphans(tmp_path)
    assert theirs.is_dir()
    theirs.chmod(0o700)


def test_a_server_that_ends_takes_its_folder_along(tmp_path: Path) -> None:
    folder = metrics_folder.make_locked(tmp_path)
    (folder / "counter_1.db").write_bytes(b"x")
    metrics_folder.remove(folder)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="missing"):
        metrics_folder.make_locked(tmp_path / "missing")
