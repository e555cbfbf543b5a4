"""A full disk while saving a version, on a small file system; mounting it needs root, on Linux."""

import io
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drawing import draw, encode
from flask.testing import FlaskClient

from catdog.registry.store import ModelStore
from catdog.retraining.jobs.foreground import finish_here
from catdog.retraining.jobs.table import Jobs
from catdog.retraining.uploads.intake import reencode
from catdog.settings import Settings, load_settings
from catdog.storage.database import open_database
from catdog.web.app import create_app

PICTURES = [encode(draw("cat", 40_000 + i)) for i in range(10)]
LEFT_FREE = 3_500_000
"""Bytes: `fit` keeps 1.3 million in the folder of the job, and `save` needs 3.5 million more."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        command = ["mount", "-t", "tmpfs", "-o", "size=48m", "catdog-test", str(folder)]
        finished = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError as error:
        pytest.skip(f"no small file system can be made: {error}")
    if finished.returncode:
        pytest.skip(f"no small file system can be made: {finished.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def home(trained: Settings, disk: Path) -> Settings:
    shutil.copytree(trained.home, disk / "home")
    return load_settings(home=disk / "home", tracking=False, min_free_bytes=0)


@pytest.fixture
def client(home: Settings) -> Iterator[FlaskClient]:
    made = create_app(home)
    yield made.test_client()
    made.extensions["catdog"].stop()


def upload(client: FlaskClient, picture: bytes) -> Any:
    data = {"category": "cats", "files[]": (io.BytesIO(picture), "x.jpg")}
    return client.post("/api/retrain/upload", data=data)


def fill(file: Path, left: int) -> None:
    """Fill the disk except for some bytes."""
    with file.open("wb", buffering=0) as output:
        while (more := shutil.disk_usage(file.parent).free - left) > 0:
            output.write(bytes(min(more, 1_000_000)))


class Asker(threading.Thread):
    """Sends predictions until stopped."""

    def __init__(self, client: FlaskClient) -> None:
        super().__init__()
        self.client = client
        self.statuses: list[int] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.is_set():
            answer = self.client.post("/api/predict", data=PICTURES[0], content_type="image/jpeg")
            self.statuses.append(answer.status_code)


@pytest.mark.slow
def test_a_full_disk_fails_the_job_and_nothing_else(client: FlaskClient, home: Settings, disk: Path) -> None:
    assert [upload(client, picture).json["accepted"] for picture in PICTURES] == [1] * len(PICTURES)
    jobs, filler = Jobs(open_database(home)), disk / "filler"
    fill(filler, LEFT_FREE)
    asker = Asker(client.application.test_client())
    asker.start()
    try:
        job = finish_here(home, jobs.create().id)
    finally:
        asker.stopped.set()
        asker.join()
    assert job.state == "failed"
    # Which of them finds no room depends on how the file system counts.
    assert job.message.startswith(("Fitting the head.", "Saving the version."))
    assert "No space left" in job.message
    assert "Nothing was changed" in job.message
    assert len(asker.statuses) > 10
    assert set(asker.statuses) == {200}
    assert ModelStore(home.models_dir).numbers() == [1]
    assert list(home.models_dir.rglob(".new-*")) == []
    assert list(home.jobs_dir.glob("*")) == []
    kept = {path.read_bytes() for path in (home.retrain_dir / "cats").iterdir()}
    assert {reencode(picture, home) for picture in PICTURES} == kept

    fill(filler, 0)
    assert upload(client, encode(draw("dog", 40_000))).status_code == 507
    assert client.post("/api/predict", data=PICTURES[0], content_type="image/jpeg").status_code == 200

    filler.unlink()
    assert client.post("/api/retrain/trigger").status_code == 202
    job = finish_here(home, jobs.latest()[0].id)
    assert job.state == "succeeded", job.message
    assert ModelStore(home.models_dir).champion() == 2
