"""Predictions as a CSV file."""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from catdog.text import for_spreadsheet


@contextmanager
def csv_writer(path: Path | None, keys: Sequence[str]) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Open a CSV file for predictions, with a probability column per class; without a path, rows are dropped."""
    if path is None:
        yield lambda _: None
        return
    columns = [
        "path",
        "class",
        "class_id",
        "confidence",
        *(f"probability_{k}" for k in keys),
        "verdict",
        "novelty",
        "model_version",
        "error",
    ]
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        yield lambda row: writer.writerow(
            {key: for_spreadsheet(value) for key, value in row.items()}
            | {f"probability_{key}": value for key, value in row.get("probabilities", {}).items()}
        )
