import csv
from pathlib import Path

from catdog.cli.csv_answers import csv_writer


def test_no_cell_of_the_answers_is_a_formula_and_figures_stay_figures(tmp_path: Path) -> None:
    row = {"path": "=cmd|'/c calc'!A0.jpg", "class": "-cats", "confidence": 0.5, "novelty": -0.5, "verdict": "@x"}
    with csv_writer(tmp_path / "answers.csv", ["=1"]) as write:
        write({**row, "probabilities": {"=1": 0.25}})
    with (tmp_path / "answers.csv").open(newline="") as file:
        (read,) = csv.DictReader(file)
    assert (read["path"], read["class"], read["verdict"]) == ("'=cmd|'/c calc'!A0.jpg", "'-cats", "'@x")
    assert (read["confidence"], read["novelty"], read["probability_=1"]) == ("0.5", "-0.5", "0.25")
