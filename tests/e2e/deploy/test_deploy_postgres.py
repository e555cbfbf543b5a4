"""PostgreSQL as in docker-compose.yml, with several servers and a worker, and its restart."""

import http.client
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from answers import require_problem
from drawing import add_drawings, draw, encode
from flask.testing import FlaskClient
from postgres import PostgresServer, lose_database
from servers import ask, serving
from sqlalchemy.exc import OperationalError
from waiting import wait_for, wait_until_counted
from werkzeug.test import EnvironBuilder
from workers import require_clean, working

from catdog.errors import JobError
from catdog.features.embedding import FeatureCache
from catdog.monitoring.counts import Counts
from catdog.registry.store import ModelStore
from catdog.retraining.jobs.lock import WorkerLock, only_worker
from catdog.retraining.jobs.table import Jobs
from catdog.retraining.uploads.intake import reencode
from catdog.settings import Settings
from catdog.storage import database
from catdog.storage.database import open_database

pytestmark = pytest.mark.databases("postgres")

PICTURE = encode(draw("cat", 4032))
PATIENCE = 250.0
OPEN = """
from catdog.storage.database import open_database
from catdog.settings import load_settings
open_database(load_settings())
"""


@contextmanager
def away(server: PostgresServer, mode: str = "fast") -> Iterator[None]:
    """Stop the server during the block, then start it again."""
    server.stop(mode)
    try:
        yield
    finally:
        server.start()


def upload(client: FlaskClient, picture: bytes) -> Any:
    return client.post("/api/retrain/upload", data={"category": "cats", "files[]": (io.BytesIO(picture), "x.jpg")})


def send(port: int, *pictures: bytes, category: str = "cats") -> tuple[int, dict[str, Any]]:
    """Upload images to a server."""
    files = [(io.BytesIO(picture), "x.jpg") for picture in pictures]
    form = EnvironBuilder(method="POST", data={"category": category, "files[]": files})
    environ = form.get_environ()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        body = environ["wsgi.input"].read()
        connection.request("POST", "/api/retrain/upload", body, {"Content-Type": str(environ["CONTENT_TYPE"])})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_four_servers_make_the_tables_at_once(settings: Settings) -> None:
    lose_database(settings)
    started = [subprocess.Popen([sys.executable, "-c", OPEN], stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[1] for process in started] == [""] * 4
    assert [process.returncode for process in started] == [0] * 4


def test_features_that_another_process_added_meanwhile_stay(settings: Settings) -> None:
    engine = open_database(settings)
    rows = [(f"{number:064x}", 0, np.full(4, number, np.float16)) for number in range(50)]
    caches = [FeatureCache(engine, "backbone") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(cache.write, rows[:: 1 - 2 * (i % 2)]) for i, cache in enumerate(caches * 5)]:
            done.result()
    found = caches[0].read([sha256 for sha256, _, _ in rows], 0)
    assert {sha256: vector.tolist() for sha256, vector in found.items()} == {s: v.tolist() for s, _, v in rows}
    engine.dispose()


def test_a_restart_of_the_server_is_not_noticed_afterwards(settings: Settings, postgres: PostgresServer) -> None:
    jobs, counts = Jobs(open_database(settings)), Counts(settings)
    counts.add(1, "Cat", "cat", 0.9, 0.1, 5.0)
    counts.flush()
    job = jobs.create()
    with away(postgres):
        counts.add(1, "Dog", "dog", 0.9, 0.1, 5.0)
        counts.flush()
        assert counts.totals().total == 2
    assert jobs.get(job.id) == job  # though every connection that is kept was lost
    counts.flush()
    assert Counts(settings).totals().as_dict()["by_class"] == {"Cat": 1, "Dog": 1}


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_without_the_database_server_predictions_go_on_and_changes_fail(
    client: FlaskClient, home: Settings, postgres: PostgresServer, mode: str
) -> None:
    def predict() -> int:
        return client.post("/api/predict", data=PICTURE, content_type="image/jpeg").status_code

    assert upload(client, PICTURE).json["accepted"] == 1
    assert predict() == 200
    other = encode(draw("cat", 4033))
    with away(postgres, mode):
        for _ in range(3):
            assert predict() == 200
        assert client.post("/api/explain", data=PICTURE, content_type="image/jpeg").status_code == 200
        assert client.get("/api/stats").json["predictions"]["total"] == 4  # type: ignore[index]
        for path in ("/", "/readyz", "/api/health", "/api/model/status", "/metrics"):
            assert client.get(path).status_code == 200, path
        require_problem(upload(client, other), 503, "can't be reached", "doesn't store it twice")
        require_problem(client.get("/api/retrain/images"), 503, "can't be reached")
        require_problem(client.post("/api/retrain/trigger"), 503, "ry again")
        require_problem(client.get("/api/retrain/status"), 503, "ry again")
    assert upload(client, other).json["accepted"] == 1
    assert client.get("/api/retrain/images").json["total"] == 2  # type: ignore[index]
    assert client.get("/api/retrain/status").status_code == 200
    client.application.extensions["catdog"].counts.flush()
    assert Counts(home).totals().total == 4


def test_a_server_that_starts_without_its_database_answers(home: Settings, postgres: PostgresServer) -> None:
    with ExitStack() as stack:
        with away(postgres):
            port, process = stack.enter_context(serving(home.home))
            assert ask(port, "POST", "/api/predict", PICTURE)[0] == 200
            assert send(port, PICTURE)[0] == 503
            assert process.poll() is None
        assert send(port, PICTURE)[1]["accepted"] == 1
        wait_until_counted(home, 1)


def test_a_web_process_has_few_connections(client: FlaskClient, postgres: PostgresServer, database_url: str) -> None:
    def ask_all(_: int) -> None:
        for path in ("/api/retrain/status", "/api/retrain/images", "/api/retrain/report", "/api/stats"):
            assert client.application.test_client().get(path).status_code == 200

    assert upload(client, PICTURE).status_code == 200
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask_all, range(8)))
    client.application.extensions["catdog"].counts.flush()
    connected = postgres.connections(database_url)
    assert set(connected) == {"catdog"}
    assert len(connected) <= database.POOL["pool_size"]


def test_there_is_one_worker_per_database(settings: Settings, tmp_path: Path) -> None:
    """Two home folders stand for two machines, which don't see each other's file lock."""
    elsewhere = settings.model_copy(update={"home": tmp_path / "elsewhere"})
    refused = pytest.raises(JobError, match="already running for this database")
    with only_worker(settings), refused, only_worker(elsewhere, timeout=0):
        pass
    with only_worker(elsewhere, timeout=0) as lock:
        assert lock.is_mine()


def test_a_worker_notices_a_lock_lost_after_a_restart(
    settings: Settings, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catdog.retraining.jobs.lock.LOOK_SECONDS", 0.0)
    with only_worker(settings) as lock:
        with away(postgres):
            assert lock.is_mine()  # nobody can have taken it
        assert lock.is_mine()  # taken anew
        with away(postgres):
            pass
        other = WorkerLock(settings)
        assert other.take()
        assert not lock.is_mine()
        other.release()


def test_a_worker_exits_if_another_one_took_the_lock(
    home: Settings, postgres: PostgresServer, database_url: str
) -> None:
    lock = WorkerLock(home)

    def take() -> bool:
        with suppress(OperationalError):  # its connections are broken, too
            return lock.take()
        return False

    def is_held_elsewhere() -> bool:
        if taken := take():
            lock.release()
        return not taken

    with working(home) as process:
        wait_for(is_held_elsewhere)
        while not take():  # whether the worker is quicker is chance
            postgres.end_connections(database_url)
            time.sleep(0.05)
        assert process.wait(timeout=60) == 1
    lock.release()


def test_a_foreground_job_reports_a_takeover(home: Settings, postgres: PostgresServer, database_url: str) -> None:
    for animal in ("cat", "dog"):
        add_drawings(home, animal, 8)
    lock, jobs = WorkerLock(home), Jobs(open_database(home))
    command = subprocess.Popen(
        [sys.executable, "-m", "catdog", "retrain", "--wait"],
        env=os.environ | {"CATDOG_HOME": str(home.home)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def take() -> bool:
        with suppress(OperationalError):
            return lock.take()
        return False

    try:
        wait_for(lambda: (job := jobs.under_way()) is not None and job.stage == "collect")
        while not take():
            postgres.end_connections(database_url)
        output, errors = command.communicate(timeout=60)
    finally:
        command.kill()
        lock.release()
    (job,) = jobs.latest()
    assert (command.returncode, output) == (1, "")
    assert "Error: Another worker has taken over the database's lock and the job" in errors
    assert f"catdog jobs show {job.id}" in errors
    assert job.in_progress


class Visitor(threading.Thread):
    """Uploads and predicts drawings, alternating between servers, until stopped."""

    def __init__(self, ports: list[int]) -> None:
        super().__init__()
        self.ports = ports
        self.answers: list[int] = []
        self.uploads: list[tuple[int, bytes]] = []
        self.was_refused = False
        self.stopped = threading.Event()
        self.start()

    def run(self) -> None:
        for number in range(10_000):
            picture, port = encode(draw("cat", 50_000 + number)), self.ports[number % len(self.ports)]
            self.answers.append(ask(port, "POST", "/api/predict", picture)[0])
            while (status := send(port, picture)[0]) == 503:  # while the database is away
                self.was_refused = True
                time.sleep(0.2)
            self.uploads.append((status, picture))
            if self.stopped.wait(0.5):  # the training, which is behind the servers in line, is to have a turn
                return


@pytest.mark.timeout(900)  # six processes share the cores with whatever else is tested
def test_two_servers_and_a_worker_share_it_through_restarts(
    home: Settings, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    """The worker is killed in the middle of its job, and later the database is stopped and started."""
    monkeypatch.setenv("CATDOG_WORKER", "external")
    with ExitStack() as stack:
        one, other = (stack.enter_context(serving(home.home))[0] for _ in range(2))

        def told(port: int) -> dict[str, Any]:
            return ask(port, "GET", "/api/retrain/status")[1]

        for folder in ("cats", "dogs"):
            pictures = [encode(draw(folder[:-1], 20_000 + i)) for i in range(8)]
            assert send(one, *pictures, category=folder)[1]["accepted"] == 8
        visitor = Visitor([one, other])
        stack.callback(visitor.stopped.set)
        status, accepted = ask(other, "POST", "/api/retrain/trigger")
        assert status == 202, accepted
        seen: dict[int, set[float]] = {one: set(), other: set()}

        def is_at(*stages: str) -> bool:
            found = {port: told(port) for port in seen}
            for port, document in found.items():
                seen[port].add(document.get("progress") or 0.0)
            return all(document.get("stage") in stages for document in found.values())

        with working(home):
            wait_for(lambda: is_at("collect", "embed", "fit", "evaluate"), PATIENCE)
        with working(home):
            wait_for(lambda: is_at("fit", "evaluate", "save", "promote"), PATIENCE)
            with away(postgres):
                wait_for(lambda: visitor.was_refused)
            wait_for(lambda: is_at("done"), PATIENCE)
            visitor.stopped.set()
            visitor.join()
        for port in (one, other):
            found = told(port)
            assert (found["job_id"], found["state"]) == (accepted["job_id"], "succeeded"), found["message"]
            assert found["result"]["promoted"], found["result"]["reason"]
            assert len(seen[port]) > 3  # the progress was seen on both
            wait_for(lambda port=port: {ask(port, "GET", "/api/model/status")[1]["version"] for _ in range(10)} == {2})
        assert set(visitor.answers) == {200}
        wait_for(lambda: {told_total(port) for port in (one, other)} == {len(visitor.answers)})
        assert {status for status, _ in visitor.uploads} == {200}
        kept = {path.read_bytes() for path in (home.retrain_dir / "cats").iterdir()}
        assert {reencode(picture, home) for _, picture in visitor.uploads} <= kept
        listed = ask(one, "GET", "/api/retrain/images?per_page=1")[1]["total"]
        assert listed == len(visitor.uploads) + 16 == sum(1 for _ in home.retrain_dir.glob("[!.]*/*.jpg"))
        assert len(postgres.connections(database_url)) < 20
        wait_for(lambda: not list(home.jobs_dir.glob("*")))  # the worker tidies up once the job has ended
    assert ModelStore(home.models_dir).numbers() == [1, 2]
    require_clean(home)


def told_total(port: int) -> int:
    """Return the number of predictions over all servers."""
    return int(ask(port, "GET", "/api/stats")[1]["predictions"]["total"])
