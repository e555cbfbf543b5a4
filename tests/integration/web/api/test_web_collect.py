"""Pictures for retraining over HTTP: uploads, feedback, looking after them, and who may."""

import errno
import io
import os
import tempfile
import time
import zipfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from answers import require_problem, require_schema
from apiflask import APIFlask
from drawing import draw, encode
from flask.testing import FlaskClient
from PIL import Image

from catdog.registry.starter import ensure_champion
from catdog.retraining.jobs.foreground import finish_here
from catdog.retraining.uploads.uploads import Uploads
from catdog.settings import Settings, load_settings
from catdog.storage.contention import BRIEF_SECONDS
from catdog.web.app import create_app
from catdog.web.requests.spool import Spool

CATS = [encode(draw("cat", 8000 + i)) for i in range(4)]
DOG = encode(draw("dog", 8000))
KEY = "k" * 16


def upload(client: FlaskClient, *pictures: bytes, category: str = "cats", field: str = "files[]", **more: str) -> Any:
    files = [(io.BytesIO(data), f"{i}.jpg") for i, data in enumerate(pictures)]
    return client.post("/api/retrain/upload", data={field: files, "category": category, **more})


def other_app(home: Settings, **settings: object) -> FlaskClient:
    app = create_app(load_settings(home=home.home, tracking=False, **settings))
    app.extensions["catdog"].stop()
    return app.test_client()


@pytest.mark.parametrize("field", ["files[]", "files", "file"])
def test_uploading(app: APIFlask, client: FlaskClient, home: Settings, field: str) -> None:
    response = upload(client, *CATS, b"not a picture", category="Cat", field=field)
    assert response.status_code == 200, response.text
    require_schema(app, "/api/retrain/upload", response.json, "post")
    found = response.json
    assert (found["files"], found["category"], found["accepted"], found["duplicates"]) == (5, "cats", 4, 0)
    assert [refused["name"] for refused in found["rejected"]] == ["4.jpg"]
    assert "not a JPEG" in found["rejected"][0]["reason"]
    assert "4 images" in found["message"]
    assert len(list((home.retrain_dir / "cats").glob("*.jpg"))) == 4
    assert client.get("/api/stats").json["dataset"]["retrain_cats"] == 4
    again = upload(client, *CATS, batch=found["batch"]).json
    assert (again["accepted"], again["duplicates"], again["batch"]) == (0, 4, found["batch"])


def slow_repair(monkeypatch: pytest.MonkeyPatch) -> tuple[Event, Event]:
    """Let the first look at the kept pictures say that it has begun, and wait until it may end."""
    begun, may_end, repair = Event(), Event(), Uploads.repair

    def slow(self: Uploads) -> Any:
        begun.set()
        may_end.wait(60)
        return repair(self)

    monkeypatch.setattr(Uploads, "repair", slow)
    return begun, may_end


def test_first_requests_wait_until_uploads_are_repaired(app: APIFlask, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_end = slow_repair(monkeypatch)

    def ask() -> Any:
        return app.test_client().get("/api/retrain/images")

    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(ask)
        assert begun.wait(60)
        others = [pool.submit(ask) for _ in range(4)]
        time.sleep(2 * BRIEF_SECONDS)  # longer than those wait who come when a lock is held
        may_end.set()
        assert [asked.result().status_code for asked in (first, *others)] == [200] * 5


def test_a_request_during_the_first_opening_is_rejected_after_a_wait(
    app: APIFlask, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = slow_repair(monkeypatch)

    def ask() -> Any:
        return app.test_client().get("/api/retrain/images")

    monkeypatch.setattr("catdog.storage.contention.FIRST_SECONDS", 0.2)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask)
        assert begun.wait(60)
        refused = ask()
        may_end.set()
        assert first.result().status_code == 200
    require_problem(refused, 503, "still opening", "Try again")
    assert "Another program" not in refused.text


def test_uploading_a_zip(client: FlaskClient, home: Settings) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i, data in enumerate(CATS):
            archive.writestr(f"../../{i}.jpg", data)
    found = upload(client, buffer.getvalue()).json
    assert (found["files"], found["accepted"]) == (4, 4)
    assert [path for path in home.home.parent.rglob("*.jpg") if home.retrain_dir not in path.parents] == []


def test_invalid_uploads_are_refused(client: FlaskClient) -> None:
    require_problem(client.post("/api/retrain/upload"), 400, "files[]")
    require_problem(client.post("/api/retrain/upload", data={"category": "cats"}), 400, "files[]")
    require_problem(upload(client, CATS[0], category="bird"), 400, "bird", "cats, dogs")
    for without in ({}, {"category": ""}, {"category": " "}):
        files = {"files[]": (io.BytesIO(CATS[0]), "a.jpg")}
        response = client.post("/api/retrain/upload", data={**files, **without})
        require_problem(response, 400, "`category` must be one of cat, dog")
    require_problem(client.post("/api/retrain/images/relabel", json={"ids": [1]}), 400, "`category` must be one of")
    require_problem(upload(client, CATS[0], batch="../x"), 400, "batch")


def test_uploads_over_the_limits(home: Settings) -> None:
    client = other_app(home, max_upload_files=2, max_upload_total_bytes=100_000)
    require_problem(upload(client, *CATS[:3]), 413, "CATDOG_MAX_UPLOAD_FILES", "3")
    require_problem(upload(client, bytes(100_001)), 413, "CATDOG_MAX_UPLOAD_TOTAL_BYTES")
    assert upload(client, *CATS[:2]).json["accepted"] == 2


def test_an_upload_may_be_larger_than_other_requests(home: Settings) -> None:
    client = other_app(home, max_request_bytes=5_000)
    assert sum(map(len, CATS)) > 5_000
    assert upload(client, *CATS).json["accepted"] == 4
    assert client.post("/api/predict", data={"image": (io.BytesIO(bytes(9_000)), "x")}).status_code == 413


def test_a_full_disk_is_507_and_keeps_what_was_said_to_be_kept(
    client: FlaskClient, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert upload(client, CATS[0]).json["accepted"] == 1

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        require_problem(upload(client, *CATS), 507, "disk is full")
    assert client.get("/api/retrain/images").json["total"] == 1
    few = other_app(home, max_kept_pictures=2)
    require_problem(upload(few, *CATS), 507, "CATDOG_MAX_KEPT_PICTURES")


def test_a_disk_that_fills_while_an_upload_comes_in_is_507(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        require_problem(upload(client, *CATS), 507)
    assert upload(client, *CATS).json["accepted"] == 4


def test_feedback_waits_and_can_be_confirmed(app: APIFlask, client: FlaskClient) -> None:
    predictions = client.get("/api/health").json["total_predictions"]
    wrong = client.post("/api/feedback", data={"image": (io.BytesIO(CATS[0]), "x.jpg"), "class": "dog"}).json
    require_schema(app, "/api/feedback", wrong, "post")
    assert (wrong["state"], wrong["category"], wrong["was_right"], wrong["answered"]) == (
        "pending",
        "dogs",
        False,
        "Cat",
    )
    right = client.post("/api/feedback?right=true", data=DOG, content_type="image/jpeg").json
    assert (right["category"], right["was_right"]) == ("dogs", True)
    assert client.get("/api/health").json["total_predictions"] == predictions
    first = client.get("/api/retrain/images").json["images"][0]
    assert (first["id"], first["predicted"], first["category"]) == (wrong["id"], "cats", "dogs")  # wrong answers first
    confirmed = client.post("/api/retrain/images/confirm", json={"ids": [wrong["id"]]})
    assert confirmed.json == {"changed": 1}
    assert client.get("/api/retrain/images?state=pending").json["total"] == 1
    data = {"image": (io.BytesIO(CATS[0]), "x.jpg"), "class": "cat"}
    require_problem(client.post("/api/feedback", data=data), 409, "dogs", "relabel")


def test_invalid_feedback_is_refused(client: FlaskClient, drawn: Path) -> None:
    def send(picture: bytes, **form: str) -> Any:
        return client.post("/api/feedback", data={"image": (io.BytesIO(picture), "x.jpg"), **form})

    require_problem(client.post("/api/feedback"), 400)
    require_problem(send(CATS[0]), 400, "cats, dogs")
    require_problem(send(b"hello"), 400, "cats, dogs")  # said before the picture is looked at
    require_problem(send(CATS[0], **{"class": "bird"}), 400, "bird")
    require_problem(send(b"hello", **{"class": "cat"}), 415)
    require_problem(send(CATS[0][:-2000], **{"class": "cat"}), 422)
    tested = min((drawn / "test" / "cats").iterdir()).read_bytes()
    require_problem(send(tested, **{"class": "cat"}), 409, "test set")


def test_feedback_from_a_signed_in_form_without_script(home: Settings) -> None:
    client = other_app(home, host="0.0.0.0", api_key=KEY)
    client.post("/session", data={"key": KEY})
    token = client.get("/api/session").json["csrf_token"]

    def send(**form: Any) -> Any:
        return client.post("/api/feedback", data={"class": "dog", **form}, content_type="multipart/form-data")

    kept = send(image=(io.BytesIO(CATS[0]), "x.jpg"), csrf_token=token)
    assert (kept.status_code, kept.json["category"]) == (200, "dogs"), kept.text
    require_problem(send(csrf_token=token, picture="x"), 400, "no image", "picture")
    require_problem(send(image=(io.BytesIO(CATS[0]), "x.jpg"), csrf_token="another"), 403)
    assert client.post("/api/feedback?class=cat", data=CATS[1], content_type="image/jpeg").status_code == 403


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"right": "maybe"}, "true or false, not 'maybe'"),
        ({"class": "bird", "right": "true"}, "'bird'"),
        ({"class": "dog", "right": "true"}, "one correct class"),
        ({"class": ["cat", "dog"]}, "one correct class"),
    ],
)
def test_feedback_that_contradicts_itself(client: FlaskClient, form: dict[str, Any], words: str) -> None:
    data = {"image": (io.BytesIO(CATS[0]), "x.jpg"), **form}
    require_problem(client.post("/api/feedback", data=data), 400, words)
    assert client.get("/api/retrain/images").json["total"] == 0


def test_managing_images(app: APIFlask, client: FlaskClient) -> None:
    batch = upload(client, *CATS).json["batch"]
    page = client.get("/api/retrain/images?per_page=3&page=2&order=newest").json
    require_schema(app, "/api/retrain/images", page)
    assert ([image["id"] for image in page["images"]], page["total"]) == ([1], 4)
    spec = app.spec["components"]["schemas"]["Image"]
    assert page["images"][0].keys() == spec["properties"].keys()
    thumbnail = client.get(page["images"][0]["file"])
    assert thumbnail.content_type == "image/jpeg"
    assert Image.open(io.BytesIO(thumbnail.data)).size == (160, 120)

    def post(path: str, **document: Any) -> Any:
        return client.post(f"/api/retrain/{path}", json=document)

    assert post("images/relabel", ids=[1, 2], category="dogs").json == {"changed": 2}
    assert client.get("/api/retrain/images?category=dogs").json["total"] == 2
    listed = client.get("/api/retrain/images?ids=1,3,99").json
    assert (sorted(row["id"] for row in listed["images"]), listed["total"]) == ([1, 3], 2)
    assert post("images/remove", ids=[1]).json == {"changed": 1}
    assert client.get("/api/retrain/images?state=removed").json["total"] == 1
    assert post("images/restore", ids=[1]).json == {"changed": 1}
    assert post(f"batches/{batch}/remove").json == {"changed": 4}
    assert client.get("/api/stats").json["dataset"]["retrain_cats"] == 0
    assert post(f"batches/{batch}/restore").json == {"changed": 4}
    report = client.get("/api/retrain/report").json
    require_schema(app, "/api/retrain/report", report)
    assert report["counts"]["active"] == {"cats": 2, "dogs": 2}
    assert report["batches"][0]["share"] == 1.0
    require_problem(post("batches/nope/remove"), 404, "nope")
    require_problem(post("batches/%00/remove"), 404)
    require_problem(post("images/remove", ids=[99]), 404, "99")
    assert post("images/remove", ids=[1.0]).json == {"changed": 1}  # an integer, as JSON Schema has it
    require_problem(post("images/remove", ids=[1.5]), 400, "1.5")
    require_problem(post("images/relabel", ids=[1], category=5), 400, "category")
    require_problem(client.get(f"/api/retrain/images/{2**70}/file"), 404)
    require_problem(client.get("/api/retrain/images/99/file"), 404)
    require_problem(post("images/relabel", ids=[1], category="bird"), 400, "bird")


@pytest.mark.parametrize("document", [None, [], {}, {"ids": []}, {"ids": ["1"]}, {"ids": [True]}, {"ids": [2**40]}])
def test_bodies_without_ids(client: FlaskClient, document: Any) -> None:
    words = "JSON object" if document == [] else "`ids` must be 1 to 10,000 ids"
    require_problem(client.post("/api/retrain/images/remove", json=document), 400, words)


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "page=x",
        "per_page=1000",
        "order=best",
        "state=lost",
        "page=²",
        "batch=%00",
        "ids=",
        "ids=1,x",
        "ids=0",
        "ids=1,",
    ],
)
def test_unknown_pages_are_not_found(client: FlaskClient, query: str) -> None:
    require_problem(client.get(f"/api/retrain/images?{query}"), 400)


def test_what_people_sent_is_not_for_everybody(home: Settings) -> None:
    paths = ("/api/retrain/images", "/api/retrain/images/1/file", "/api/retrain/report")
    closed = other_app(home, host="0.0.0.0")
    assert [closed.get(path).status_code for path in paths] == [403, 403, 403]
    keyed = other_app(home, host="0.0.0.0", api_key=KEY)
    assert [keyed.get(path).status_code for path in paths] == [401, 401, 401]
    assert [keyed.get(path, headers={"X-API-Key": KEY}).status_code for path in paths] == [200, 404, 200]


def test_a_spool_keeps_its_parts_apart_and_leaves_no_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "new")
    first = spool.part()
    first.write(b"a" * 1000)
    first.write(b"b")
    first.seek(0)
    second = spool.part()
    second.write(b"c" * 10)
    assert first.read() == b"a" * 1000 + b"b"
    first.seek(-2, os.SEEK_END)
    assert (first.tell(), first.read(1), first.read(), first.read()) == (999, b"a", b"b", b"")
    second.seek(0)
    assert second.read(4) == b"cccc"
    assert list((tmp_path / "new").iterdir()) == []
    spool.close()


def test_an_upload_takes_one_file_of_the_system_however_many_pictures(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, open_file = [], tempfile.TemporaryFile

    def count(*args: Any, **options: Any) -> Any:
        opened.append(options)
        return open_file(*args, **options)

    monkeypatch.setattr(tempfile, "TemporaryFile", count)
    upload(client, *CATS)
    assert len(opened) == 1


@pytest.mark.slow
@pytest.mark.shared
def test_flipped_labels_and_copies_of_test_photographs_stay_out_of_a_retraining(
    shared: Path, settings: Settings
) -> None:
    """Through the routes, with real photographs and the bundled model: one batch has 30 % of its labels wrong."""
    ensure_champion(settings.models_dir)
    client = other_app(settings)
    photographs = sorted((shared / "elsewhere").glob("*/*.jp*g"))
    sent: dict[tuple[str, str], list[bytes]] = defaultdict(list)
    for number, path in enumerate(photographs):
        name, other = ("cats", "dogs") if path.parent.name == "cats" else ("dogs", "cats")
        batch = "flipped" if number < 30 else "good"
        sent[batch, other if batch == "flipped" and number % 10 < 3 else name].append(path.read_bytes())
    for (batch, name), pictures in sent.items():
        assert upload(client, *pictures, category=name, batch=batch).json["accepted"] == len(pictures)
    tested = sorted((shared / "cat-and-dog" / "test" / "cats").glob("*.jpg"))[:2]
    exact = upload(client, tested[0].read_bytes(), batch="exact").json
    assert "in the test set" in exact["rejected"][0]["reason"]
    copies = [encode(Image.open(path), quality=90) for path in tested]
    assert upload(client, *copies, batch="copies").json["accepted"] == 2

    assert client.post("/api/retrain/trigger", json={"promote": False}).status_code == 202
    job = finish_here(settings, client.get("/api/retrain/status").json["job_id"])
    assert job.state == "succeeded", job.message
    found = client.get("/api/retrain/report").json["review"]
    verdicts = {row["batch"]: row["verdict"] for row in found["batches"]}
    assert verdicts == {"flipped": "quarantined", "good": "fine", "copies": "fine"}
    near = {image["id"] for image in client.get("/api/retrain/images?batch=copies").json["images"]}
    assert set(found["near_copies"]) == near
    result = client.get("/api/retrain/status").json["result"]
    used = result["pictures"]["uploads"] + result["pictures"]["held_out"]
    assert used == len(photographs) - 30  # the good batch and nothing else
