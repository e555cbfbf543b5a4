"""Rows of the charts, and curves and bins of an assessment."""

import csv
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_figures import answers, made_figures
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from catdog.evaluation import curves
from catdog.evaluation.charts.catalog import fill
from catdog.evaluation.charts.chart import Chart
from catdog.evaluation.charts.figures import Figures, Row
from catdog.evaluation.diagnostics import EXAMPLES_PER_CELL, Assessments, assess, assess_version
from catdog.evaluation.metrics import compute_metrics
from catdog.registry.store import ModelStore, ModelVersion
from catdog.settings import Settings


def by_name(figures: Figures) -> dict[str, Chart]:
    return {chart.name: chart for chart in fill(figures)}


def test_a_roc_curve_is_thinned_and_keeps_its_ends_and_area() -> None:
    probabilities, labels = answers(5000)
    curve = curves.roc(probabilities.astype(float), labels, 1)
    assert curve is not None
    points = np.array(curve["points"])
    assert len(points) <= curves.MOST_POINTS
    assert points[0].tolist() == [0, 0]
    assert points[-1].tolist() == [1, 1]
    assert (np.diff(points, axis=0) >= 0).all()
    assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(curve["auc"], abs=0.005)
    metrics = compute_metrics(probabilities, labels, ("cats", "dogs"))
    assert curve["auc"] == pytest.approx(metrics["roc_auc"])


def test_curves_of_a_class_without_images_are_none() -> None:
    probabilities, labels = answers(20)
    assert curves.roc(probabilities.astype(float), labels * 0, 1) is None
    assert curves.roc(probabilities.astype(float), labels * 0, 0) is None
    assert curves.precision_recall(probabilities.astype(float), labels * 0, 1) is None
    found = assess(probabilities, labels * 0, [("", "")] * 20)
    assert found["roc"] == [None, None]
    assert {rate["class"] for rate in found["rates"] if rate["measure"] == "recall"} == {0}


def test_perfect_predictions_have_a_perfect_precision_recall_curve() -> None:
    labels = np.array([0, 1, 0, 1])
    curve = curves.precision_recall(np.eye(2)[labels], labels, 1)
    assert curve is not None
    assert curve["average_precision"] == 1
    assert [1.0, 1.0] in curve["points"]


def test_every_bin_of_reliability_has_an_interval_around_its_accuracy() -> None:
    probabilities, labels = answers()
    rows = curves.reliability(probabilities, labels)
    assert sum(row["n"] for row in rows) == len(labels)
    assert all(row["low"] <= row["accuracy"] <= row["high"] for row in rows)


def test_the_histogram_counts_correct_and_wrong_predictions() -> None:
    probabilities = np.array([[0.99, 0.01], [0.52, 0.48], [1.0, 0.0]], np.float32)
    found = curves.confidence_histogram(probabilities, np.array([0, 1, 0]))
    assert found["right"] == [0] * 19 + [2]
    assert found["wrong"] == [0] * 10 + [1] + [0] * 9


def test_examples_start_with_the_most_confident_mistakes() -> None:
    probabilities, labels = answers()
    examples = assess(probabilities, labels, [(str(i), f"{i}.jpg") for i in range(len(labels))])["examples"]
    wrong = [example for example in examples if example["true"] != example["answered"]]
    right = [example for example in examples if example["true"] == example["answered"]]
    assert examples == [*wrong, *right]
    surest = [max(example["probabilities"]) for example in wrong]
    assert surest == sorted(surest, reverse=True)
    least = [max(example["probabilities"]) for example in right]
    assert least == sorted(least)
    assert len(right) == 2 * EXAMPLES_PER_CELL
    assert surest[0] == pytest.approx(
        float(probabilities.max(axis=1)[probabilities.argmax(axis=1) != labels].max()), abs=1e-4
    )


def test_a_stored_assessment_matches_the_replayed_features(trained: Settings) -> None:
    version = ModelStore(trained.models_dir).get(1)
    held, computed = version.assessment(), assess_version(version)
    assert held is not None
    assert computed is not None
    assert held["n"] == computed["n"] == version.metadata["metrics"]["n"]
    assert held["confidence"] == computed["confidence"]
    key = "sha256"
    assert sorted(e[key] for e in held["examples"]) == sorted(e[key] for e in computed["examples"])
    assert {e["path"].split("/")[0] for e in computed["examples"]} == {"test"}


def test_the_assessment_of_the_bundled_model_matches_its_metrics(bundled: Settings) -> None:
    version = ModelStore(bundled.models_dir).get(1)
    found = version.assessment()
    assert found is not None
    again = assess_version(version)
    assert set(again) == set(found)
    assert again["n"] == found["n"]
    assert np.allclose(again["confidence"]["right"], found["confidence"]["right"], atol=3)  # processors round apart
    metrics = version.metadata["metrics"]
    assert found["n"] == metrics["n"]
    assert sum(found["confidence"]["right"]) / found["n"] == pytest.approx(metrics["accuracy"])
    wrong = [e for e in found["examples"] if e["true"] != e["answered"]]
    assert len(wrong) == sum(map(sum, metrics["confusion_matrix"])) - sum(
        metrics["confusion_matrix"][i][i] for i in range(2)
    )


def test_a_version_saved_before_there_were_assessments_is_assessed(trained: Settings, tmp_path: Path) -> None:
    held = ModelStore(trained.models_dir).get(1)
    folder = Path(shutil.copytree(held.path, tmp_path / "1"))
    (folder / "assessment.json").unlink()
    version = ModelVersion(1, folder, held.metadata)
    assert Assessments().get(version) == assess_version(held)
    (folder / "replay.npz").unlink()
    assert Assessments().get(ModelVersion(1, folder, held.metadata)) == {}


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("n", [12, 400])
def test_curves_match_scikit_learn(classes: int, n: int) -> None:
    rng = np.random.default_rng(n)
    probabilities = rng.dirichlet(np.ones(classes), n).round(1)  # many equal scores
    labels = rng.integers(0, classes, n)
    for class_id in np.unique(labels).tolist():
        positive, scores = labels == class_id, probabilities[:, class_id]
        false_rate, true_rate, _ = roc_curve(positive, scores, drop_intermediate=False)
        curve = curves.roc(probabilities, labels, class_id)
        assert curve["auc"] == pytest.approx(roc_auc_score(positive, scores))
        assert points(curve) <= {*zip(false_rate.round(5), true_rate.round(5), strict=True)}
        precision, recall, _ = precision_recall_curve(positive, scores)
        curve = curves.precision_recall(probabilities, labels, class_id)
        assert curve["average_precision"] == pytest.approx(average_precision_score(positive, scores))
        assert points(curve) <= {*zip(recall.round(5), precision.round(5), strict=True)}


def points(curve: dict[str, Any]) -> set[tuple[float, float]]:
    """The points of a curve, at least its two ends."""
    found = {(x, y) for x, y in curve["points"]}
    assert len(found) >= 2
    return found


def test_every_chart_has_a_table_whose_rows_have_its_columns() -> None:
    hours = [{"hour": "2026-01-01T10:00:00+00:00", "by_verdict": {"cat": 3, "unsure": 1}}]
    versions = [{"version": 1, "accuracy": 0.9, "accuracy_ci": [0.8, 0.95], "n": 10, "created_at": "2026"}]
    recent = {"recent": {"counts": [0] * 19 + [4]}}
    figures = made_figures(hours=hours, versions=versions, confidence=recent, dataset={"retrain_cats": 2})
    for table in fill(figures):
        assert table.rows, table.name
        assert all(table.columns.keys() <= row.keys() for row in table.rows), table.name
    shown = by_name(figures)
    assert [row["pictures"] for row in shown["dataset"].rows] == [30, 10, 5, 5, 2, 0]
    assert [row["share"] for row in shown["balance"].rows] == [0.75, 0.25, 0.5, 0.5]
    assert {row["verdict"] for row in shown["activity"].rows} == {"Cat", "unsure"}
    for kind in ("test images", "last 24 hours"):
        assert sum(row["share"] for row in shown["drift"].rows if row["answers"] == kind) == pytest.approx(1)
    assert sum(row["pictures"] for row in shown["confusion"].rows) == 400


def test_without_figures_every_table_is_empty_and_says_what_to_do() -> None:
    for table in fill(Figures.of_version({"classes": ["cats", "dogs"]}, None)):
        assert table.rows == (), table.name
        assert table.empty.endswith(".")
        assert table.as_csv().count("\n") == 1


def test_rows_as_csv_and_for_people() -> None:
    def find(_: Figures) -> list[Row]:
        return [{"class": '=HYPERLINK("x")', "share": 0.25, "n": 1234}, {"class": "cats, big", "share": None, "n": -1}]

    columns = {"class": "Class", "share": "Share", "n": "Pictures"}
    chart = Chart("x", "X", "", columns, "", {}, find, in_percent=("share",)).fill(Figures(()))
    rows = list(csv.reader(io.StringIO(chart.as_csv())))
    assert rows == [["Class", "Share", "Pictures"], ['\'=HYPERLINK("x")', "0.25", "1234"], ["cats, big", "", "-1"]]
    assert chart.written(10) == [['=HYPERLINK("x")', "25.0 %", "1,234"], ["cats, big", "–", "-1"]]
    assert len(chart.written(1)) == 1
