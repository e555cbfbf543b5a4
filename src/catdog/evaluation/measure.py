"""Measures a version on labelled images, with the server's predictor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from catdog.data.dataset import read_folder
from catdog.data.labels import display_name, match_all
from catdog.data.layout.reading import GUESSED, Layout
from catdog.data.manifest import Manifest
from catdog.data.split import Picture
from catdog.data.walking import find_pictures
from catdog.errors import DatasetError, PictureError
from catdog.evaluation.metrics import Labels, Probabilities, compute_metrics, coverage_metrics, roc_auc, wilson_interval
from catdog.prediction.predictor import Predictor
from catdog.settings import Settings
from catdog.text import counted, listed

MISTAKES_SHOWN: Final = 50


@dataclass(frozen=True)
class Mistake:
    """A misclassified image: the display names of its true and predicted class, and the confidence."""

    path: str
    true: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class OtherThings:
    """Results on `n` images that show none of the classes.

    Attributes:
        auroc: of novelty, against images of the classes.
        accepted_share: share that got a class.
        accepted_ci: its 95 % interval (Wilson).
        accepted: path and verdict of each image that got a class.
    """

    n: int
    auroc: float
    accepted_share: float
    accepted_ci: list[float]
    accepted: tuple[tuple[str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures in their public form, ready for JSON."""
        accepted = [{"path": path, "verdict": verdict} for path, verdict in self.accepted]
        return {**vars(self), "accepted": accepted}


@dataclass(frozen=True)
class Evaluation:
    """Results of a version on labelled images.

    Attributes:
        seen_in_training: number of images that the version was trained on, which bias the metrics.
        remarks: how the folders were read, and which classes have no images.
    """

    model_version: int
    classes: tuple[str, ...]
    metrics: dict[str, Any]
    mistakes: tuple[Mistake, ...]
    rejected: tuple[tuple[str, str], ...]
    seen_in_training: int
    other: OtherThings | None = None
    remarks: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the evaluation in its public form, ready for JSON."""
        return {
            "n": self.metrics["n"],
            "model_version": self.model_version,
            "metrics": self.metrics,
            "mistakes": [vars(mistake) for mistake in self.mistakes],
            "rejected": [{"path": path, "error": reason} for path, reason in self.rejected],
            "seen_in_training": self.seen_in_training,
            "remarks": list(self.remarks),
            **({"other": self.other.as_dict()} if self.other else {}),
        }


def surest_mistakes(
    probabilities: Probabilities, labels: Labels, paths: Sequence[str], classes: Sequence[str]
) -> tuple[Mistake, ...]:
    """List at most 50 wrong predictions, most confident first."""
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES_SHOWN].tolist()
    names = [display_name(name) for name in classes]
    return tuple(Mistake(paths[i], names[labels[i]], names[predicted[i]], float(confidence[i])) for i in wrong)


def evaluate(
    predictor: Predictor,
    data: Path,
    settings: Settings,
    *,
    layout: Layout = GUESSED,
    other: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Evaluation, Probabilities, Labels]:
    """Measure a version on a labelled folder: on its test split, or on all images if it has none.

    Args:
        predictor: the version to measure.
        data: the folder.
        settings: the settings.
        layout: how to read the folders.
        other: folder of images that show none of the classes, to measure how many get a class anyway.
        on_progress: called with the number of images done and their total.

    Returns:
        The evaluation, with its probabilities `(N, C)` and labels `(N,)`.

    Raises:
        DatasetError: no usable images, or classes that the version doesn't have.
    """
    manifest = read_folder(data, settings, layout=layout).manifest
    labels_of = _match_classes(manifest, predictor.version.classes)
    images = manifest.select("test") or list(manifest.pictures)
    if not images:
        raise DatasetError(
            f"No usable images in class folders in {manifest.root}; "
            f"{counted(len(manifest.rejected), 'file')} can't be used."
        )
    answers, kept = [], []
    rejected = [(str(item.path), item.reason) for item in manifest.rejected]
    stream = predictor.predict_stream(image.path for image in images)
    for done, (image, outcome) in enumerate(zip(images, stream, strict=True), 1):
        if isinstance(outcome, PictureError):
            rejected.append((str(image.path), str(outcome)))
        else:
            answers.append(outcome)
            kept.append(image)
        if on_progress:
            on_progress(done, len(images))
    classes = predictor.version.classes
    probabilities = np.array([list(answer.probabilities.values()) for answer in answers], np.float32)
    truth = np.array([labels_of[image.label] for image in kept], np.int64)
    answered = np.array([answer.is_answered for answer in answers], bool)
    metrics = compute_metrics(probabilities, truth, classes)
    metrics |= coverage_metrics(answered, probabilities.argmax(axis=1) == truth)
    evaluation = Evaluation(
        predictor.version.number,
        classes,
        metrics,
        surest_mistakes(probabilities, truth, [str(p.path) for p in kept], classes),
        tuple(rejected),
        _count_seen(predictor, kept),
        measure_other(predictor, other, [answer.novelty for answer in answers]) if other else None,
        (*manifest.remarks, *_not_measured(truth, classes)),
    )
    return evaluation, probabilities, truth


def measure_other(predictor: Predictor, folder: Path, familiar: Sequence[float]) -> OtherThings:
    """Measure how well images that show none of the classes are recognised.

    Args:
        predictor: the version to measure.
        folder: their folder, searched recursively; unusable files are skipped.
        familiar: novelty of images of the classes.

    Raises:
        DatasetError: no usable image.
    """
    found = list(find_pictures([folder], recursive=True))
    pairs = zip(found, predictor.predict_stream(found), strict=True)
    answers = [(path, answer) for path, answer in pairs if not isinstance(answer, PictureError)]
    if not answers:
        raise DatasetError(f"No usable images of other objects in {folder}.")
    novelty = [answer.novelty for _, answer in answers]
    accepted = [(str(path), answer.verdict) for path, answer in answers if answer.is_answered]
    is_other = np.repeat([False, True], [len(familiar), len(novelty)])
    return OtherThings(
        len(answers),
        roc_auc(is_other, np.array([*familiar, *novelty])),
        len(accepted) / len(answers),
        wilson_interval(len(accepted), len(answers)),
        tuple(accepted),
    )


def _match_classes(manifest: Manifest, classes: Sequence[str]) -> list[int]:
    matched = match_all(manifest.classes, classes)
    unknown = [name for name, found in zip(manifest.classes, matched, strict=True) if found is None]
    if unknown:
        raise DatasetError(
            f"{manifest.root} has classes that the model doesn't know: {listed(unknown)}. It knows {listed(classes)}. "
            "`catdog data check` shows how the folders are read; use --layout and --split-names to change that."
        )
    return [found for found in matched if found is not None]


def _not_measured(labels: Labels, classes: Sequence[str]) -> list[str]:
    present = set(labels.tolist())
    without = [name for i, name in enumerate(classes) if i not in present]
    return [f"Not measured, as there are no images: {listed(without)}."] if without else []


def _count_seen(predictor: Predictor, images: Sequence[Picture]) -> int:
    seen = predictor.version.training_hashes()
    return sum(image.sha256 in seen for image in images)
