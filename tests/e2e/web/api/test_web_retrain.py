"""The routes of retraining, and the worker as a child of the server."""

import io
import json
import os
import signal
import threading
import time
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from answers import require_problem, require_schema
from apiflask import APIFlask
from drawing import add_drawings, draw, encode
from flask.testing import FlaskClient
from postgres import held
from servers import ask, serving
from waiting import wait_for
from werkzeug.test import EnvironBuilder
from workers import workers_of

from catdog.registry.store import ModelStore
from catdog.retraining.jobs.table import Jobs
from catdog.retraining.uploads.intake import reencode
from catdog.settings import Settings
from catdog.storage.database import open_database
from catdog.web.server import supervision

PICTURE = encode(draw("cat", 49_999))


@pytest.fixture
def uploads(home: Settings) -> None:
    for animal in ("cat", "dog"):
        add_drawings(home, animal, 8)


@pytest.mark.usefixtures("uploads")
def test_a_trigger_is_accepted_and_can_be_followed(client: FlaskClient, app: APIFlask, home: Settings) -> None:
    response = client.post("/api/retrain/trigger")
    assert response.status_code == 202, response.text
    document = response.json
    assert document is not None
    assert document.keys() == {"message", "job_id", "new"}
    assert document["new"] > 8
    followed = client.get(response.headers["Location"]).json
    assert followed is not None
    assert (followed["job_id"], followed["state"], followed["in_progress"]) == (document["job_id"], "queued", True)
    require_schema(app, "/api/retrain/status", followed)
    jobs = Jobs(open_database(home))
    jobs.start(document["job_id"])
    jobs.report(document["job_id"], "fit", 50, "Fitting the head.", 1.5)
    followed = client.get("/api/retrain/status").json
    assert followed is not None
    assert (followed["progress"], followed["stage"], followed["eta_seconds"]) == (50, "fit", 1.5)


@pytest.mark.usefixtures("uploads")
def test_of_twenty_triggers_at_once_one_is_accepted(app: APIFlask) -> None:
    assert app.test_client().get("/api/retrain/status").status_code == 200  # opens the database, which takes a while
    answers: list[Any] = []
    start = threading.Barrier(20)

    def ask_for_one() -> None:
        start.wait()
        answers.append(app.test_client().post("/api/retrain/trigger"))

    threads = [threading.Thread(target=ask_for_one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (accepted,) = (answer for answer in answers if answer.status_code == 202)
    refused = [answer for answer in answers if answer is not accepted]
    assert len(refused) == 19
    for answer in refused:
        require_problem(answer, 409, accepted.json["job_id"])


def test_without_anything_new_a_trigger_is_refused(client: FlaskClient) -> None:
    require_problem(client.post("/api/retrain/trigger"), 409, "Nothing to train on", "0 uploaded images")


@pytest.mark.usefixtures("uploads")
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[1]", "JSON object"),
        (b'{"promote": true}', '{"promote": false}, not true'),
        (b'{"promote": 0}', '{"promote": false}, not 0'),
        (b'"x"', "JSON object"),
    ],
)
def test_a_meaningless_body_is_refused(client: FlaskClient, body: bytes, words: str) -> None:
    response = client.post("/api/retrain/trigger", data=body, content_type="application/json")
    require_problem(response, 400, words)
    assert client.get("/api/retrain/status").json["job_id"] is None  # type: ignore[index]


@pytest.mark.usefixtures("uploads")
def test_automatic_deployment_can_be_switched_off(client: FlaskClient, home: Settings) -> None:
    job_id = client.post("/api/retrain/trigger", json={"promote": False}).json["job_id"]  # type: ignore[index]
    assert Jobs(open_database(home)).get(job_id).arguments == {"promote": False}


@pytest.mark.usefixtures("uploads")
def test_cancelling(client: FlaskClient, app: APIFlask) -> None:
    require_problem(client.post("/api/retrain/cancel"), 409, "No job")
    require_problem(client.post("/api/retrain/cancel?job=nothing"), 404, "nothing")
    job_id = client.post("/api/retrain/trigger").json["job_id"]  # type: ignore[index]
    cancelled = client.post("/api/retrain/cancel").json
    assert cancelled is not None
    assert (cancelled["job_id"], cancelled["state"], cancelled["in_progress"]) == (job_id, "cancelled", False)
    require_schema(app, "/api/retrain/cancel", cancelled, "post")
    assert client.post("/api/retrain/trigger").status_code == 202


def test_before_the_first_job_the_status_says_so(client: FlaskClient, app: APIFlask) -> None:
    document = client.get("/api/retrain/status").json
    assert document is not None
    assert (document["in_progress"], document["progress"], document["job_id"]) == (False, 0, None)
    require_schema(app, "/api/retrain/status", document)
    require_problem(client.get("/api/retrain/status?job=nothing"), 404, "nothing")


@pytest.mark.usefixtures("uploads")
def test_a_stranger_may_view_but_not_start(client: FlaskClient) -> None:
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    for route in ("trigger", "cancel"):
        require_problem(client.post(f"/api/retrain/{route}", environ_base=elsewhere), 403)
    assert client.get("/api/retrain/status", environ_base=elsewhere).status_code == 200


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is made from now on waits for no lock for long."""
    monkeypatch.setattr("catdog.web.service.LOCK_SECONDS", 0.2)


@pytest.mark.usefixtures("uploads", "impatient")
def test_the_log_of_a_locked_database_names_no_file_and_no_client(
    client: FlaskClient, home: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    assert client.get("/api/retrain/images").status_code == 200
    with held(home):
        data = {"category": "cats", "files[]": (io.BytesIO(PICTURE), "Rosalind's cat.jpg")}
        require_problem(client.post("/api/retrain/upload", data=data), 503)
    assert "couldn't use the database" in caplog.text
    assert "Rosalind" not in caplog.text
    assert "127.0.0.1" not in caplog.text


@pytest.mark.usefixtures("uploads", "impatient")
def test_a_locked_database_is_reported_and_predictions_continue(client: FlaskClient, home: Settings) -> None:
    def upload() -> Any:
        data = {"category": "cats", "files[]": (io.BytesIO(PICTURE), "x.jpg")}
        return client.post("/api/retrain/upload", data=data)

    assert client.get("/api/retrain/status").status_code == 200
    before = client.get("/api/retrain/images").json["total"]  # type: ignore[index]
    with held(home):
        require_problem(client.post("/api/retrain/trigger"), 503, "Try again")
        assert client.get("/api/retrain/status").status_code == 200
        require_problem(upload(), 503, "Try again", "doesn't store it twice")
        assert client.post("/api/predict", data=PICTURE, content_type="image/jpeg").status_code == 200
        assert client.get("/api/retrain/images").json["total"] == before  # type: ignore[index]
    assert upload().json["accepted"] == 1
    assert (home.retrain_dir / "cats" / f"{sha256(reencode(PICTURE, home)).hexdigest()}.jpg").is_file()


class Sender(threading.Thread):
    """Uploads drawing after drawing and asks about one, until the server is gone; keeps what was acknowledged."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port
        self.acknowledged: list[bytes] = []
        self.statuses: set[int] = set()
        self.start()

    def run(self) -> None:
        for number in range(10_000):
            picture = encode(draw("cat", 50_000 + number))
            form = EnvironBuilder(
                method="POST", data={"category": "cats", "files[]": (io.BytesIO(picture), "x.jpg")}
            ).get_environ()
            try:
                for path, body, kind in (
                    ("/api/retrain/upload", form["wsgi.input"].read(), form["CONTENT_TYPE"]),
                    ("/api/predict", picture, "image/jpeg"),
                ):
                    request = Request(f"http://127.0.0.1:{self.port}{path}", body, {"Content-Type": str(kind)})
                    with urlopen(request, timeout=30) as response:
                        answer = json.loads(response.read())
                        self.statuses.add(response.status)
                    if answer.get("accepted"):
                        self.acknowledged.append(picture)
            except HTTPError as error:
                self.statuses.add(error.code)
            except OSError:
                return


@pytest.mark.usefixtures("uploads")
@pytest.mark.slow
def test_a_killed_server_loses_no_upload_and_no_job(home: Settings) -> None:
    """While it retrains and pictures come in; its worker was killed before, too, and was started again."""
    with serving(home.home) as (port, process):
        (worker,) = wait_for(lambda: workers_of(process.pid))
        os.kill(worker, signal.SIGKILL)
        status, document = ask(port, "POST", "/api/retrain/trigger")
        assert status == 202
        (again,) = wait_for(lambda: workers_of(process.pid))
        assert again != worker
        sender = Sender(port)
        wait_for(lambda: ask(port, "GET", "/api/retrain/status")[1]["stage"] in ("embed", "fit", "evaluate"))
        process.kill()
        process.wait()
        sender.join()
        wait_for(lambda: not Path(f"/proc/{again}").exists() or "Z" in Path(f"/proc/{again}/stat").read_text())
        process.returncode = 0  # `serving` asks for a good end, which this is not
    assert sender.acknowledged
    assert sender.statuses == {200}
    with serving(home.home) as (port, process):
        assert ask(port, "POST", "/api/predict", sender.acknowledged[0])[0] == 200
        (worker,) = wait_for(lambda: workers_of(process.pid))
        found = wait_for(lambda: (s := ask(port, "GET", "/api/retrain/status")[1])["in_progress"] is False and s)
        assert (found["job_id"], found["state"]) == (document["job_id"], "succeeded"), found["message"]
        assert found["result"]["promoted"], found["result"]["reason"]
        wait_for(lambda: {ask(port, "GET", "/api/model/status")[1]["version"] for _ in range(10)} == {2})
        kept = {path.read_bytes() for path in (home.retrain_dir / "cats").iterdir()}
        assert {reencode(picture, home) for picture in sender.acknowledged} <= kept
        listed = ask(port, "GET", "/api/retrain/images?per_page=1")[1]["total"]
        assert listed == sum(1 for _ in home.retrain_dir.glob("[!.]*/*.jpg"))
    wait_for(lambda: not Path(f"/proc/{worker}").exists())
    assert ModelStore(home.models_dir).numbers() == [1, 2]
    assert list(home.models_dir.rglob(".new-*")) == []
    assert list(home.jobs_dir.glob("*")) == []


@pytest.mark.slow
def test_an_external_worker_stays_external(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATDOG_WORKER", "external")
    with serving(home.home) as (_, process):
        time.sleep(1)
        assert workers_of(process.pid) == []


@pytest.mark.slow
def test_a_crashing_worker_is_restarted_with_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[float] = []

    def start(_command: object) -> None:
        started.append(time.monotonic())
        raise OSError("cannot be started")

    monkeypatch.setattr(supervision.subprocess, "Popen", start)
    supervisor = supervision.Supervisor()
    supervisor.start()
    wait_for(lambda: len(started) == 2)
    supervisor.stop()
    assert started[1] - started[0] >= 2
    count = len(started)
    time.sleep(0.2)
    assert len(started) == count
