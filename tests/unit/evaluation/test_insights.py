"""Key findings for given figures."""

from typing import Any

import pytest

from catdog.evaluation.charts.catalog import insights
from catdog.evaluation.charts.chart import Insight
from catdog.evaluation.charts.figures import Figures

METRICS = {
    "n": 1000, "accuracy": 0.95, "accuracy_ci": [0.935, 0.962], "confusion_matrix": [[480, 20], [30, 470]],
    "coverage": 0.9, "selective_accuracy": 0.98,
}  # fmt: skip


def topics(**figures: Any) -> dict[str, Insight]:
    found = insights(Figures(figures.pop("classes", ("cats", "dogs")), **figures))
    assert len({insight.topic for insight in found}) == len(found)
    return {insight.topic: insight for insight in found}


def text(insight: Insight) -> str:
    return insight.text.replace("\u00a0", " ")


def counted(cats: int, dogs: int) -> dict[str, Any]:
    return {"counts": {"train": {"cats": cats, "dogs": dogs}}}


def test_with_figures_there_are_at_least_four_findings() -> None:
    bins = [{"n": 1000, "confidence": 0.94, "accuracy": 0.95}]
    assert len(topics(**counted(600, 400), metrics=METRICS, assessment={"reliability": bins})) >= 4


def test_without_figures_it_claims_nothing() -> None:
    found = topics()
    assert set(found) == {"Balance", "Accuracy"}
    assert all(insight.needs_attention for insight in found.values())
    assert not any(character.isdigit() for insight in found.values() for character in insight.text)


@pytest.mark.parametrize(
    ("cats", "dogs", "attention", "said"),
    [
        (500, 500, False, "balanced"),
        (600, 400, False, "60.0 % Cat and 40.0 % Dog"),
        (900, 100, True, "Cat has 9.0 times as many as Dog"),
        (0, 100, True, "Cat has no training images"),
    ],
)
def test_balance(cats: int, dogs: int, attention: bool, said: str) -> None:
    found = topics(**counted(cats, dogs))["Balance"]
    assert said in text(found)
    assert found.needs_attention is attention


def test_accuracy_comes_with_its_interval() -> None:
    found = topics(metrics=METRICS)["Accuracy"]
    assert "95.0 % on 1,000" in text(found)
    assert "93.5 % to 96.2 %" in text(found)
    assert not found.needs_attention


def test_few_test_images_and_untested_classes_are_reported() -> None:
    few = {**METRICS, "n": 20, "confusion_matrix": [[10, 0], [0, 10]]}
    assert "More test images" in topics(metrics=few)["Accuracy"].text
    untested = {**METRICS, "confusion_matrix": [[1000, 0], [0, 0]]}
    found = topics(metrics=untested)["Accuracy"]
    assert "No test images of Dog" in found.text
    assert found.needs_attention


def test_almost_perfect_accuracy_is_not_rounded_to_100_percent() -> None:
    nearly = {**METRICS, "accuracy": 0.99996, "accuracy_ci": [0.9999, 0.999996]}
    said = text(topics(metrics=nearly)["Accuracy"])
    assert "99.996 %" in said
    assert "over 99.999 %" in said
    assert "100" not in said.replace("1,000", "")
    assert "100 % on" in text(topics(metrics={**METRICS, "accuracy": 1.0})["Accuracy"])


@pytest.mark.parametrize(
    ("confidence", "accuracy", "said", "attention"),
    [
        (0.95, 0.951, "well calibrated", False),
        (0.99, 0.80, "overconfident", True),
        (0.70, 0.90, "underconfident", True),
    ],
)
def test_confidence(confidence: float, accuracy: float, said: str, attention: bool) -> None:
    bins = [{"n": 50, "confidence": confidence, "accuracy": accuracy}]
    found = topics(assessment={"reliability": bins})["Confidence"]
    assert said in found.text
    assert found.needs_attention is attention


def test_the_most_frequent_confusion_is_named() -> None:
    assert "Dog is confused with Cat: 30 of 500 (6.0 %), out of 50 mistakes" in text(
        topics(metrics=METRICS)["Mistakes"]
    )
    even = topics(metrics={**METRICS, "confusion_matrix": [[490, 10], [10, 490]]})["Mistakes"]
    assert "20 mistakes, spread evenly" in even.text
    none = topics(metrics={**METRICS, "confusion_matrix": [[500, 0], [0, 500]]})["Mistakes"]
    assert "No mistakes on 1,000 test images" in none.text
    one = topics(metrics={**METRICS, "confusion_matrix": [[499, 1], [0, 500]]})["Mistakes"]
    assert "out of 1 mistake." in one.text


def test_verdicts_of_the_server_and_of_the_test() -> None:
    stats = {"predictions": {"by_verdict": {"cat": 50, "dog": 30, "unsure": 15, "neither": 105}}}
    found = topics(metrics=METRICS, stats=stats)["Verdicts"]
    assert "Of 200 images" in found.text
    assert "40.0 % got a class, 7.5 % were unsure and 52.5 % neither" in text(found)
    assert found.needs_attention  # far fewer get a class than of the test images
    tested = topics(metrics=METRICS)["Verdicts"]
    assert "90.0 % of the test images get a class, and 98.0 % of those are correct" in text(tested)
    none_answered = topics(metrics={**METRICS, "coverage": 0.0, "selective_accuracy": None})["Verdicts"]
    assert "0 % of the test images get a class." in text(none_answered)


def test_learning() -> None:
    found = topics(history=[{"val_loss": 0.3}, {"val_loss": 0.2}, {"val_loss": 0.25}])["Learning"]
    assert "epoch 2 of 3" in found.text
    assert not found.needs_attention
    assert topics(history=[{"val_loss": 0.3}, {"val_loss": 0.2}])["Learning"].needs_attention


def version(number: int, accuracy: float, low: float, high: float) -> dict[str, Any]:
    return {"version": number, "accuracy": accuracy, "accuracy_ci": [low, high]}


def test_versions() -> None:
    assert "Versions" not in topics(stats={"versions": [version(1, 0.9, 0.8, 0.95)]})
    within = {"versions": [version(1, 0.91, 0.8, 0.95), version(2, 0.9, 0.8, 0.95)]}
    assert "v1 has the best accuracy (91.0 %), within the 95 % interval of the newest, v2" in text(
        topics(stats=within)["Versions"]
    )
    outside = {"versions": [version(1, 0.99, 0.98, 1), version(2, 0.9, 0.8, 0.95)]}
    assert topics(stats=outside)["Versions"].needs_attention
    newest = {"versions": [version(1, 0.9, 0.8, 0.95), version(2, 0.99, 0.98, 1)]}
    assert "v2 has the best accuracy (99.0 %) and is the newest" in text(topics(stats=newest)["Versions"])


def test_drift() -> None:
    assert "Too few" in topics(stats={"drift": None})["Drift"].text
    drift = {"n": 300, "score": 0.31, "measure": "novelty", "warning": True}
    warned = topics(stats={"drift": drift})["Drift"]
    assert "0.31" in warned.text
    assert "novelty" in warned.text
    assert warned.needs_attention
    calm = topics(stats={"drift": {**drift, "score": 0.05, "warning": False}})["Drift"]
    assert not calm.needs_attention


def test_a_count_of_one_is_singular() -> None:
    """One training image, one test image and one prediction."""
    one = {
        "n": 1, "accuracy": 1.0, "accuracy_ci": [0.2, 1.0], "confusion_matrix": [[1, 0], [0, 0]], "coverage": 1.0,
    }  # fmt: skip
    stats = {
        "predictions": {"by_verdict": {"cat": 1}},
        "drift": {"n": 1, "score": 0.1, "measure": "novelty", "warning": False},
    }
    said = {topic: text(found) for topic, found in topics(**counted(1, 1), metrics=one, stats=stats).items()}
    assert "Of 1 image on this server, 100 % got a class" in said["Verdicts"]
    assert "on 1 test image;" in said["Accuracy"]
    assert said["Mistakes"] == "No mistakes on 1 test image."
    assert "over the last 1 prediction," in said["Drift"]
    assert "1 training image: 100 % Cat" in text(topics(**counted(1, 0), classes=("cats",))["Balance"])
