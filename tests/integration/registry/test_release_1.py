"""A home folder of release 0.1.0 can be opened: its versions, database, uploads and jobs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from catdog.prediction.predictor import Predictor
from catdog.registry.store import ModelStore
from catdog.retraining.jobs.table import Jobs
from catdog.settings import Settings, load_settings
from catdog.storage.database import is_current, open_database

RELEASE = Path(__file__).parents[2] / "data" / "release_1"


@pytest.fixture
def old_home(tmp_path: Path) -> Settings:
    shutil.copytree(RELEASE / "home", tmp_path / "home")
    return load_settings(home=tmp_path / "home", tracking=False, precision="f32", threads=1)


def test_its_versions_are_listed_and_the_second_is_in_use(old_home: Settings) -> None:
    store = ModelStore(old_home.models_dir)
    assert [(row["version"], row["accuracy"], row["n"], "error" in row) for row in store.summaries()] == [
        (1, 0.5, 12, False),
        (2, 0.5, 12, False),
    ]
    assert store.champion() == 2
    assert [promotion.version for promotion in store.history()] == [1, 2]


@pytest.mark.parametrize("number", [1, 2])
def test_a_version_predicts_what_it_predicted(old_home: Settings, number: int) -> None:
    predictor = Predictor(number, settings=old_home)
    for name, expected in json.loads((RELEASE / "predictions.json").read_text())[str(number)].items():
        found = predictor.predict(RELEASE / name).as_dict()
        for figure in ("confidence", "novelty", "probabilities"):
            assert found.pop(figure) == pytest.approx(expected.pop(figure), abs=1e-4)
        assert found == expected


def test_a_version_can_be_promoted(old_home: Settings) -> None:
    store = ModelStore(old_home.models_dir)
    store.promote(1, "test")
    assert store.champion() == 1
    assert len(store.get(1).training_hashes()) == 24
    assert len(store.get(1).test_hashes()) == 12


def test_its_database_migrates_and_shows_the_job(old_home: Settings) -> None:
    engine = open_database(old_home)
    assert is_current(old_home)
    (job,) = Jobs(engine).latest(limit=5)
    assert (job.state, job.requested_by) == ("succeeded", "command line")
    assert job.result
    assert job.result["version"] == 2
    engine.dispose()


def test_the_server_shows_its_uploads_models_and_statistics(old_home: Settings) -> None:
    from catdog.web.app import create_app

    app = create_app(old_home)
    client = app.test_client()

    def get(path: str) -> dict[str, Any]:
        answer = client.get(path)
        assert answer.status_code == 200, answer.json
        return answer.json or {}

    shown = {state: get(f"/api/retrain/images?state={state}")["total"] for state in ("active", "removed", "pending")}
    assert shown == {"active": 8, "removed": 1, "pending": 1}
    assert [row["version"] for row in get("/api/models")["versions"]] == [1, 2]
    assert get("/api/stats")["predictions"]["total"] >= 2
    file = client.get(f"/api/retrain/images/{get('/api/retrain/images?state=active')['images'][0]['id']}/file")
    assert file.status_code == 200
    app.extensions["catdog"].stop()
