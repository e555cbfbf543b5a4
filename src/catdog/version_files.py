"""What the documents of a version and a backbone, a manifest and a replay memory must hold, wherever they were made.

Only what is read is described. Types are strict: a number in quotes is no number. What is checked here needs no check
where it's used.
"""

import csv
import os
import re
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from catdog.arrays import read_arrays
from catdog.errors import VersionCorruptError
from catdog.files import is_plain_name, read_document, require_within
from catdog.labels import probability_key

MOST_CLASSES: Final = 10_000
LARGEST_MANIFEST: Final = 256 * 2**20
"""Bytes of a manifest: about 1.5 million images."""
LONGEST_PATH: Final = 2000
"""Characters: two of them together are under the 4,096 bytes of Linux, at one byte each."""

MANIFEST: Final = "manifest.csv"
REPLAY: Final = "replay.npz"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SPLITS: Final = ("train", "validation", "test")
_REPLAY_ARRAYS: Final = {"features": 2, "labels": 1, "sha256": 1, "split": 1}


def _plain(name: str) -> str:
    if not is_plain_name(name) or not name.strip():
        raise ValueError("a name of a file or folder is needed, without a path")
    return name


def _is_path(text: str) -> bool:
    """Tell whether the system takes a text as a path; what it doesn't take fails wherever the path is used."""
    if "\0" in text or len(text) > LONGEST_PATH:
        return False
    # A character takes up to 4 bytes: most paths need no closer look.
    return len(text) < 64 or max(len(os.fsencode(part)) for part in text.split("/")) <= 255


def _path(text: str) -> str:
    if not _is_path(text):
        raise ValueError("a path is needed")
    return text


def _encodable(text: str) -> str:
    text.encode()  # half a surrogate pair can be written in JSON, and nowhere else
    return text


Name = Annotated[
    str, StringConstraints(min_length=1, max_length=255), AfterValidator(_encodable), AfterValidator(_plain)
]
Text = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(_encodable)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
PathText = Annotated[str, AfterValidator(_encodable), AfterValidator(_path)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=10**9)]
Measured = Annotated[float, Field(ge=0, le=1e9)]


class _Document(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    never_null: ClassVar[frozenset[str]] = frozenset()
    """Fields that may be missing, and hold something where they are there."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_null(cls, document: Any) -> Any:
        if isinstance(document, dict) and (null := [n for n in sorted(cls.never_null) if document.get(n, 0) is None]):
            raise ValueError(f"{null[0]} must not be null")
        return document


class _OfAClass(_Document):
    precision: Share
    recall: Share
    f1_score: Share
    support: Count


class _Metrics(_Document):
    never_null = frozenset({"accuracy_ci", "coverage"})

    n: Count
    accuracy: Share
    accuracy_ci: Annotated[list[Share], Field(min_length=2, max_length=2)] | None = None
    precision: Share | None = None
    recall: Share | None = None
    f1_score: Share | None = None
    per_class: dict[Text, _OfAClass] = {}
    loss: Measured | None = None
    brier: Measured | None = None
    ece: Measured | None = None
    roc_auc: Share | None = None
    confusion_matrix: list[list[Count]] = []
    coverage: Share | None = None
    selective_accuracy: Share | None = None


class _Data(_Document):
    name: Text | None = None
    root: PathText | None = None
    digest: Text | None = None
    counts: dict[Text, dict[Text, Count]] = {}


class _Metadata(_Document):
    never_null = frozenset({"version", "created_at", "metrics", "data", "temperature", "precision"})

    format: int
    classes: Annotated[list[Name], Field(min_length=2, max_length=MOST_CLASSES)]
    backbone: Name
    checksums: dict[Name, Sha256]
    version: Annotated[int, Field(ge=1)] | None = None
    created_at: Text | None = None
    metrics: _Metrics | None = None
    data: _Data | None = None
    history: list[dict[Text, float | None]] = []
    parameters: dict[Text, Any] = {}
    images: dict[Text, Any] = {}
    temperature: Annotated[float, Field(gt=0, le=1e6)] | None = None
    precision: Text | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "_Metadata":
        keys = {probability_key(name) for name in self.classes}
        if len(keys) < len(self.classes):
            raise ValueError("two classes have the same name")
        if not {"head.npz", "novelty.npz"} <= self.checksums.keys():
            raise ValueError("a head and a novelty reference are needed")
        measured, size = self.metrics or _Metrics(n=0, accuracy=0), len(self.classes)
        matrix = measured.confusion_matrix
        if matrix and [len(row) for row in matrix] != [size] * size:
            raise ValueError("the confusion matrix must have a row and a column for each class")
        if measured.per_class and measured.per_class.keys() != keys:
            raise ValueError("per_class must have the measures of each class")
        return self


class _Rate(_Document):
    class_: Annotated[int, Field(alias="class", ge=0)]
    measure: Text
    value: Share
    low: Share
    high: Share


class _Bin(_Document):
    from_: Annotated[Share, Field(alias="from")]
    to: Share
    n: Annotated[int, Field(ge=1, le=10**9)]
    confidence: Share
    accuracy: Share
    low: Share
    high: Share


class _Curve(_Document):
    points: list[Annotated[list[Share], Field(min_length=2, max_length=2)]]
    auc: Share | None = None
    average_precision: Share | None = None


class _Answers(_Document):
    right: list[Count]
    wrong: list[Count]


class _Example(_Document):
    sha256: Sha256
    path: PathText
    true: Annotated[int, Field(ge=0)]
    answered: Annotated[int, Field(ge=0)]
    probabilities: list[Share]


class _Assessment(_Document):
    n: Count
    rates: list[_Rate] = []
    roc: list[_Curve | None] = []
    precision_recall: list[_Curve | None] = []
    reliability: list[_Bin] = []
    confidence: _Answers | None = None
    examples: list[_Example] = []

    def fits(self, classes: int) -> bool:
        """Tell whether it is about so many classes."""
        numbers = [rate.class_ for rate in self.rates]
        numbers += [number for example in self.examples for number in (example.true, example.answered)]
        lengths = [len(example.probabilities) for example in self.examples]
        lengths += [len(curves) for curves in (self.roc, self.precision_recall) if curves]
        return max(numbers, default=0) < classes and set(lengths) <= {classes}


class _Backbone(_Document):
    id: Name
    image_size: Annotated[int, Field(ge=32, le=1024)]
    features: Annotated[int, Field(ge=1, le=16_384)]
    source: Text
    checksums: dict[Name, Sha256]


def read_version_document(folder: Path) -> dict[str, Any]:
    """Read `metadata.json` of a version's folder; a wrong format is for the caller to tell.

    Raises:
        VersionCorruptError: missing, unreadable, or without what a version needs.
    """
    return _read(folder, "metadata.json", "version", _Metadata)


def read_backbone_document(folder: Path) -> dict[str, Any]:
    """Read `backbone.json` of a backbone's folder.

    Raises:
        VersionCorruptError: missing, unreadable, or without what a backbone needs.
    """
    document = _read(folder, "backbone.json", "backbone", _Backbone)
    return {name: document[name] for name in _Backbone.model_fields}


def read_assessment_document(folder: Path, name: str, classes: int) -> dict[str, Any] | None:
    """Read the assessment of a version of so many classes; None if there is none, or none that can be used."""
    try:
        document = read_document(folder, name)
        return document if _Assessment.model_validate(document).fits(classes) else None
    except (OSError, ValueError, RuntimeError):
        return None


def read_manifest(folder: Path, classes: Container[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of a version's manifest: `sha256`, `class`, `split` and `path`. Without a manifest, none.

    Raises:
        VersionCorruptError: it cannot be read, or a row is not as one must be.
    """
    path = folder / MANIFEST
    if not path.exists() and not path.is_symlink():
        return
    if require_within(folder, MANIFEST).stat().st_size > LARGEST_MANIFEST:
        raise VersionCorruptError(f"The manifest is too large; {LARGEST_MANIFEST:,} bytes are allowed ({path}).")
    try:
        # A file's name may be any bytes.
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            reader = csv.reader(file)
            names = next(reader, [])
            for number, cells in enumerate(reader, start=2):
                row = dict(zip(names, cells, strict=False))
                if cells and not _is_row(row, classes):
                    raise VersionCorruptError(
                        f"Line {number} of the manifest must have a SHA-256, a class of the version, a split and a "
                        f"path ({path})."
                    )
                if cells:
                    yield row
    except (OSError, csv.Error, ValueError) as error:
        raise VersionCorruptError(f"The manifest cannot be read ({path}).") from error


def _is_row(row: Mapping[str, str], classes: Container[str]) -> bool:
    path = row.get("path")
    return (
        row.get("class") in classes
        and row.get("split") in _SPLITS
        and _SHA256.fullmatch(row.get("sha256", "")) is not None
        and path is not None
        and _is_path(path)
    )


def read_replay(path: Path) -> dict[str, Any]:
    """Read the arrays of a replay memory: features `(M, D)`, labels, hashes and splits `(M,)`.

    Raises:
        VersionCorruptError: not such a file, or its arrays do not fit together.
    """
    arrays = read_arrays(path, _REPLAY_ARRAYS, "replay memory")
    kinds = "".join(array.dtype.kind for array in arrays.values())
    lengths = {len(array) for array in arrays.values()}
    is_in_order = kinds in ("fiUU", "fuUU") and set(arrays["split"].tolist()) <= set(_SPLITS)
    if len(lengths) != 1 or not is_in_order or arrays["labels"].min(initial=0) < 0:
        raise VersionCorruptError(f"The replay memory's arrays do not fit together. Received: {path}.")
    return arrays


def _read(folder: Path, name: str, what: str, shape: type[_Document]) -> dict[str, Any]:
    try:
        document = read_document(folder, name)
        shape.model_validate(document)
    except ValidationError as error:
        raise VersionCorruptError(f"The {what} cannot be read: {folder / name}, {_reason(error)}.") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise VersionCorruptError(f"The {what} cannot be read. Received: {folder / name} ({error}).") from error
    return document


def _reason(error: ValidationError) -> str:
    """Name the first thing that is wrong, without what the file holds in its place."""
    first: Mapping[str, Any] = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(map(str, first["loc"]))[:100]
    said = f"{place}: {first['msg']}" if place else str(first["msg"])
    return "".join(c for c in said if c.isprintable())[:300].removesuffix(".")
