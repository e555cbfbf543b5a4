import logging
import sqlite3
from pathlib import Path

import pytest

from catdog.settings import load_settings
from catdog.training.tracking import record_run

RUN = {
    "name": "version 1",
    "parameters": {"epochs": 3},
    "metrics": {"accuracy": 0.5},
    "epochs": [{"val_loss": 0.9}, {"val_loss": 0.8}],
    "tags": {"version": "1"},
}


def test_a_run_is_recorded_in_the_home(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    run_id = record_run(settings, **RUN)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("select name, status from runs where run_uuid = ?", [run_id]).fetchone() == (
            "version 1",
            "FINISHED",
        )
        assert database.execute("select key, value from params").fetchall() == [("epochs", "3")]
        curve = database.execute("select step, value from metrics where key = 'val_loss' order by step").fetchall()
    assert curve == [(1, 0.9), (2, 0.8)]
    assert record_run(settings, **RUN) != run_id
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db"}


def test_tracking_can_be_off(tmp_path: Path) -> None:
    assert record_run(load_settings(home=tmp_path, tracking=False), **RUN) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uri", ["nonsense://nowhere", "http://127.0.0.1:9"])
def test_a_failure_is_only_a_warning(uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = load_settings(home=tmp_path, tracking_uri=uri)
    with caplog.at_level(logging.WARNING, logger="catdog"):
        assert record_run(settings, **RUN) is None
    assert "did not record the run" in caplog.text
