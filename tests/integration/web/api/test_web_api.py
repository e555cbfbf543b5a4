"""Each route: what it answers, and one shape for whatever goes wrong."""

import base64
import io
import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from answers import CAT, DOG, PROBLEM, form, require_problem, require_schema
from apiflask import APIFlask, abort
from drawing import encode
from flask.testing import FlaskClient
from PIL import Image

from catdog.prediction.predictor import Predictor
from catdog.registry.store import ModelStore
from catdog.settings import Settings, load_settings
from catdog.storage.files import write_json
from catdog.web.app import create_app


@pytest.mark.parametrize("send", [form(CAT), form(CAT, field="file"), CAT], ids=["image", "file", "body"])
def test_predicting(app: APIFlask, client: FlaskClient, home: Settings, send: Any) -> None:
    raw = {"content_type": "image/jpeg"} if isinstance(send, bytes) else {}
    if not raw:
        send = form(CAT, field=next(iter(send)))
    document = client.post("/api/predict", data=send, **raw).json
    require_schema(app, "/api/predict", document, "post")
    assert document.pop("latency_ms") > 0
    assert document == Predictor(settings=home, threads=1).predict(CAT).as_dict()
    assert document["class"] == "Cat"


def test_a_batch_keeps_its_order_with_problems_in_place(app: APIFlask, client: FlaskClient) -> None:
    response = client.post("/api/predict/batch", data=form(CAT, b"not a picture", DOG, b"", CAT[:-2000]))
    require_schema(app, "/api/predict/batch", response.json, "post")
    first, text, second, empty, cut = response.json["results"]
    assert (first["class"], second["class"]) == ("Cat", "Dog")
    assert [(r.keys(), r["status"]) for r in (text, empty, cut)] == [(PROBLEM, 415), (PROBLEM, 400), (PROBLEM, 422)]


def test_explaining(app: APIFlask, client: FlaskClient) -> None:
    document = client.post("/api/explain?class=dog", data=form(CAT)).json
    require_schema(app, "/api/explain", document, "post")
    head, _, data = document["heat_map"].partition(",")
    assert head == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (160, 120)
    assert (document["class"], document["explained"]["class"]) == ("Cat", "Dog")
    assert [one.keys() for one in document["similar"]] == [{"class", "distance", "sha256", "file"}] * 5
    require_problem(client.post("/api/explain?class=bird", data=form(CAT)), 400, "bird", "cat, dog")


def test_looking(app: APIFlask, client: FlaskClient, home: Settings) -> None:
    client.post("/api/predict", data=form(CAT))
    found = {path: client.get(path).json for path in ("/api/health", "/api/model/status", "/api/stats", "/api/models")}
    for path, document in found.items():
        require_schema(app, path, document)
    health, status, stats, models = found.values()
    assert (health["status"], health["model_status"], health["total_predictions"]) == ("healthy", "loaded", 1)
    assert (status["version"], status["latency_ms"]["n"], status["refused"]) == (1, 1, None)
    assert "root" not in status["metadata"]["data"]
    assert stats["dataset"].keys() == {f"{s}_{c}" for s in ("train", "test", "retrain") for c in ("cats", "dogs")}
    assert stats["predictions"]["by_class"] == {"Cat": 1}
    assert stats["model_metrics"]["accuracy"] == models["versions"][0]["accuracy"]
    assert str(home.home) not in json.dumps(found)
    assert client.get("/livez").json == {"status": "alive"}
    assert client.get("/readyz").json == {"status": "ready", "version": 1}


def test_images_on_disk_are_counted(client: FlaskClient, home: Settings) -> None:
    (home.data_dir / "train" / "cats").mkdir(parents=True)
    (home.retrain_dir / "dogs").mkdir(parents=True)
    for path in (home.data_dir / "train" / "cats" / "a.jpg", home.retrain_dir / "dogs" / "b.jpg"):
        path.write_bytes(CAT)
    dataset = client.get("/api/stats").json["dataset"]
    assert {key: count for key, count in dataset.items() if count} == {"train_cats": 1, "retrain_dogs": 1}


def test_promoting_and_rolling_back_swaps_at_once(
    client: FlaskClient, home: Settings, add_constant: Callable[[Settings, int], int]
) -> None:
    version = add_constant(home, 1)
    assert client.post(f"/api/models/{version}/promote").json == {"champion": version}
    answer = client.post("/api/predict", data=form(CAT)).json
    assert (answer["class"], answer["model_version"]) == ("Dog", version)
    assert client.post("/api/models/rollback").json == {"champion": 1}
    assert client.post("/api/predict", data=form(CAT)).json["model_version"] == 1
    require_problem(client.post("/api/models/99/promote"), 404, "99")


DAMAGED = {
    "head": "head.npz", "missing": "head.npz", "metadata": "metadata.json", "novelty": "novelty.npz",
    "backbone": "backbone.weights.h5", "champion": "champion.json",
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_corrupt_version_is_refused_while_the_old_one_serves(
    client: FlaskClient, home: Settings, add_constant: Callable[[Settings, int], int], damage: str
) -> None:
    version = ModelStore(home.models_dir).get(add_constant(home, 1))
    folder = {"backbone": version.backbone_path, "champion": home.models_dir}.get(damage, version.path)
    path = folder / DAMAGED[damage]
    path.unlink() if damage == "missing" else path.write_bytes(b"damaged")
    if damage != "champion":
        promotion = {"version": version.number, "at": "2026-01-01T00:00:00+00:00", "reason": "test"}
        write_json(home.models_dir / "champion.json", {"version": version.number, "history": [promotion]})
    refused = None
    for _ in range(100):
        answer = client.post("/api/predict", data=form(CAT)).json
        assert (answer["class"], answer["model_version"]) == ("Cat", 1)
        if refused := client.get("/api/model/status").json["refused"]:
            break
        time.sleep(0.05)
    assert refused
    assert DAMAGED[damage] in refused["error"]
    assert ("missing" in refused["error"]) == (damage == "missing")
    assert str(home.home) not in refused["error"]
    if damage != "champion":
        assert refused["version"] == version.number
        require_problem(client.post(f"/api/models/{version.number}/promote"), 409, DAMAGED[damage])


def test_without_a_model_it_says_so(home: Settings) -> None:
    (home.models_dir / "champion.json").unlink()
    app = create_app(home)
    client = app.test_client()
    for response in (
        client.post("/api/predict", data=form(CAT)),
        client.post("/api/predict/batch", data=form(CAT)),
        client.post("/api/explain", data=form(CAT)),
        client.get("/readyz"),
    ):
        require_problem(response, 503, "No model in use")
    assert client.get("/livez").status_code == 200
    assert client.get("/api/health").json["model_status"] == "not_loaded"
    assert client.get("/api/model/status").json["version"] is None
    assert client.get("/api/stats").json["model_metrics"] is None
    ModelStore(home.models_dir).promote(1, "test")
    app.extensions["catdog"].model.refresh()
    assert client.get("/readyz").status_code == 200
    app.extensions["catdog"].stop()


def test_one_shape_for_every_problem(app: APIFlask, client: FlaskClient) -> None:
    for path in ("/nope", "/api/nope", "/static/../app.py", "/api/models/x/promote"):
        require_problem(client.get(path), 404)
    for rule in app.url_map.iter_rules():
        if "POST" not in (rule.methods or ()) and rule.rule != "/":  # the page takes both
            path = re.sub("<[^>]*>", "x", re.sub("<int:[^>]*>", "99", rule.rule))
            response = client.post(path, data=form(CAT))
            require_problem(response, 405, "GET")
            assert "GET" in response.headers["Allow"]
    for rule in ("/api/predict", "/api/predict/batch", "/api/explain"):
        require_problem(client.post(rule), 400, "no body", "image")
        require_problem(client.post(rule, data={"picture": (io.BytesIO(CAT), "x.jpg")}), 400, "picture")
        require_problem(client.post(rule, data={"image": "text"}, content_type="multipart/form-data"), 400)
        require_problem(client.post(rule, data=b"{}", content_type="application/json"), 415, "application/json")
    require_problem(client.post("/api/predict", data=form(CAT, CAT)), 400, "batch")


def test_a_failure_tells_nothing_of_itself(app: APIFlask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret words")

    service = app.extensions["catdog"]
    for name in ("predict", "explain"):
        monkeypatch.setattr(service.model, name, fail)
    for name in ("statistics", "model"):
        monkeypatch.setattr(service.status, name, fail)
    responses = [client.post(f"/api/{name}", data=form(CAT)) for name in ("predict", "predict/batch", "explain")]
    responses += [client.get(path) for path in ("/api/stats", "/api/model/status")] + [client.post("/", data=form(CAT))]
    for response in responses:
        require_problem(response, 500)
        assert "secret" not in response.text
        assert "RuntimeError" not in response.text


def test_limits_are_settings_and_are_named(home: Settings) -> None:
    small = load_settings(home=home.home, max_upload_bytes=1000, max_request_bytes=20_000, max_batch=2, max_pixels=99)
    app = create_app(small)
    client = app.test_client()
    require_problem(client.post("/api/predict", data=form(CAT)), 413, "1,000", "CATDOG_MAX_UPLOAD_BYTES")
    require_problem(client.post("/api/predict", data=CAT, content_type="image/jpeg"), 413, "1,000")
    require_problem(client.post("/api/predict", data=form(b"x" * 30_000)), 413, "20,000", "CATDOG_MAX_REQUEST_BYTES")
    require_problem(client.post("/api/predict/batch", data=form(b"", b"", b"")), 413, "CATDOG_MAX_BATCH")
    tiny = encode(Image.new("RGB", (20, 20)))
    require_problem(client.post("/api/predict", data=form(tiny)), 422, "20 x 20")
    assert client.post("/api/predict/batch", data=form(CAT)).json["results"][0]["status"] == 413
    app.extensions["catdog"].stop()


def test_the_openapi_document_names_every_route(app: APIFlask, client: FlaskClient) -> None:
    spec = client.get("/api/openapi.json").json
    assert spec["openapi"].startswith("3.1")
    rules = {re.sub("<(?:int:)?([a-z0-9]+)>", r"{\1}", rule.rule) for rule in app.url_map.iter_rules()}
    assert rules - spec["paths"].keys() == {
        "/", "/tabs/{name}", "/tabs/visualizations/pictures", "/retrain/upload", "/retrain/start", "/retrain/cancel",
        "/api/docs", "/assets/vega.js", "/static/{digest}/<path:filename>",
    }  # fmt: skip
    assert "multipart/form-data" in spec["paths"]["/api/predict"]["post"]["requestBody"]["content"]
    page = client.get("/api/docs").text
    assert all(path in page for path in spec["paths"])


def test_errors_of_apiflask_are_problems_too(
    app: APIFlask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        abort(409, "Try later.")

    monkeypatch.setitem(app.view_functions, "api.health", refuse)
    require_problem(client.get("/api/health"), 409, "Conflict: Try later.")


def test_the_document_describes_the_options_of_a_retraining(client: FlaskClient) -> None:
    spec = client.get("/api/openapi.json").json
    body = spec["paths"]["/api/retrain/trigger"]["post"]["requestBody"]
    assert not body["required"]
    assert body["content"].keys() == {"application/json", "application/x-www-form-urlencoded"}
    assert spec["components"]["schemas"]["RetrainingOptions"]["properties"]["promote"]["enum"] == [False, None]
    assert spec["paths"]["/api/retrain/images/remove"]["post"]["requestBody"]["required"]


def test_the_page_predicts_without_a_script(client: FlaskClient) -> None:
    assert "<form" in client.get("/").text
    page = client.post("/", data=form(CAT))
    assert page.status_code == 200
    assert re.search("<h2[^>]*>Cat</h2>", page.text)
    refused = client.post("/", data=form(b"<script>alert(1)</script>"))
    assert refused.status_code == 415
    assert "<script>" not in refused.text
    for path in ("/", "/api/docs", "/?tab=status"):
        text = client.get(path).text.replace('<script type="module" src="/static/', "")
        assert not any(word in text for word in ("<script", "<style", " style=", "onclick", "https://", "http://"))
