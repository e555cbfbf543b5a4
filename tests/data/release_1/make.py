"""Write a home as release 0.1.0 leaves it; see README.md beside this file. Run it with that release installed.

python tests/data/release_1/make.py
"""

import json
import os
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from drawing import add_drawings, draw, encode, write_pictures  # noqa: E402
from tiny import write_backbone  # noqa: E402

from catdog.prediction.predictor import Predictor  # noqa: E402
from catdog.retraining.jobs.foreground import finish_here  # noqa: E402
from catdog.retraining.jobs.table import Jobs  # noqa: E402
from catdog.retraining.uploads.uploads import Collection  # noqa: E402
from catdog.settings import Settings, load_settings  # noqa: E402
from catdog.storage.database import open_database  # noqa: E402
from catdog.training import pipeline  # noqa: E402
from catdog.training.pipeline import TrainOptions, train  # noqa: E402
from catdog.web.app import create_app  # noqa: E402

HOME = HERE / "home"
WHERE_IT_LAY = "/srv/catdog"
ASKED = [("cat.jpg", "cat", 40_000), ("dog.jpg", "dog", 40_001)]


def main() -> None:
    """Train, collect, retrain and serve in a temporary home, then keep what that left."""
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary).resolve() / "home"
        os.environ["CATDOG_HOME"] = str(home)
        settings = load_settings(home=home, tracking=False, precision="f32", threads=1)
        for animal in ("cat", "dog"):
            write_pictures(settings.data_dir / "train" / f"{animal}s", animal, 12)
            write_pictures(settings.data_dir / "test" / f"{animal}s", animal, 6, first=10_000)
        backbone = settings.models_dir / "backbones" / "tiny"
        write_backbone(backbone, weight=8)
        pipeline.resolve_backbone = lambda *_: backbone
        train(settings.data_dir, settings, TrainOptions(views=2, epochs=60, batch=4))
        for animal in ("cat", "dog"):
            add_drawings(settings, animal, 4, checked=True)
        engine = open_database(settings)
        removed = add_drawings(settings, "cat", 1, first=30_000)
        collection = Collection(settings, engine)
        collection.remove([picture.id for picture in collection.shelf.find() if picture.path == removed[0]])
        job = Jobs(engine).create(requested_by="command line")
        assert finish_here(settings, job.id).state == "succeeded"
        engine.dispose()
        _serve(settings)
        _keep(settings)


def _serve(settings: Settings) -> None:
    app = create_app(settings)
    client = app.test_client()
    for name, animal, seed in ASKED:
        with (HERE / name).open("wb") as file:
            file.write(encode(draw(animal, seed), quality=90))
        answer = client.post("/api/predict", data={"file": (HERE / name).open("rb")})
        assert answer.status_code == 200, answer.json
    answer = client.post("/api/feedback", data={"file": (HERE / "cat.jpg").open("rb"), "class": "dog"})
    assert answer.status_code == 200, answer.json
    app.extensions["catdog"].stop()


def _keep(settings: Settings) -> None:
    expected = {
        str(number): {
            name: Predictor(number, settings=settings, threads=1).predict(HERE / name).as_dict() for name, *_ in ASKED
        }
        for number in (1, 2)
    }
    (HERE / "predictions.json").write_text(json.dumps(expected, indent=2) + "\n")
    with sqlite3.connect(settings.home / "catdog.db") as database:
        database.execute("UPDATE files SET path = replace(path, ?, ?)", (str(settings.home), WHERE_IT_LAY))
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    for metadata in settings.models_dir.glob("*/metadata.json"):
        metadata.write_text(metadata.read_text().replace(str(settings.home), WHERE_IT_LAY))
    shutil.rmtree(HOME, ignore_errors=True)
    unneeded = ("*.lock", ".keras", "*-wal", "*-shm", "cache", "jobs", "catdog-jobs.db*", "mlflow*")
    shutil.copytree(settings.home, HOME, ignore=shutil.ignore_patterns(*unneeded))


if __name__ == "__main__":
    main()
