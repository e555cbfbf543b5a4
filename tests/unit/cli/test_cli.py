import csv
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from commands import run
from drawing import add_drawings, write_dataset, write_pictures

from catdog import __version__
from catdog.settings import Settings


def test_training_prints_one_document(home: Settings, drawn: Path, weights: Path) -> None:
    options = ("--backbone", weights, "--epochs", 2, "--batch", 16, "--views", 1)
    document = json.loads(run(home.home, "train", drawn, *options, "--json").stdout)
    assert document["version"] == 2
    assert document["images"]["test"] == 20
    assert document["embedded"] == 0
    shown = run(home.home, "train", drawn, *options).stdout
    assert "Version 3" in shown
    assert "Accuracy" in shown


def test_an_invalid_port_stops_only_the_server(tmp_path: Path) -> None:
    run(tmp_path / "home", "models", "list", PORT="abc", WEB_CONCURRENCY="many")
    refused = run(tmp_path / "home", "serve", code=2, PORT="abc")
    assert "PORT" in refused.stderr
    assert "abc" in refused.stderr


@pytest.mark.slow
def test_everything_is_written_below_the_home(tmp_path: Path, drawn: Path, weights: Path) -> None:
    run(tmp_path / "home", "train", drawn, "--backbone", weights, "--epochs", 1, CATDOG_TRACKING="true")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    names = {path.name.removesuffix("-wal").removesuffix("-shm") for path in (tmp_path / "home").iterdir()}
    assert names - {"catdog.db.lock"} == {"models", "catdog.db", "mlflow.db"}


def test_evaluating_prints_the_promised_document(trained: Settings, drawn: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    arguments = ("evaluate", "--data", drawn / "test", "--report", report)
    document = json.loads(run(trained.home, *arguments, "--json").stdout)
    assert (document["n"], document["model_version"]) == (20, 1)
    expected = {"accuracy", "accuracy_ci", "precision", "recall", "f1_score", "per_class", "loss", "brier", "ece"}
    assert (
        expected | {"roc_auc", "confusion_matrix", "n", "coverage", "selective_accuracy"} == document["metrics"].keys()
    )
    assert "Confusion matrix" in report.read_text()
    assert "Calibration error" in run(trained.home, *arguments).stdout


def test_predict_prints_a_line_per_image_and_fails_at_the_end(trained: Settings, drawn: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    table = tmp_path / "answers.csv"
    arguments = ("predict", broken, drawn / "test" / "cats", "--csv", table, "--json")
    lines = [json.loads(line) for line in run(trained.home, *arguments, code=1).stdout.splitlines()]
    assert len(lines) == 11
    assert lines[0].keys() == {"path", "error"}
    assert lines[1].keys() >= {"path", "class", "class_id", "confidence", "probabilities", "model_version"}
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [line["path"] for line in lines]
    assert rows[1]["verdict"] == lines[1]["verdict"]
    assert float(rows[1]["probability_cat"]) == pytest.approx(lines[1]["probabilities"]["cat"])
    run(trained.home, "predict", drawn / "test", "--recursive")


def test_the_command_line_and_python_give_the_same_answers(trained: Settings, drawn: Path) -> None:
    from catdog.prediction.predictor import Predictor

    lines = run(trained.home, "predict", drawn / "test" / "dogs", "--json").stdout.splitlines()
    predictor = Predictor(settings=trained)
    for line in map(json.loads, lines):
        assert {"path": line["path"], **predictor.predict(line["path"]).as_dict()} == line


@pytest.mark.slow
def test_models_are_listed_shown_promoted_and_rolled_back(home: Settings, drawn: Path, weights: Path) -> None:
    run(home.home, "train", drawn, "--backbone", weights, "--epochs", 1, "--no-promote")
    listed = json.loads(run(home.home, "models", "list", "--json").stdout)
    assert (listed["champion"], [row["version"] for row in listed["versions"]]) == (1, [1, 2])
    assert json.loads(run(home.home, "models", "promote", 2, "--json").stdout) == {"champion": 2}
    assert "(champion)" in run(home.home, "models", "list").stdout
    assert json.loads(run(home.home, "models", "show", 2, "--json").stdout)["version"] == 2
    assert json.loads(run(home.home, "models", "rollback", "--json").stdout) == {"champion": 1}
    assert "before version 1" in run(home.home, "models", "rollback", code=1).stderr


def test_data_is_imported_checked_and_counted(tmp_path: Path) -> None:
    pets, home = write_dataset(tmp_path / "pets", 12, 3), tmp_path / "home"
    (pets / "train" / "cats" / "notes.gif").write_text("no picture")
    checked = json.loads(run(home, "data", "check", pets, "--json").stdout)
    assert checked["counts"]["test"] == {"cats": 3, "dogs": 3}
    assert [Path(item["path"]).name for item in checked["rejected"]] == ["notes.gif"]
    assert not home.exists()
    imported = json.loads(run(home, "data", "import", pets, "--json").stdout)
    assert imported["added"]["train"] == {"cats": 12, "dogs": 12}
    counted = json.loads(run(home, "data", "stats", "--json").stdout)
    assert counted["counts"]["train"] == {"cats": 12, "dogs": 12}


def test_a_data_set_is_read_as_it_is_shown(tmp_path: Path) -> None:
    write_dataset(tmp_path / "pets" / "dataset", 12, 3)
    pets, home = tmp_path / "pets", tmp_path / "home"
    (pets / "dataset" / "train").rename(pets / "dataset" / "training_set")
    write_pictures(pets / "dataset" / "single_prediction", "cat", 2, first=800)
    shown = run(home, "data", "check", pets, COLUMNS="80").stdout
    assert "    training_set/  train split\n      cats/  class, 12 files\n" in shown
    assert "    single_prediction/  skipped, 2 files: is next to the splits but isn't one\n" in shown
    checked = json.loads(run(home, "data", "check", pets, "--json").stdout)
    assert {"folder": "dataset/test", "read_as": "split", "split": "test"} in checked["reading"]
    assert len(checked["remarks"]) == 1
    named = ("--split-names", "validation=test", "--layout", "*/splits/classes")
    assert json.loads(run(home, "data", "check", pets, *named, "--json").stdout)["counts"]["validation"]["cats"] == 3
    imported = run(home, "data", "import", pets, *named)
    assert "single_prediction/ is skipped" in imported.stderr
    assert json.loads(run(home, "data", "stats", "--json").stdout)["counts"]["validation"] == {"cats": 3, "dogs": 3}


def test_splits_without_classes_become_no_classes(tmp_path: Path) -> None:
    pets, home = tmp_path / "pets", tmp_path / "home"
    for name in ("Training Data", "test1"):
        write_pictures(pets / name, "cat", 12, first=100 * len(name))
        for number, path in enumerate((pets / name).iterdir()):
            path.rename(path.with_name(f"{number}.jpg"))
    for command in (("train",), ("data", "import")):
        refused = run(home, *command, pets, code=1).stderr
        assert "Training Data/, test1/ look like splits but have no class folders." in refused
        assert refused.count("\n") == 1
    assert not [path for path in (home / "data").rglob("*") if path.is_file()]


def test_names_with_brackets_are_shown_as_they_are(trained: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "[" / "bold]"
    write_pictures(folder / "dogs", "cat", 3, first=900)
    write_pictures(folder / "cats", "cat", 3, first=950)
    (folder / "dogs" / "cat.900.jpg").rename(folder / "dogs" / "[red]\x1b[2J.jpg")
    shown = run(trained.home, "evaluate", "--data", folder).stdout
    assert f"on {folder}" in "".join(line.strip() for line in shown.splitlines()).replace("Version 1 on/", "on /")
    assert "[red]\\x1b[2J.jpg" in shown
    assert "Confusions" in shown
    assert "\x1b" not in shown
    write_pictures(tmp_path / "birds" / "[owl]", "owl", 2)
    assert (
        "classes that the model doesn't know: [owl]"
        in run(trained.home, "evaluate", "--data", tmp_path / "birds", code=1).stderr
    )


def test_invalid_layout_options_are_one_line_and_exit_code_2(tmp_path: Path) -> None:
    refused = run(tmp_path / "home", "train", tmp_path, "--layout", "nonsense", code=2).stderr
    assert "--layout must be one of classes" in refused
    assert "Traceback" not in refused


def test_errors_are_one_sentence_and_an_exit_code(tmp_path: Path) -> None:
    finished = run(tmp_path / "home", "data", "import", "absent", code=1)
    assert finished.stderr.endswith("/absent is not a folder, zip or tar of images. There is no such file.\n")
    assert "Traceback" not in finished.stderr
    document = json.loads(run(tmp_path / "home", "train", "absent", "--json", code=1).stdout)
    assert document["error"].endswith("/absent is not a folder. Name a folder of images.")
    assert not (tmp_path / "home").exists()
    wrong = run(tmp_path / "home", "doctor", code=2, CATDOG_PRECISION="f8")
    assert "CATDOG_PRECISION" in wrong.stderr
    assert "'f8'" in wrong.stderr
    assert "No such option" in run(tmp_path / "home", "train", "--nonsense", code=2).stderr


def test_an_unusable_database_is_reported_in_one_sentence(tmp_path: Path) -> None:
    table = tmp_path / "catdog.db"
    run(tmp_path, "jobs", "list")
    with closing(sqlite3.connect(table)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    finished = run(tmp_path, "jobs", "list", code=1)
    assert finished.stderr.startswith("Error: The database was upgraded by a newer catdog")
    assert "Traceback" not in finished.stderr
    table.write_bytes(b"no database" * 1000)
    assert run(tmp_path, "jobs", "list", code=1).stderr == (
        "Error: The database can't be used: file is not a database.\n"
    )


def test_a_fresh_home_answers_with_the_bundled_model(tmp_path: Path, drawn: Path) -> None:
    picture = next((drawn / "test" / "cats").iterdir())
    (line,) = run(tmp_path / "home", "predict", picture).stdout.splitlines()
    assert json.loads(line)["model_version"] == 1
    assert {path.name for path in (tmp_path / "home").iterdir()} == {"models"}
    listed = json.loads(run(tmp_path / "home", "models", "list", "--json").stdout)
    assert listed["champion"] == 1


def test_a_disk_error_is_one_sentence(tmp_path: Path, trained: Settings, drawn: Path) -> None:
    picture = next((drawn / "test" / "cats").iterdir())
    table = tmp_path / "absent" / "answers.csv"
    finished = run(trained.home, "predict", picture, "--csv", table, "--json", code=2)
    assert f"The folder {table.parent} doesn't exist." in json.loads(finished.stdout)["error"]
    assert "Traceback" not in finished.stderr
    (tmp_path / "home").write_text("a file where the home should be")
    assert "Traceback" not in run(tmp_path / "home", "predict", picture, code=1).stderr
    nothing = tmp_path / "empty"
    nothing.mkdir()
    assert "Use --recursive" in run(trained.home, "predict", nothing, code=1).stderr


def test_file_names_that_are_not_text_work(trained: Settings, drawn: Path, tmp_path: Path) -> None:
    picture = next((drawn / "test" / "cats").iterdir())
    (tmp_path / "odd").mkdir()
    shutil.copy(picture, os.path.join(os.fsencode(tmp_path / "odd"), b"\xff\xfe.jpg"))  # noqa: PTH118 (bytes)
    finished = run(trained.home, "predict", tmp_path / "odd", "--csv", tmp_path / "answers.csv", "--json")
    assert json.loads(finished.stdout)["class"] == "Cat"
    assert b"\xff\xfe.jpg" in (tmp_path / "answers.csv").read_bytes()


def test_doctor_and_version(trained: Settings) -> None:
    assert json.loads(run(trained.home, "doctor", "--json").stdout)["problems"] == []
    assert "No problems found" in run(trained.home, "doctor").stdout
    assert run(trained.home, "--version").stdout.strip() == f"catdog {__version__}"
    assert {"train", "evaluate", "predict"} <= set(run(trained.home, "--help").stdout.split())


def test_a_retraining_is_queued_shown_cancelled_and_done(home: Settings) -> None:
    assert "Nothing to train on" in run(home.home, "retrain", code=1).stderr
    for animal in ("cat", "dog"):
        add_drawings(home, animal, 8)
    queued = json.loads(run(home.home, "retrain", "--no-promote", "--json").stdout)
    assert (queued["state"], queued["arguments"]) == ("queued", {"promote": False})
    assert queued["id"] in run(home.home, "retrain", code=1).stderr  # one at a time
    assert queued["id"] in run(home.home, "jobs", "list").stdout
    assert "queued" in run(home.home, "jobs", "show", queued["id"]).stdout
    assert "cancelled" in run(home.home, "jobs", "cancel", queued["id"]).stdout
    assert "no-such-job" in run(home.home, "jobs", "show", "no-such-job", code=1).stderr
    done = run(home.home, "retrain", "--wait").stdout
    assert "succeeded" in done
    assert "Version 2" in done
