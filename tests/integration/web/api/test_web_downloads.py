"""Routes that give out files: who may have them, and which there are."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from access import client_of
from answers import form, require_problem
from flask.testing import FlaskClient
from PIL import Image

from catdog.registry.store import ModelStore
from catdog.settings import Settings, load_settings


@pytest.fixture
def data(home: Settings, drawn: Path, tmp_path: Path) -> Path:
    """A copy of the data that the version of `home` says it was trained on."""
    from catdog.storage.files import write_json

    copy = Path(shutil.copytree(drawn, tmp_path / "pets"))
    folder = home.models_dir / "1"
    metadata = dict(ModelStore(home.models_dir).get(1).metadata)
    write_json(folder / "metadata.json", {**metadata, "data": {**metadata["data"], "root": str(copy)}})
    return copy


@pytest.fixture
def local(home: Settings, data: Path) -> FlaskClient:  # noqa: ARG001  # the data must be there before
    """A client on the server's own machine."""
    return client_of(home)[1]


def similar(client: FlaskClient, data: Path) -> list[dict[str, str]]:
    picture = (data / "test" / "cats" / "cat.10000.jpg").read_bytes()
    found: list[dict[str, str]] = client.post("/api/explain", data=form(picture)).json["similar"]
    return found


def test_similar_images_are_shown(local: FlaskClient, data: Path) -> None:
    first = similar(local, data)[0]
    response = local.get(first["file"])
    assert response.content_type == "image/jpeg"
    assert response.headers["Cache-Control"] == "no-store"
    with Image.open(io.BytesIO(response.data)) as shown:
        assert shown.size == (160, 120)
        assert np.asarray(shown).std() > 1


def test_changed_or_missing_images_are_not_shown(local: FlaskClient, data: Path) -> None:
    first, second = similar(local, data)[:2]
    for path in (data / "train").rglob("*.jpg"):
        path.write_bytes(b"another file")
    require_problem(local.get(first["file"]), 404, "training image")
    shutil.rmtree(data / "train")
    require_problem(local.get(second["file"]), 404)
    assert {one["file"] for one in similar(local, data)} == {None}
    for name in ("0" * 64, "x", "..%2f..%2fchampion.json"):
        require_problem(local.get(f"/api/pictures/{name}"), 404)


def test_others_see_neither_pictures_nor_models(home: Settings, data: Path) -> None:
    _, client = client_of(home, host="0.0.0.0", api_key="k" * 16)
    assert {one["file"] for one in similar(client, data)} == {None}
    require_problem(client.get(f"/api/pictures/{'0' * 64}"), 401)
    require_problem(client.get("/api/models/1/download"), 401)
    require_problem(client_of(home, host="0.0.0.0")[1].get("/api/models/1/download"), 403)
    assert client.get("/api/models/1/download", headers={"X-API-Key": "k" * 16}).status_code == 200


def test_a_version_works_elsewhere(local: FlaskClient, home: Settings, tmp_path: Path) -> None:
    response = local.get("/api/models/1/download")
    assert response.content_type == "application/zip"
    assert "catdog-version-1.zip" in response.headers["Content-Disposition"]
    elsewhere = load_settings(home=tmp_path / "elsewhere", tracking=False)
    with zipfile.ZipFile(io.BytesIO(response.data)) as archive:
        assert str(home.home) not in archive.read("1/metadata.json").decode()
        assert str(tmp_path) not in archive.read("1/metadata.json").decode()
        archive.extractall(elsewhere.models_dir)
    ModelStore(elsewhere.models_dir).promote(1, "taken over")
    require_problem(local.get("/api/models/7/download"), 404, "No version 7")


def test_a_damaged_version_is_not_downloadable(local: FlaskClient, home: Settings) -> None:
    (home.models_dir / "1" / "head.npz").write_bytes(b"damaged")
    require_problem(local.get("/api/models/1/download"), 409, "has changed since it was saved")
