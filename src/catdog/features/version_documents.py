"""Schemas of the JSON documents of versions and backbones, which may come from anywhere.

They describe the fields that are read. Types are strict: a number in quotes isn't a number.
"""

import os
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from catdog.data.labels import probability_key
from catdog.storage.files import is_plain_name

MOST_CLASSES: Final = 10_000
LONGEST_PATH: Final = 2000
"""In characters. Two joined paths stay under Linux's limit of 4,096 bytes if each character is one byte."""

HEAD: Final = "head.npz"
NOVELTY: Final = "novelty.npz"
NEEDED: Final = {HEAD, NOVELTY}
"""Files without which a version can't predict."""


def _plain(name: str) -> str:
    if not is_plain_name(name) or not name.strip():
        raise ValueError("must be a file or folder name without a path")
    return name


def is_path(text: str) -> bool:
    """Return whether the system accepts a text as a path."""
    if "\0" in text or len(text) > LONGEST_PATH:
        return False
    # A character takes up to 4 bytes, so short paths need no closer look.
    return len(text) < 64 or max(len(os.fsencode(part)) for part in text.split("/")) <= 255


def _path(text: str) -> str:
    if not is_path(text):
        raise ValueError("must be a path")
    return text


def _encodable(text: str) -> str:
    text.encode()  # rejects lone surrogates, which JSON allows
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


class Document(BaseModel):
    """A JSON object; fields that are not described are allowed."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    never_null: ClassVar[frozenset[str]] = frozenset()
    """Fields that may be missing but not null."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_null(cls, document: Any) -> Any:
        if isinstance(document, dict) and (null := [n for n in sorted(cls.never_null) if document.get(n, 0) is None]):
            raise ValueError(f"{null[0]} must not be null")
        return document


class ClassMetrics(Document):
    """Metrics of one class."""

    precision: Share
    recall: Share
    f1_score: Share
    support: Count


class MetricsDocument(Document):
    """A version's metrics on its test images."""

    never_null = frozenset({"accuracy_ci", "coverage"})

    n: Count
    accuracy: Share
    accuracy_ci: Annotated[list[Share], Field(min_length=2, max_length=2)] | None = None
    precision: Share | None = None
    recall: Share | None = None
    f1_score: Share | None = None
    per_class: dict[Text, ClassMetrics] = {}
    loss: Measured | None = None
    brier: Measured | None = None
    ece: Measured | None = None
    roc_auc: Share | None = None
    confusion_matrix: list[list[Count]] = []
    coverage: Share | None = None
    selective_accuracy: Share | None = None


class DataDocument(Document):
    """What a version was trained on."""

    name: Text | None = None
    root: PathText | None = None
    digest: Text | None = None
    counts: dict[Text, dict[Text, Count]] = {}


class VersionDocument(Document):
    """`metadata.json` of a version."""

    never_null = frozenset({"version", "created_at", "metrics", "data", "temperature", "precision"})

    format: int
    classes: Annotated[list[Name], Field(min_length=2, max_length=MOST_CLASSES)]
    backbone: Name
    checksums: dict[Name, Sha256]
    version: Annotated[int, Field(ge=1)] | None = None
    created_at: Text | None = None
    metrics: MetricsDocument | None = None
    data: DataDocument | None = None
    history: list[dict[Text, float | None]] = []
    parameters: dict[Text, Any] = {}
    images: dict[Text, Any] = {}
    temperature: Annotated[float, Field(gt=0, le=1e6)] | None = None
    precision: Text | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "VersionDocument":
        keys = {probability_key(name) for name in self.classes}
        if len(keys) < len(self.classes):
            raise ValueError("two classes have the same name")
        if not self.checksums.keys() >= NEEDED:
            raise ValueError("checksums of the head and the novelty reference are missing")
        measured, size = self.metrics or MetricsDocument(n=0, accuracy=0), len(self.classes)
        matrix = measured.confusion_matrix
        if matrix and [len(row) for row in matrix] != [size] * size:
            raise ValueError("the confusion matrix must have one row and one column per class")
        if measured.per_class and measured.per_class.keys() != keys:
            raise ValueError("per_class must have the metrics of each class")
        return self


class RateDocument(Document):
    """Precision or recall of a class, with its interval."""

    class_: Annotated[int, Field(alias="class", ge=0)]
    measure: Text
    value: Share
    low: Share
    high: Share


class BinDocument(Document):
    """A bin of confidence."""

    from_: Annotated[Share, Field(alias="from")]
    to: Share
    n: Annotated[int, Field(ge=1, le=10**9)]
    confidence: Share
    accuracy: Share
    low: Share
    high: Share


class CurveDocument(Document):
    """A ROC or precision-recall curve."""

    points: list[Annotated[list[Share], Field(min_length=2, max_length=2)]]
    auc: Share | None = None
    average_precision: Share | None = None


class AnswersDocument(Document):
    """Right and wrong predictions by confidence."""

    right: list[Count]
    wrong: list[Count]


class ExampleDocument(Document):
    """A test image and what was predicted for it."""

    sha256: Sha256
    path: PathText
    true: Annotated[int, Field(ge=0)]
    answered: Annotated[int, Field(ge=0)]
    probabilities: list[Share]


class AssessmentDocument(Document):
    """`assessment.json` of a version."""

    n: Count
    rates: list[RateDocument] = []
    roc: list[CurveDocument | None] = []
    precision_recall: list[CurveDocument | None] = []
    reliability: list[BinDocument] = []
    confidence: AnswersDocument | None = None
    examples: list[ExampleDocument] = []

    def fits(self, classes: int) -> bool:
        """Return whether it fits this many classes."""
        numbers = [rate.class_ for rate in self.rates]
        numbers += [number for example in self.examples for number in (example.true, example.answered)]
        lengths = [len(example.probabilities) for example in self.examples]
        lengths += [len(curves) for curves in (self.roc, self.precision_recall) if curves]
        return max(numbers, default=0) < classes and set(lengths) <= {classes}


class BackboneDocument(Document):
    """`backbone.json` of a backbone."""

    id: Name
    image_size: Annotated[int, Field(ge=32, le=1024)]
    features: Annotated[int, Field(ge=1, le=16_384)]
    source: Text
    checksums: dict[Name, Sha256]
