"""How good a version is on labelled images, measured through the path that serves."""

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
    """An image that was answered wrongly: its true and its given class, by shown name, and the confidence."""

    path: str
    true: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class OtherThings:
    """How images of other things fared: N of them, AUROC of novelty against images of the classes, share accepted.

    `accepted_ci` is Wilson's 95 % interval; `accepted` lists the path and verdict of each that got a class.
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
    """What measuring a version on labelled images gave.

    `seen_in_training` counts images that the version was fitted on: they say nothing about new ones. `remarks` tell
    how the folders were read, and which classes have no images.
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
    """List the wrong answers, the surest first, at most 50."""
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
    """Measure a version on a labelled folder, through the path that serves.

    Of a folder with a test split, that is measured; of any other, all of it. `layout` is what a person says about the
    folders. `other` is a folder of images that show
    none of the classes: given that, the evaluation says how many of them were answered all the same.

    Returns:
        The evaluation, and what it was computed from: probabilities `(N, C)` and labels `(N,)`.

    Raises:
        DatasetError: no usable images, or of classes that the version doesn't know.
    """
    manifest = read_folder(data, settings, layout=layout).manifest
    labels_of = _match_classes(manifest, predictor.version.classes)
    pictures = manifest.select("test") or list(manifest.pictures)
    if not pictures:
        raise DatasetError(
            f"At least one usable picture in a class folder is needed. Received: {manifest.root}, with "
            f"{counted(len(manifest.rejected), 'file')} that cannot be used."
        )
    answers, kept = [], []
    rejected = [(str(item.path), item.reason) for item in manifest.rejected]
    stream = predictor.predict_stream(picture.path for picture in pictures)
    for done, (picture, outcome) in enumerate(zip(pictures, stream, strict=True), 1):
        if isinstance(outcome, PictureError):
            rejected.append((str(picture.path), str(outcome)))
        else:
            answers.append(outcome)
            kept.append(picture)
        if on_progress:
            on_progress(done, len(pictures))
    classes = predictor.version.classes
    probabilities = np.array([list(answer.probabilities.values()) for answer in answers], np.float32)
    truth = np.array([labels_of[picture.label] for picture in kept], np.int64)
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
    """Measure how well images of other things are told apart from images of the classes.

    Args:
        predictor: the version to measure.
        folder: images that show none of the classes, in it or in folders in it; what can't be read is passed over.
        familiar: novelty of images of the classes.

    Raises:
        DatasetError: no image that can be read.
    """
    found = list(find_pictures([folder], recursive=True))
    pairs = zip(found, predictor.predict_stream(found), strict=True)
    answers = [(path, answer) for path, answer in pairs if not isinstance(answer, PictureError)]
    if not answers:
        raise DatasetError(f"At least one picture of other things is needed. Received: {folder}, with none usable.")
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
            f"The class folders must be among {listed(classes)}, which the model knows. "
            f"Received: {listed(unknown)}, in {manifest.root}. `catdog data check` shows how the folders are read; "
            "--layout and --split-names say how to read them."
        )
    return [found for found in matched if found is not None]


def _not_measured(labels: Labels, classes: Sequence[str]) -> list[str]:
    present = set(labels.tolist())
    without = [name for i, name in enumerate(classes) if i not in present]
    return [f"Not measured, since there are no images of them: {listed(without)}."] if without else []


def _count_seen(predictor: Predictor, pictures: Sequence[Picture]) -> int:
    seen = predictor.version.training_hashes()
    return sum(picture.sha256 in seen for picture in pictures)
