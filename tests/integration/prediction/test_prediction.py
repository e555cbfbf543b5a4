import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from drawing import draw, encode

from catdog.data.images.pixels import decode
from catdog.data.walking import find_pictures
from catdog.errors import PictureError, PictureFormatError, VersionNotFoundError
from catdog.model.network import create_model, write_head
from catdog.prediction.predictor import Prediction, Predictor
from catdog.settings import Settings, load_settings


@pytest.fixture(scope="module")
def predictor(trained: Settings) -> Predictor:
    return Predictor(settings=trained)


def test_a_prediction_has_the_public_form(predictor: Predictor) -> None:
    answer = predictor.predict(encode(draw("cat", 1234))).as_dict()
    assert answer["class"] == "Cat"
    assert answer["class_id"] == 0
    assert answer["model_version"] == 1
    assert answer["probabilities"].keys() == {"cat", "dog"}
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert answer["confidence"] == max(answer["probabilities"].values())
    json.dumps(answer)


def test_bytes_paths_batches_and_streams_agree(predictor: Predictor, drawn: Path) -> None:
    paths = sorted((drawn / "test").rglob("*.jpg"))
    single = [predictor.predict(path) for path in paths]
    assert predictor.predict_batch(paths) == single
    assert predictor.predict_batch([path.read_bytes() for path in paths]) == single
    assert [predictor.predict(str(path)) for path in paths] == single


def test_an_unusable_image_gets_an_error_in_its_place(predictor: Predictor, tmp_path: Path) -> None:
    good = encode(draw("dog", 4321))
    outcomes = predictor.predict_batch([good, b"no picture", tmp_path / "absent.jpg", good])
    assert isinstance(outcomes[1], PictureFormatError)
    assert "Can't read the file" in str(outcomes[2])
    assert isinstance(outcomes[0], Prediction)
    assert outcomes[0] == outcomes[3]
    with pytest.raises(PictureError):
        predictor.predict(b"")


def test_an_endless_stream_is_read_lazily(predictor: Predictor) -> None:
    taken = 0

    def pictures() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield encode(draw("cat", taken % 5))

    answers = list(islice(predictor.predict_stream(pictures()), 10))  # type: ignore[arg-type]
    assert len(answers) == 10
    assert taken < 200


def test_serving_matches_the_keras_network(trained: Settings, drawn: Path) -> None:
    exact = Predictor(settings=load_settings(home=trained.home, precision="f32"))
    network = create_model(2, weights=exact.version.backbone_path / "backbone.weights.h5")
    write_head(network, exact.version.load_head())
    paths = sorted((drawn / "test").rglob("*.jpg"))
    pixels = np.stack([decode(path.read_bytes()) for path in paths])
    expected = network.predict(pixels.astype(np.float32), verbose=0)
    served = np.array([list(exact.predict(path).probabilities.values()) for path in paths])
    assert np.abs(served - expected).max() < 0.05
    close = np.abs(expected[:, 0] - 0.5) < 0.05
    assert ((served.argmax(1) == expected.argmax(1)) | close).all()


def test_every_answer_has_a_verdict(predictor: Predictor, drawn: Path) -> None:
    answers = predictor.predict_batch(sorted((drawn / "test" / "cats").iterdir()))
    assert [a.verdict for a in answers].count("cat") >= 7
    assert all(0 <= a.novelty <= 1 for a in answers)
    assert all((a.verdict == "neither") == (a.novelty >= 0.5) for a in answers)
    assert all(a.is_answered == (a.verdict in ("cat", "dog")) for a in answers)


def test_low_confidence_is_unsure(trained: Settings, drawn: Path) -> None:
    demanding = Predictor(settings=load_settings(home=trained.home, unsure_below=1.0))
    verdicts = {a.verdict for a in demanding.predict_batch(sorted((drawn / "test" / "cats").iterdir()))}
    assert verdicts <= {"unsure", "neither"}


def test_a_missing_model_is_reported(settings: Settings) -> None:
    with pytest.raises(VersionNotFoundError, match="No model in use"):
        Predictor(settings=settings)


def test_answering_never_loads_tensorflow(trained: Settings, drawn: Path) -> None:
    code = (
        "import sys; from catdog.prediction import Predictor; from catdog.settings import load_settings;"
        f"print(Predictor(settings=load_settings(home={str(trained.home)!r})).predict(sys.argv[1]).class_name);"
        "print([name for name in ('tensorflow', 'keras', 'mlflow') if name in sys.modules])"
    )
    picture = next((drawn / "test" / "cats").iterdir())
    answer = subprocess.run([sys.executable, "-c", code, picture], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"


def test_files_and_folders_are_found_in_order(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg", ".hidden.jpg", "sub/c.jpg", ".git/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    flat = [path.name for path in find_pictures([tmp_path])]
    assert flat == ["a.jpg", "b.jpg"]
    deep = [path.name for path in find_pictures([tmp_path], recursive=True)]
    assert deep == ["a.jpg", "b.jpg", "c.jpg"]
    named = [tmp_path / ".hidden.jpg", tmp_path / "absent.jpg"]
    assert list(find_pictures(named)) == named


@pytest.mark.shared
def test_full_size_photographs_get_the_same_prediction_everywhere(predictor: Predictor, shared: Path) -> None:
    paths = sorted((shared / "photos").iterdir())
    batch = predictor.predict_batch(paths)
    assert len(batch) == 82
    assert batch[:5] == [predictor.predict(path.read_bytes()) for path in paths[:5]]
