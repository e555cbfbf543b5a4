"""The training pipeline: scan, embed, fit, evaluate, save, promote."""

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
"""Called with (stage, done, total); stages are import, fine_tune, embed, fit and evaluate."""


@dataclass(frozen=True)
class TrainOptions:
    """Options of `catdog train`.

    Attributes:
        backbone: `starter`, `imagenet`, the path of a weights file, or the number of a version to take it from.
        image_size: side in pixels, a multiple of 32, for `imagenet` and weights files.
        fine_tune: how to fine-tune the backbone first; None for not at all.
        views: views of each training image, at least 1: the original and augmented ones.
        epochs: maximum epochs.
        batch: features per step.
        seed: of shuffling, dropout and views.
        limit: maximum training images per class; None for all.
        promote: True always promotes, False never, None if the version passes the gate and `limit` is None.
        layout: how to read the folders; guessed by default.
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
    def is_trial(self) -> bool:
        """Whether training uses part of the images, without an explicit choice about promotion."""
        return self.limit is not None and self.promote is None

    @property
    def wanted(self) -> bool | None:
        """Whether to promote the version; None leaves it to the gate."""
        return False if self.is_trial else self.promote

    def parameters(self) -> dict[str, Any]:
        """Return the parameters stored with the version, for reproducing it."""
        kept = {name: getattr(self, name) for name in ("views", "epochs", "batch", "seed", "limit")}
        return {**kept, "fine_tune": asdict(self.fine_tune) if self.fine_tune else None}


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training: the version, whether and why it was promoted, its parts, and seconds per stage."""

    version: ModelVersion
    promoted: bool
    reason: str
    trained: Trained
    seconds: dict[str, float]

    @property
    def images(self) -> dict[str, int]:
        """Number of images: `train` (including `validation`), `test`, `rejected`, `duplicates`."""
        return self.trained.images()

    @property
    def embedded(self) -> int:
        """Number of images that went through the backbone; features of the others were cached."""
        return sum(part.computed for part in self.trained.embedded.values())

    @property
    def metrics(self) -> dict[str, Any]:
        """Metrics on the test images."""
        return self.trained.measured.metrics

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """Wrong predictions on test images, most confident first."""
        return self.trained.measured.mistakes

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """Files that weren't used."""
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
    """Train on a folder or archive of images and save a new version.

    A folder is read in place. An archive is first imported into `data/`, and training uses all of `data/`.

    Raises:
        DatasetError: not enough usable images; nothing was written.
        BackboneError, DownloadError: the backbone isn't available.
        StoreError: the version can't be saved.
    """
    _check(options)
    report = on_progress or _ignore_progress
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
    if options.is_trial:
        reason = f"trained on part of the images (--limit); to use it, run `catdog models promote {version.number}`"
    if promote:
        store.promote(version.number, reason, backbone=backbone)
    result = TrainingResult(version, promote, reason, trained, clock.rounded())
    track_version(settings, version, result.seconds, promote)
    return result


def _ignore_progress(_stage: str, _done: int, _total: int) -> None:
    """Do nothing."""


def _check(options: TrainOptions) -> None:
    for name in ("views", "epochs", "batch", "limit"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise CatdogError(f"--{name} must be at least 1, not {value}.")


def _import(data: Path, settings: Settings, options: TrainOptions, report: Progress) -> tuple[dataset.ScanResult, Path]:
    """Read the images and find the backbone; an archive is only imported if both are usable."""
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
    """Keep the first `limit` training images of each class, by hash rather than by name."""
    if limit is None:
        return manifest
    training = sorted(manifest.select("train"), key=lambda image: image.sha256)
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
        images = manifest.select(split)
        offset = before
        result[split] = embed(
            images,
            backbone,
            cache,
            views=views if split == "train" else 1,
            threads=settings.resolved_threads,
            limits=limits_of(settings),
            on_progress=lambda done, _, offset=offset: report("embed", offset + done, total),  # type: ignore[misc]
        )
        before += len(images)
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
    report("fit", options.epochs, options.epochs)  # after early stopping too
    return fitted
