from pathlib import Path

import numpy as np
import pytest
from drawing import encode, write_dataset, write_pictures
from PIL import Image

from catdog.data.layout.reading import Layout
from catdog.errors import DatasetError
from catdog.evaluation.measure import evaluate, surest_mistakes
from catdog.prediction.predictor import Predictor
from catdog.settings import Settings

PROBABILITIES = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7], [0.95, 0.05]], np.float32)
LABELS = np.array([0, 0, 0, 1, 1])


def test_the_most_confident_mistakes_come_first() -> None:
    mistakes = surest_mistakes(PROBABILITIES, LABELS, list("abcde"), ["cats", "dogs"])
    assert [(m.path, m.true, m.predicted) for m in mistakes] == [("e", "Dog", "Cat"), ("c", "Cat", "Dog")]


def test_a_labelled_folder_is_measured_through_the_predictor(trained: Settings, drawn: Path) -> None:
    predictor = Predictor(settings=trained)
    evaluation, probabilities, labels = evaluate(predictor, drawn / "test", trained)
    assert evaluation.metrics["n"] == 20 == len(labels)
    assert evaluation.seen_in_training == 0
    assert evaluation.metrics["accuracy"] >= 0.9
    direct = predictor.predict(sorted((drawn / "test" / "cats").iterdir())[0])
    assert probabilities[0].tolist() == pytest.approx(list(direct.probabilities.values()))
    flattering, _, _ = evaluate(predictor, drawn / "train", trained)
    assert flattering.seen_in_training == 60


def test_the_test_split_of_a_data_set_is_measured(trained: Settings, drawn: Path) -> None:
    assert evaluate(Predictor(settings=trained), drawn, trained)[0].metrics["n"] == 20


def test_class_folders_match_by_common_names(trained: Settings, tmp_path: Path) -> None:
    write_pictures(tmp_path / "odd" / "Cat", "cat", 3, first=900)
    write_pictures(tmp_path / "odd" / "DOGS", "dog", 3, first=900)
    evaluation, _, labels = evaluate(Predictor(settings=trained), tmp_path / "odd", trained)
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert [sum(row) for row in evaluation.metrics["confusion_matrix"]] == [3, 3]


def test_folders_that_differ_in_case_only_are_not_counted_together(trained: Settings, tmp_path: Path) -> None:
    for i, name in enumerate(("cats", "Cats", "dogs")):
        write_pictures(tmp_path / "odd" / name, name.rstrip("s").lower(), 3, first=900 + 10 * i)
    with pytest.raises(DatasetError, match="Cats, cats would all count as the model's class cats"):
        evaluate(Predictor(settings=trained), tmp_path / "odd", trained)


def test_classes_without_images_are_reported(trained: Settings, tmp_path: Path) -> None:
    write_pictures(tmp_path / "odd" / "test" / "Cat", "cat", 3, first=900)
    (tmp_path / "odd" / "test" / "dogs").mkdir()
    remarks = evaluate(Predictor(settings=trained), tmp_path / "odd", trained)[0].as_dict()["remarks"]
    assert remarks == ["Without images: test/dogs/.", "Not measured, as there are no images: dogs."]


def test_the_layout_can_be_given(trained: Settings, tmp_path: Path) -> None:
    for group in ("young", "old"):
        for animal in ("cat", "dog"):
            write_pictures(tmp_path / "odd" / group / f"{animal}s", animal, 2, first=900 if group == "old" else 910)
    predictor, odd = Predictor(settings=trained), tmp_path / "odd"
    assert evaluate(predictor, odd, trained, layout=Layout.parse("*/classes"))[0].metrics["n"] == 8
    with pytest.raises(DatasetError, match=r"old, young.*--layout and --split-names"):
        evaluate(predictor, odd, trained, layout=Layout.parse("classes"))
    said = Layout.parse(None, ["test=old,train=young"])
    assert evaluate(predictor, odd, trained, layout=said)[0].metrics["n"] == 4


def test_unknown_classes_and_empty_folders_are_refused(trained: Settings, tmp_path: Path) -> None:
    write_pictures(tmp_path / "birds" / "owl", "owl", 2)
    with pytest.raises(DatasetError, match=r"doesn't know: owl. It knows cats, dogs"):
        evaluate(Predictor(settings=trained), tmp_path / "birds", trained)
    (tmp_path / "none").mkdir()
    with pytest.raises(DatasetError, match="No usable images"):
        evaluate(Predictor(settings=trained), tmp_path / "none", trained)


def test_images_of_other_objects_are_counted_on_request(trained: Settings, drawn: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(12):
        noise = rng.integers(0, 256, (100, 100, 3), np.uint8)
        (tmp_path / f"{i}.png").write_bytes(encode(Image.fromarray(noise), "PNG"))
    (tmp_path / "notes.txt").write_text("no picture")
    evaluation, _, _ = evaluate(Predictor(settings=trained), drawn / "test", trained, other=tmp_path)
    other = evaluation.as_dict()["other"]
    assert other["n"] == 12
    assert 0 <= other["auroc"] <= 1
    assert other["accepted_share"] == len(other["accepted"]) / 12
    assert other["accepted_ci"][0] <= other["accepted_share"] <= other["accepted_ci"][1]
    assert 0.8 <= evaluation.metrics["coverage"] <= 1
    assert evaluation.metrics["selective_accuracy"] >= evaluation.metrics["accuracy"] - 0.05


def test_junk_is_listed_and_does_not_stop(trained: Settings, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "pets", 3, 0) / "train"
    (data / "cats" / "notes").write_text("no picture")
    (data / "dogs" / "empty.jpg").write_bytes(b"")
    evaluation, _, _ = evaluate(Predictor(settings=trained), data, trained)
    assert evaluation.metrics["n"] == 6
    assert sorted(Path(path).name for path, _ in evaluation.rejected) == ["empty.jpg", "notes"]
    document = evaluation.as_dict()
    assert document["n"] == 6
    assert document["model_version"] == 1
