"""The charts over HTTP: their list, specifications, CSV, the pictures behind them, the script, and the tab."""

import csv
import gzip
import io
import shutil
from pathlib import Path

import pytest
from answers import require_problem, require_schema
from apiflask import APIFlask
from drawing import draw, encode
from flask.testing import FlaskClient
from PIL import Image

from catdog.evaluation.charts.catalog import CHARTS
from catdog.registry.store import ModelStore, read_metadata
from catdog.settings import Settings, load_settings
from catdog.storage.files import write_json
from catdog.web.app import create_app

KEY = "k" * 16
CELL = "/api/charts/pictures?true=cats&answered=cats"


@pytest.fixture(scope="module")
def site_home(trained: Settings, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a home with one version and its test pictures, for all tests here."""
    home = Path(shutil.copytree(trained.home, tmp_path_factory.mktemp("charts") / "home"))
    shutil.copytree(drawn / "test", home / "data" / "test")
    return load_settings(home=home, tracking=False)


@pytest.fixture(scope="module")
def app(site_home: Settings) -> APIFlask:
    made = create_app(site_home)
    made.extensions["catdog"].stop()
    return made


@pytest.fixture
def client(app: APIFlask) -> FlaskClient:
    return app.test_client()


def test_listing(app: APIFlask, client: FlaskClient) -> None:
    document = client.get("/api/charts").json
    require_schema(app, "/api/charts", document)
    assert [chart["name"] for chart in document["charts"]] == list(CHARTS)
    assert document["version"] == 1
    assert len(document["insights"]) >= 4
    accuracy = next(insight for insight in document["insights"] if insight["topic"] == "Accuracy")
    assert "on 20 test images" in accuracy["text"]


@pytest.mark.parametrize("name", CHARTS)
def test_a_specification_holds_the_rows_of_its_csv(client: FlaskClient, name: str) -> None:
    document = client.get(f"/api/charts/{name}").json
    assert "vega-lite" in document["$schema"]
    response = client.get(f"/api/charts/{name}.csv")
    assert response.content_type == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert len(rows) == len(document["datasets"]["rows"])
    listed = next(chart for chart in client.get("/api/charts").json["charts"] if chart["name"] == name)
    assert listed["rows"] == len(rows)


def test_an_unknown_chart_is_not_found(client: FlaskClient) -> None:
    for path in ("/api/charts/nope", "/api/charts/nope.csv", "/api/charts/..%2fhead"):
        require_problem(client.get(path), 404)


def test_predictions_appear_in_the_chart_over_time(home: Settings) -> None:
    made = create_app(home)
    client = made.test_client()
    assert client.get("/api/charts/activity.csv").text.splitlines() == ["Hour (UTC),Verdict,Predictions"]
    client.post("/api/predict", data=encode(draw("cat", 1)), content_type="image/jpeg")
    made.extensions["catdog"].stop()
    (line,) = client.get("/api/charts/activity.csv").text.splitlines()[1:]
    assert line.endswith(",1")


def test_images_of_a_cell_and_a_thumbnail(app: APIFlask, client: FlaskClient, site_home: Settings) -> None:
    document = client.get(CELL).json
    require_schema(app, "/api/charts/pictures", document)
    found = document["pictures"]
    assert found
    assert {(picture["true"], picture["answered"]) for picture in found} == {("Cat", "Cat")}
    confidences = [picture["confidence"] for picture in found]
    assert confidences == sorted(confidences)
    assert all(picture["probabilities"]["cat"] == picture["confidence"] for picture in found)
    response = client.get(found[0]["file"])
    assert response.content_type == "image/jpeg"
    assert max(Image.open(io.BytesIO(response.data)).size) <= 320
    matrix = ModelStore(site_home.models_dir).get(1).metadata["metrics"]["confusion_matrix"]
    assert len(found) == matrix[0][0]
    mistakes = client.get("/api/charts/pictures").json["pictures"]
    assert len(mistakes) == sum(map(sum, matrix)) - matrix[0][0] - matrix[1][1]


@pytest.mark.parametrize("query", ["true=cats", "answered=dogs", "true=cats&answered=birds", "true=&answered="])
def test_an_unknown_cell_is_not_found(client: FlaskClient, query: str) -> None:
    require_problem(client.get(f"/api/charts/pictures?{query}"), 404, "cat, dog", "not ")
    assert client.get(f"/?tab=visualizations&{query}").status_code == 200


def test_only_listed_unchanged_images_are_sent(home: Settings, drawn: Path) -> None:
    shutil.copytree(drawn / "test", home.data_dir / "test")
    made = create_app(home)
    made.extensions["catdog"].stop()
    client = made.test_client()
    picture = client.get(CELL).json["pictures"][0]
    target = home.data_dir / "test" / "cats" / picture["name"]
    target.write_bytes(encode(draw("dog", 5)))  # under data/ now lies another one by that name
    require_problem(client.get(picture["file"]), 404, "has moved")
    shutil.copyfile(drawn / "test" / "cats" / picture["name"], target)
    assert client.get(picture["file"]).status_code == 200
    require_problem(client.get("/api/charts/pictures/" + "0" * 64), 404)


def test_images_need_the_key_but_figures_do_not(home: Settings, drawn: Path) -> None:
    shutil.copytree(drawn / "test", home.data_dir / "test")
    made = create_app(load_settings(home=home.home, tracking=False, api_key=KEY))
    made.extensions["catdog"].stop()
    client = made.test_client()
    found = client.get(CELL).json["pictures"]
    require_problem(client.get(found[0]["file"]), 401)
    assert client.get(found[0]["file"], headers={"X-API-Key": KEY}).status_code == 200
    assert client.get("/api/charts/roc.csv").status_code == 200
    page = client.get("/?tab=visualizations&true=cats&answered=cats").text
    assert "Sign in to view" in page
    assert "/api/charts/pictures/" not in page


def test_the_script_is_cached_for_good_only_under_its_digest(client: FlaskClient) -> None:
    page = client.get("/?tab=visualizations").text
    address = page.split('data-vega="')[1].split('"')[0]
    plain = client.get(address)
    packed = client.get(address, headers={"Accept-Encoding": "gzip, br"})
    assert plain.content_type == "text/javascript; charset=utf-8"
    assert "immutable" in plain.headers["Cache-Control"]
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert gzip.decompress(packed.data) == plain.data
    assert "Content-Encoding" not in client.get(address, headers={"Accept-Encoding": "gzip;q=0"}).headers
    assert "immutable" not in client.get("/assets/vega.js?v=old").headers["Cache-Control"]


def test_the_tab_is_complete_without_a_script(client: FlaskClient, site_home: Settings) -> None:
    page = client.get("/?tab=visualizations").text
    matrix = ModelStore(site_home.models_dir).get(1).metadata["metrics"]["confusion_matrix"]
    assert page.count('class="cell"') == 4
    assert f"{matrix[0][0]} images of Cat, predicted Cat" in page
    assert "No predictions in the last 48 hours" in page
    for name in CHARTS:
        assert f"title-{name}" in page
        assert f"/api/charts/{name}.csv" in page or name in ("activity", "drift")
    assert "Balance" in page
    cell = client.get("/?tab=visualizations&true=cats&answered=cats").text
    assert "Cat, predicted Cat" in cell
    part = client.get("/tabs/visualizations/pictures?true=cats&answered=cats").text
    assert part.count("<img") == matrix[0][0]
    assert "<html" not in part


def test_figures_are_shown_even_if_the_assessment_fails(home: Settings) -> None:
    document = read_metadata(home.models_dir / "1")
    document["checksums"].pop("assessment.json")
    write_json(home.models_dir / "1" / "metadata.json", document)
    (home.models_dir / "1" / "assessment.json").unlink()
    made = create_app(home)
    made.extensions["catdog"].stop()
    client = made.test_client()
    (home.models_dir / "1" / "head.npz").write_bytes(b"damaged meanwhile")
    require_problem(client.get("/api/charts"), 503, "can't be assessed")
    page = client.get("/?tab=visualizations")
    assert page.status_code == 200
    assert "can&#39;t be assessed" in page.text
    assert str(home.home) not in page.text
    assert "Images in the data set" in page.text
