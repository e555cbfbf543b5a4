"""The main job: scan, embed, fit, evaluate, save, promote."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from catdog.data import dataset
from catdog.data.images.pixels import IMAGE_SIZE, limits_of
from catdog.data.importing import import_pictures
from catdog.data.layout.reading import GUESSED, Layout
from catdog.data.layout.split_words import SPLITS
from catdog.data.layout.vocabulary import Split
from catdog.data.manifest import Manifest, Rejected
from catdog.errors import CatdogError
from catdog.evaluation.gate import decide
from catdog.evaluation.measure import Mistake
from catdog.features.backbone import Backbone
from catdog.features.embedding import Embedded, FeatureCache, embed
from catdog.model.finetune.options import FineTuneOptions
from catdog.registry.starter import STARTER
from catdog.registry.store import ModelStore, ModelVersion
from catdog.settings import Settings
from catdog.storage.database import open_database
from catdog.training.backbones import resolve_backbone, tune_backbone
from catdog.training.fit import Fitted, fit, measure
from catdog.training.save import Trained, save_version, track_version

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, in all); stages are import, fine_tune, embed, fit and evaluate."""


@dataclass(frozen=True)
class TrainOptions:
    """What `catdog train` can be told.

    Attributes:
        backbone: `starter`, `imagenet`, the path of a weights file, or the number of a version whose backbone is used.
        image_size: side in pixels, a multiple of 32, for `imagenet` and weights files.
        fine_tune: how to tune the backbone end to end first; None leaves it as it is.
        views: views of each training image, at least 1: the plain one and augmented ones.
        epochs: most epochs.
        batch: features per step.
        seed: of shuffling, dropout and views.
        limit: take at most so many training images per class; None for all.
        promote: True promotes whatever comes out, False never, None if not significantly worse than the champion and
            `limit` isn't given.
        layout: how to read the folders, if they shouldn't be guessed.
    """

    backbone: str = STARTER
    image_size: int = IMAGE_SIZE
    fine_tune: FineTuneOptions | None = None
    views: int = 4
    epochs: int = 30
    batch: int = 256
    seed: int = 42
    limit: int | None = None
    promote: bool | None = None
    layout: Layout = GUESSED

    @property
    def is_a_try(self) -> bool:
        """Whether it is trained on part of the images, and nobody said that it is to be promoted."""
        return self.limit is not None and self.promote is None

    @property
    def wanted(self) -> bool | None:
        """Whether to promote what comes out; None leaves it to the comparison with the champion."""
        return False if self.is_a_try else self.promote

    def parameters(self) -> dict[str, Any]:
        """Return what is kept with the version, to make it again."""
        kept = {name: getattr(self, name) for name in ("views", "epochs", "batch", "seed", "limit")}
        return {**kept, "fine_tune": asdict(self.fine_tune) if self.fine_tune else None}


@dataclass(frozen=True)
class TrainingResult:
    """What a training gave: the version, whether and why it was promoted, what it was made of, seconds a stage."""

    version: ModelVersion
    promoted: bool
    reason: str
    trained: Trained
    seconds: dict[str, float]

    @property
    def images(self) -> dict[str, int]:
        """Count images: `train` (of which `validation`), `test`, `rejected`, `duplicates`."""
        return self.trained.images()

    @property
    def embedded(self) -> int:
        """Count the images that went through the backbone; the features of the others were cached."""
        return sum(part.computed for part in self.trained.embedded.values())

    @property
    def metrics(self) -> dict[str, Any]:
        """Return the metrics on the test images."""
        return self.trained.measured.metrics

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """List the wrong answers on test images, the surest first."""
        return self.trained.measured.mistakes

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """List the files that weren't used."""
        return self.trained.manifest.rejected

    def as_dict(self) -> dict[str, Any]:
        """Return the result in its public form, ready for JSON."""
        return {
            "version": self.version.number,
            "promoted": self.promoted,
            "reason": self.reason,
            "images": self.images,
            "embedded": self.embedded,
            "seconds": self.seconds,
            "metrics": self.metrics,
            "mistakes": [vars(mistake) for mistake in self.mistakes],
            "rejected": [{"path": str(item.path), "error": item.reason} for item in self.rejected],
            "remarks": list(self.trained.manifest.remarks),
        }


@dataclass
class _Clock:
    seconds: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start

    def rounded(self) -> dict[str, float]:
        total = time.perf_counter() - self.started
        return {stage: round(spent, 3) for stage, spent in {**self.seconds, "total": total}.items()}


def train(
    data: Path,
    settings: Settings,
    options: TrainOptions = TrainOptions(),
    on_progress: Progress | None = None,
) -> TrainingResult:
    """Train on a folder or archive of photographs, and save what comes out as a new version.

    A folder is read where it lies; an archive is imported into `data/` first, and the whole of that is trained on.

    Raises:
        DatasetError: not enough usable images; nothing was written.
        BackboneError, DownloadError: the backbone can't be had.
        StoreError: the version can't be saved.
    """
    _check(options)
    report = on_progress or _silence
    clock = _Clock()
    with clock.time("import"):
        scanned, folder = _import(data, settings, options, report)
        engine = open_database(settings)
        dataset.remember(engine, scanned.read)
        manifest = _limited(scanned.manifest, options.limit)
    if options.fine_tune is not None:
        with clock.time("fine_tune"):
            folder = tune_backbone(folder, manifest, settings, options.fine_tune, partial(report, "fine_tune"))
    with clock.time("embed"):
        backbone = Backbone(folder, precision=settings.precision, threads=settings.resolved_threads)
        embedded = _embed(manifest, backbone, engine, settings, options.views, report)
    with clock.time("fit"):
        fitted = _fit(embedded, len(manifest.classes), options, report)
    with clock.time("evaluate"):
        test = embedded["test"]
        measured = measure(fitted, test, manifest.classes, settings.unsure_below)
        promote, reason = decide(
            manifest.classes, test, measured.probabilities, engine, settings, wanted=options.wanted, backbone=backbone
        )
        report("evaluate", 1, 1)
    engine.dispose()
    trained = Trained(manifest, embedded, backbone.info, backbone.precision, fitted, measured)
    store = ModelStore(settings.models_dir)
    version = save_version(trained, options.parameters(), store)
    if options.is_a_try:
        reason = f"trained on part of the pictures (--limit); to use it: catdog models promote {version.number}"
    if promote:
        store.promote(version.number, reason, backbone=backbone)
    result = TrainingResult(version, promote, reason, trained, clock.rounded())
    track_version(settings, version, result.seconds, promote)
    return result


def _silence(_stage: str, _done: int, _total: int) -> None:
    """Report progress to nobody."""


def _check(options: TrainOptions) -> None:
    for name in ("views", "epochs", "batch", "limit"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise CatdogError(f"--{name} must be at least 1. Received: {value}.")


def _import(data: Path, settings: Settings, options: TrainOptions, report: Progress) -> tuple[dataset.ScanResult, Path]:
    """Read the images and find the backbone. An archive enters `data/` only if both can be used."""
    folder: Path | None = None

    def accept(manifest: Manifest) -> None:
        nonlocal folder
        dataset.divide(manifest, settings)
        folder = resolve_backbone(options.backbone, settings, options.image_size)

    on_progress = partial(report, "import")
    if data.is_file():
        imported = import_pictures(data, settings, layout=options.layout, on_progress=on_progress, accept=accept)
        result = dataset.scan(settings.data_dir, settings, on_progress=on_progress)
        remarks = tuple(dict.fromkeys((*imported.remarks, *result.manifest.remarks)))
        scanned = replace(result, manifest=replace(result.manifest, remarks=remarks))
    else:
        scanned = dataset.scan(data, settings, layout=options.layout, on_progress=on_progress)
    return scanned, folder or resolve_backbone(options.backbone, settings, options.image_size)


def _limited(manifest: Manifest, limit: int | None) -> Manifest:
    """Keep the first `limit` training images of each class, by hash, so that the choice doesn't follow names."""
    if limit is None:
        return manifest
    training = sorted(manifest.select("train"), key=lambda picture: picture.sha256)
    by_class = [[p.sha256 for p in training if p.label == label][:limit] for label in range(len(manifest.classes))]
    chosen = {sha256 for hashes in by_class for sha256 in hashes}
    kept = tuple(p for p in manifest.pictures if p.split != "train" or p.sha256 in chosen)
    return replace(manifest, pictures=kept)


def _embed(
    manifest: Manifest, backbone: Backbone, engine: Engine, settings: Settings, views: int, report: Progress
) -> dict[Split, Embedded]:
    cache = FeatureCache(engine, backbone.info.id)
    total, before = len(manifest.pictures), 0
    result: dict[Split, Embedded] = {}
    for split in SPLITS:
        pictures = manifest.select(split)
        offset = before
        result[split] = embed(
            pictures,
            backbone,
            cache,
            views=views if split == "train" else 1,
            threads=settings.resolved_threads,
            limits=limits_of(settings),
            on_progress=lambda done, _, offset=offset: report("embed", offset + done, total),  # type: ignore[misc]
        )
        before += len(pictures)
        report("embed", before, total)
    return result


def _fit(embedded: Mapping[Split, Embedded], classes: int, options: TrainOptions, report: Progress) -> Fitted:
    fitted = fit(
        embedded["train"],
        embedded["validation"],
        classes,
        epochs=options.epochs,
        batch_size=options.batch,
        seed=options.seed,
        on_epoch=lambda epoch: report("fit", epoch, options.epochs),
    )
    report("fit", options.epochs, options.epochs)  # early stopping may have left some out
    return fitted
