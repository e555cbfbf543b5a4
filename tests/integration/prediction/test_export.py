"""Exports: each format is written, run in its own runtime and compared with catdog."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catdog.cli import main
from catdog.data.images.pixels import decode
from catdog.errors import ExportError, MissingDependencyError
from catdog.features.backbone import read_info
from catdog.prediction import export, parity
from catdog.prediction.export import export_version
from catdog.prediction.formats import FORMATS
from catdog.prediction.parity import choose_images, synthetic_images
from catdog.prediction.predictor import Predictor
from catdog.registry.store import ModelStore, ModelVersion
from catdog.settings import Settings
from catdog.types import ExportFormat

pytestmark = pytest.mark.slow  # conversions and trainings of whole networks, a minute together

NAMES: dict[ExportFormat, str] = {
    "keras": "pets.keras",
    "h5": "pets.h5",
    "onnx": "pets.onnx",
    "openvino": "openvino",
    "litert": "pets.tflite",
    "saved_model": "saved",
}

STATED = ("class_names", "class_keys", "input", "preprocessing")


@pytest.fixture(scope="module")
def version(trained: Settings) -> ModelVersion:
    return ModelStore(trained.models_dir).get(1)


@pytest.fixture(scope="module", autouse=True)
def _one_network(version: ModelVersion) -> Any:
    """Build the Keras network once for all tests here."""
    network = export.build_network(version)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "build_network", lambda _: network)
        yield


@pytest.fixture(scope="module")
def pictures(drawn: Path) -> list[Path]:
    return sorted((drawn / "test").rglob("*.jpg"))


@pytest.fixture(scope="module")
def exported(
    version: ModelVersion, trained: Settings, pictures: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Folder with the version in every format, compared in f32. Not to be changed."""
    folder = tmp_path_factory.mktemp("exported")
    settings = trained.model_copy(update={"precision": "f32"})
    for kind, name in NAMES.items():
        export_version(version, kind, folder / name, settings, pictures)
    return folder


def description_in(folder: Path, kind: ExportFormat) -> dict[str, Any]:
    """Read an export's description with the format's own tools."""
    path = folder / NAMES[kind]
    if kind == "h5":
        import h5py

        with h5py.File(path) as file:
            return dict(json.loads(file.attrs["catdog"]))
    if kind == "onnx":
        import onnxruntime

        held = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
        return {key: json.loads(text) if text[:1] in "[{" else text for key, text in held.items()}
    if kind == "openvino":
        import openvino

        model = openvino.Core().read_model(path / "model.xml")
        held = {key: model.get_rt_info(["catdog", key]).astype(str) for key in STATED}
        return {key: json.loads(text) if text[:1] in "[{" else text for key, text in held.items()}
    if kind == "saved_model":
        return dict(json.loads((path / "catdog.json").read_text()))
    with zipfile.ZipFile(path) as archive:
        return dict(json.loads(archive.read("catdog.json")))


@pytest.mark.parametrize("kind", NAMES)
def test_each_format_gives_the_served_answers(exported: Path, kind: ExportFormat) -> None:
    certificate = json.loads((exported / "parity.json").read_text())["exports"][NAMES[kind]]
    assert (certificate["format"], certificate["model_version"], certificate["pictures"]) == (kind, 1, 20)
    assert certificate["trusted"]
    assert certificate["served"]["agreement"] == 1
    assert certificate["alike"]["agreement"] == 1
    rounded = 0.05 if certificate["export_precision"] == "bf16" else 0.01  # weights of the served backbone are halves
    assert certificate["alike"]["largest_difference"] < rounded
    assert len(certificate["pictures_digest"]) == 64
    assert {"catdog", "keras", "tensorflow", "openvino", "onnxruntime"} <= certificate["versions"].keys()
    files = [path for path in (exported / NAMES[kind]).rglob("*") if path.is_file()] or [exported / NAMES[kind]]
    assert certificate["bytes"] == pytest.approx(sum(path.stat().st_size for path in files), abs=2000)


@pytest.mark.parametrize("kind", NAMES)
def test_each_format_states_classes_and_preprocessing(exported: Path, kind: ExportFormat) -> None:
    path = exported / NAMES[kind]
    sidecar = FORMATS[kind].sidecar(path)
    for description in (description_in(exported, kind), json.loads(sidecar.read_text())):
        assert description["class_names"] == ["Cat", "Dog"]
        assert description["class_keys"] == ["cat", "dog"]
        assert description["input"]["shape"] == [None, 224, 224, 3]
        assert "224 x 224" in description["preprocessing"]


def test_the_labels_of_a_litert_file_are_where_android_expects_them(exported: Path) -> None:
    with zipfile.ZipFile(exported / "pets.tflite") as archive:
        assert archive.read("labels.txt") == b"Cat\nDog\n"


def test_nothing_temporary_is_left(exported: Path) -> None:
    sidecars = {f"{name}.json" for name in NAMES.values() if "." in name}
    assert {path.name for path in exported.iterdir()} == {*NAMES.values(), *sidecars, "parity.json"}


def test_keras_files_load_where_catdog_is_not(
    exported: Path, version: ModelVersion, trained: Settings, pictures: list[Path], tmp_path: Path
) -> None:
    size = read_info(version.backbone_path).image_size
    pixels = np.stack([decode(path.read_bytes(), size) for path in pictures[::5]])
    np.save(tmp_path / "pixels.npy", pixels)
    code = (
        "import sys; sys.modules['catdog'] = None\n"
        "import keras, numpy\n"
        "pixels = numpy.load('pixels.npy').astype('float32')\n"
        f"for name in ('pets.keras', 'pets.h5'):\n"
        f"    model = keras.models.load_model({str(exported)!r} + '/' + name)\n"
        "    numpy.save(name + '.npy', model.predict_on_batch(pixels))\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    predictor = Predictor(version, settings=trained.model_copy(update={"precision": "f32"}))
    expected = np.array([list(predictor.predict(path).probabilities.values()) for path in pictures[::5]])
    for name in ("pets.keras", "pets.h5"):
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), expected, atol=0.01)


def test_onnx_runs_in_onnx_runtime_for_any_number_of_images(exported: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(exported / "pets.onnx")
    ((name, shape),) = [(value.name, value.shape) for value in session.get_inputs()]
    assert (name, shape) == ("pixels", ["N", 224, 224, 3])
    for count in (1, 3):
        (answered,) = session.run(["probabilities"], {"pixels": np.zeros((count, 224, 224, 3), np.float32)})
        np.testing.assert_allclose(answered.sum(axis=1), np.ones(count), rtol=1e-5)


def test_an_export_with_other_predictions_fails_the_command(
    trained: Settings, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load = FORMATS["keras"].load

    def swapped(path: Path) -> Any:
        run, precision = load(path)
        return lambda pixels: np.asarray(run(pixels))[:, ::-1], precision

    monkeypatch.setitem(FORMATS, "keras", export.Format(".keras", FORMATS["keras"].write, swapped))
    out = tmp_path / "pets.keras"
    arguments = ["models", "export", "1", "--format", "keras", "--out", str(out), "--pictures", str(drawn / "test")]
    monkeypatch.setattr(sys, "argv", ["catdog", "--home", str(trained.home), *arguments, "--json"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    assert "Don't use the export" in json.loads(capsys.readouterr().out)["error"]
    certificate = json.loads((tmp_path / "parity.json").read_text())["exports"]["pets.keras"]
    assert not certificate["trusted"]
    assert certificate["served"]["agreement"] == 0


def test_the_command_prints_the_certificate(
    trained: Settings, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["models", "export", "1", "--format", "h5", "--out", str(tmp_path / "new" / "pets.h5")]
    options = ["--pictures", str(drawn / "test" / "cats"), "--json"]
    monkeypatch.setattr(sys, "argv", ["catdog", "--home", str(trained.home), *arguments, *options])
    with pytest.raises(SystemExit) as stopped:
        main()
    printed = json.loads(capfd.readouterr().out)
    assert stopped.value.code == 0
    assert printed["pictures"] == 10
    assert printed == json.loads((tmp_path / "new" / "parity.json").read_text())["exports"]["pets.h5"]


def test_without_photographs_synthetic_images_are_compared(
    version: ModelVersion, trained: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "synthetic_images", lambda: synthetic_images(70))
    certificate = export_version(version, "keras", tmp_path / "pets.keras", trained)
    assert certificate.pictures_made
    assert certificate.trusted
    assert certificate.pictures >= 64
    assert certificate.judged == certificate.alike


def test_an_export_that_cannot_be_run_leaves_nothing(
    version: ModelVersion, trained: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = export.Format(".h5", lambda *given: given[1].write_bytes(b"nothing"), FORMATS["h5"].load)
    monkeypatch.setitem(FORMATS, "h5", broken)
    with pytest.raises(ExportError, match="Can't run the export"):
        export_version(version, "h5", tmp_path / "pets.h5", trained, synthetic_images(2))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("kind", "name"), [("onnx", "pets.onnx"), ("openvino", "pets"), ("keras", "other.keras")])
def test_nothing_is_overwritten(
    version: ModelVersion, trained: Settings, tmp_path: Path, kind: ExportFormat, name: str
) -> None:
    (tmp_path / name.replace("other.keras", "other.keras.json")).write_text("mine")
    with pytest.raises(ExportError, match=r"already exists"):
        export_version(version, kind, tmp_path / name, trained)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("keras", "pets.h5", r"the suffix \.keras"),
        ("openvino", "pets.xml", "is a folder"),
        ("pickle", "x", "one of keras"),
    ],
)
def test_a_path_that_does_not_fit_the_format_is_refused(
    version: ModelVersion, trained: Settings, tmp_path: Path, kind: ExportFormat, name: str, expected: str
) -> None:
    with pytest.raises(ExportError, match=expected):
        export_version(version, kind, tmp_path / name, trained)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_its_extra(
    version: ModelVersion, trained: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "tf2onnx" else object())
    with pytest.raises(MissingDependencyError, match=r"tf2onnx.*catdog\[export\]"):
        export_version(version, "onnx", tmp_path / "pets.onnx", trained)


def test_images_come_from_the_folder_the_shared_photographs_or_nowhere(tmp_path: Path) -> None:
    photograph = tmp_path / "shared" / "cat-and-dog" / "test" / "cats" / "a.jpg"
    photograph.parent.mkdir(parents=True)
    photograph.write_bytes(b"")
    assert choose_images(None, tmp_path / "shared") == [photograph]
    assert choose_images(photograph.parent, None) == [photograph]
    assert choose_images(None, None) == choose_images(None, tmp_path / "nowhere") == []
    with pytest.raises(ExportError, match="No files in"):
        choose_images(tmp_path / "nowhere", None)


def test_synthetic_images_are_always_the_same_and_all_different() -> None:
    made = synthetic_images(64)
    assert made == synthetic_images(64)
    assert len(set(made)) == 64
    assert decode(made[3]).shape == (224, 224, 3)
