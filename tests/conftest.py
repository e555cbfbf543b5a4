"""Fixtures: drawn pictures, a small random backbone, and a home in which a version was trained once."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from apiflask import APIFlask
from drawing import draw, write_dataset
from filelock import FileLock
from flask.testing import FlaskClient

from catdog.settings import Settings, load_settings

pytest_plugins = ["browsing", "postgres"]

OF_THE_TESTS = {"CATDOG_SHARED", "CATDOG_CHROMIUM"}
"""Variables that are the tests' own, and no settings."""

MakeOnce = Callable[[str, Callable[[Path], object]], Path]
"""Gives a folder by its name, which a function fills where no process of this run has."""

WEIGHTS_NAME = "mobilenet_v2_imagenet_no_top.weights.h5"


@pytest.fixture(scope="session", autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Run all tests in an empty folder, without the settings of the person who runs them."""
    for name in {name for name in os.environ if name.startswith(("CATDOG_", "MLFLOW_", "OTEL_"))} - OF_THE_TESTS:
        del os.environ[name]
    for name in ("PORT", "WEB_CONCURRENCY"):
        os.environ.pop(name, None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as for what a script starts with "&": children inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("CATDOG_SHARED", str(Path(__file__).parents[2] / "shared"))
    os.chdir(tmp_path_factory.mktemp("work"))


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """Undo what a test, or a command that it runs, sets in the environment."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def no_nan_in_json(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test in which NaN or infinity was to be written as JSON, but for those marked `writes_nan`."""
    yield
    if request.node.get_closest_marker("writes_nan") is None:
        found = [
            r for when in ("setup", "call") for r in caplog.get_records(when) if r.name == "catdog.storage.strict_json"
        ]
        assert found == []


@pytest.fixture
def settings(tmp_path: Path, database_url: str | None) -> Settings:  # noqa: ARG001  # it sets the variable
    """Settings with an empty home of its own."""
    return load_settings(home=tmp_path / "home", tracking=False)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real photographs; tests that use it carry the `shared` marker."""
    folder = Path(os.environ.get("CATDOG_SHARED", "")).absolute()
    if not (folder / "cat-and-dog").is_dir():
        pytest.skip(f"no real photographs: CATDOG_SHARED is {folder}, which has no cat-and-dog/")
    return folder


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> MakeOnce:
    """A function that gives a folder of this run by its name, which the first process that asks has filled."""
    base = tmp_path_factory.getbasetemp()
    shared_base = base if worker_id == "master" else base.parent

    def folder_of(name: str, fill: Callable[[Path], object]) -> Path:
        folder = shared_base / f"made-{name}"
        complete = Path(f"{folder}.complete")
        with FileLock(f"{folder}.lock"):
            if not complete.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process that failed at it
                folder.mkdir()
                fill(folder)
                complete.touch()
        return folder

    return folder_of


@pytest.fixture(scope="session")
def drawn(made_once: MakeOnce) -> Path:
    """Data set of drawn cats and dogs: 30 a class to train on, 10 a class to test on. Not to be changed."""
    return made_once("drawn", lambda folder: write_dataset(folder / "pets")) / "pets"


@pytest.fixture(scope="session")
def weights(made_once: MakeOnce) -> Path:
    """Weights file of a MobileNetV2 that was never trained, normalised so that its features carry something."""
    return made_once("weights", write_weights) / "random.weights.h5"


def write_weights(folder: Path) -> None:
    """Write the file of `weights`."""
    from catdog.features.frameworks import import_keras
    from catdog.features.weights import build_keras_backbone

    keras = import_keras()
    keras.utils.set_random_seed(7)
    network = build_keras_backbone(None, 224)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # take over the statistics of the one batch below
    pictures = [np.asarray(draw(animal, i, (224, 224))) for i in range(8) for animal in ("cat", "dog")]
    network(np.stack(pictures).astype(np.float32) / 127.5 - 1, training=True)
    network.save_weights(folder / "random.weights.h5")


@pytest.fixture(scope="session")
def trained(
    made_once: MakeOnce, drawn: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Settings of a home with one version, trained on `drawn`. Not to be changed; `home` gives a copy."""

    def fill(folder: Path) -> None:
        from catdog.training.pipeline import TrainOptions, train

        options = TrainOptions(backbone=str(request.getfixturevalue("weights")), views=2, epochs=60, batch=4)
        train(drawn, load_settings(home=folder, tracking=False), options)

    own = shutil.copytree(made_once("trained", fill), tmp_path_factory.mktemp("trained") / "home")
    return load_settings(home=Path(own), tracking=False)


@pytest.fixture
def home(trained: Settings, tmp_path: Path, database_url: str | None) -> Settings:
    """Settings of a home of its own with one trained version, which a test may change."""
    from postgres import move_rows

    shutil.copytree(trained.home, tmp_path / "home")
    move_rows(tmp_path / "home", database_url)
    return load_settings(home=tmp_path / "home", tracking=False)


@pytest.fixture
def app(home: Settings) -> Iterator[APIFlask]:
    """The server's application on a home of its own, whose threads end with the test."""
    from catdog.web.app import create_app

    made = create_app(home)
    yield made
    made.extensions["catdog"].stop()


@pytest.fixture
def client(app: APIFlask) -> FlaskClient:
    """A client of `app`, on the same machine."""
    return app.test_client()


@pytest.fixture(scope="session")
def trained_client(trained: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """A client of one application for many tests, on a copy of the trained home; not to be changed."""
    from catdog.web.app import create_app

    home = Path(shutil.copytree(trained.home, tmp_path_factory.mktemp("served") / "home"))
    made = create_app(load_settings(home=home, tracking=False))
    yield made.test_client()
    made.extensions["catdog"].stop()


@pytest.fixture(scope="session")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a home with the bundled model and nothing else. Not to be changed."""
    from catdog.registry.starter import ensure_champion

    settings = load_settings(home=tmp_path_factory.mktemp("bundled"), tracking=False)
    ensure_champion(settings.models_dir)
    return settings


@pytest.fixture(scope="session")
def add_constant() -> Callable[[Settings, int], int]:
    """Give a function that saves a version which answers the same class for every picture; returns its number."""
    from catdog.model.head import Head
    from catdog.registry.store import ModelStore

    def add(settings: Settings, class_id: int) -> int:
        store = ModelStore(settings.models_dir)
        version = store.get(1)
        head = version.load_head()
        bias = np.where(np.arange(len(version.classes)) == class_id, 10, -10).astype(np.float32)

        def write(folder: Path) -> None:
            Head(head.hidden_weights, head.hidden_bias, head.output_weights * 0, bias).save(folder / "head.npz")
            for name in ("novelty.npz", "manifest.csv"):
                shutil.copyfile(version.path / name, folder / name)

        kept = {k: v for k, v in version.metadata.items() if k not in ("version", "format", "created_at", "checksums")}
        return store.save(kept, write).number

    return add
