"""Pipes, devices and huge files among images neither block a command nor fill its memory."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from commands import run
from drawing import draw, encode

from catdog.data.images.pixels import read_picture
from catdog.errors import PictureError, PictureTooLargeError
from catdog.settings import Settings


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.jpg"))
        for name, kind in {"pipe": "a pipe", "folder": "a folder", "socket": "a socket"}.items():
            with pytest.raises(PictureError, match=f"it is {kind}"):
                read_picture(tmp_path / f"{name}.jpg")
    with pytest.raises(PictureError, match="it is a device"):
        read_picture("/dev/zero")


def test_a_link_to_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "pipe")
    with pytest.raises(PictureError, match="it is a pipe"):
        read_picture(tmp_path / "link.jpg")


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    movie = tmp_path / "movie.jpg"
    with movie.open("wb") as file:
        file.truncate(2**40)  # more than any memory
    with pytest.raises(PictureTooLargeError, match="CATDOG_MAX_PICTURE_BYTES"):
        read_picture(movie)
    assert read_picture(__file__, 2**20) == Path(__file__).read_bytes()
    with pytest.raises(PictureTooLargeError, match="the maximum is 10 bytes"):
        read_picture(__file__, 10)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc")
def test_files_of_unknown_size_are_read_up_to_the_limit() -> None:
    with pytest.raises(PictureTooLargeError, match="the maximum is 5 bytes"):
        read_picture("/proc/self/maps", 5)


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder with an image, a pipe, a folder named like an image, a movie, and links to them."""
    folder = tmp_path / "odd"
    (folder / "folder.jpg").mkdir(parents=True)
    (folder / "cat.jpg").write_bytes(encode(draw("cat", 31)))
    os.mkfifo(folder / "pipe.jpg")
    (folder / "link.jpg").symlink_to(folder / "pipe.jpg")
    (folder / "device.jpg").symlink_to("/dev/zero")
    (folder / "gone.jpg").symlink_to(folder / "nowhere")
    with (folder / "movie.mp4").open("wb") as file:
        file.truncate(2**40)
    return folder


COMMANDS = {
    "predict a folder": ("predict", "{odd}"),
    "predict what is named": ("predict", "{odd}/pipe.jpg", "{odd}/device.jpg", "{odd}/movie.mp4"),
    "explain a pipe": ("explain", "{odd}/pipe.jpg", "--out", "{out}"),
    "explain a device": ("explain", "/dev/zero", "--out", "{out}"),
    "explain a movie": ("explain", "{odd}/movie.mp4", "--out", "{out}"),
    "evaluate other things": ("evaluate", "--data", "{drawn}", "--other", "{odd}"),
    "add a folder": ("uploads", "add", "{odd}", "--category", "cats"),
    "add what is named": ("uploads", "add", "{odd}/pipe.jpg", "/dev/zero", "{odd}/movie.mp4", "--category", "cats"),
    "import a folder": ("data", "import", "{odd}"),
    "import a pipe": ("data", "import", "{odd}/pipe.jpg"),
    "check a folder": ("data", "check", "{odd}"),
    "train on a folder": ("train", "{odd}"),
    "train on a pipe": ("train", "{odd}/pipe.jpg"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", COMMANDS)
def test_commands_skip_pipes_and_oversized_files(
    home: Settings, drawn: Path, odd: Path, tmp_path: Path, case: str
) -> None:
    arguments = [word.format(odd=odd, out=tmp_path / "out", drawn=drawn / "test") for word in COMMANDS[case]]
    finished = subprocess.run(
        [sys.executable, "-m", "catdog", *arguments],
        env={**os.environ, "CATDOG_HOME": str(home.home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert finished.returncode == (0 if case == "evaluate other things" else 1)
    assert "Traceback" not in finished.stderr


def test_usable_images_are_used_despite_unusable_files(home: Settings, odd: Path) -> None:
    lines = run(home.home, "predict", odd, code=1).stdout.splitlines()
    assert [("class" in line) for line in lines] == [
        path.name == "cat.jpg" for path in sorted(odd.iterdir()) if not path.is_dir()
    ]
