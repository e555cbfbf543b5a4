"""Saves a trained version with its metadata and report, and records the run."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from catdog.data.layout.vocabulary import Split
from catdog.data.manifest import Manifest
from catdog.evaluation import diagnostics
from catdog.evaluation.report import write_report
from catdog.features.backbone import BackboneInfo
from catdog.features.embedding import Embedded
from catdog.features.replay import Replay
from catdog.registry.store import ModelStore
from catdog.registry.version import ModelVersion, VersionContents
from catdog.settings import Settings
from catdog.training import tracking
from catdog.training.fit import Fitted, Measured


@dataclass(frozen=True)
class Trained:
    """The parts of a trained version: data, features by split, backbone and its precision, fit, measurements."""

    manifest: Manifest
    embedded: Mapping[Split, Embedded]
    backbone: BackboneInfo
    precision: str
    fitted: Fitted
    measured: Measured

    def images(self) -> dict[str, int]:
        """Count images; validation images are included in the training images, as they choose the epoch."""
        counts = {split: len(part.pictures) for split, part in self.embedded.items()}
        failed = sum(len(part.failed) for part in self.embedded.values())
        return {
            "train": counts["train"] + counts["validation"],
            "validation": counts["validation"],
            "test": counts["test"],
            "rejected": len(self.manifest.rejected) + failed,
            "duplicates": self.manifest.duplicates,
        }

    def assess(self) -> diagnostics.Assessment:
        """Return the assessment of the test predictions."""
        test, root = self.embedded["test"], self.manifest.root
        images = [(image.sha256, os.path.relpath(image.path, root)) for image in test.pictures]
        return diagnostics.assess(self.measured.probabilities, test.labels, images)


def save_version(
    trained: Trained,
    parameters: Mapping[str, Any],
    store: ModelStore,
    *,
    lineage: Mapping[str, Any] | None = None,
    replay: Replay | None = None,
    mark: str = "",
) -> ModelVersion:
    """Save a trained version, with its report.

    Args:
        trained: its parts.
        parameters: of the training.
        store: the model store.
        lineage: more metadata: the original version and the added images.
        replay: its replay memory; by default chosen from its data.
        mark: part of the temporary folder's name, to find what a killed process left.

    Raises:
        StoreError: writing failed.
    """
    metadata = {**_describe(trained, parameters), **(lineage or {})}
    memory = replay or Replay.choose(trained.embedded["train"], trained.embedded["test"])
    fitted = trained.fitted
    contents = VersionContents(
        fitted.head,
        fitted.novelty,
        fitted.network,
        trained.manifest,
        memory,
        trained.assess(),
        partial(_write_report, trained, metadata),
    )
    return store.save(metadata, contents.write, mark=mark)


def _write_report(trained: Trained, metadata: Mapping[str, Any], path: Path) -> None:
    write_report(
        path,
        title=f"Training on {trained.manifest.root.name}",
        classes=trained.manifest.classes,
        metrics=trained.measured.metrics,
        probabilities=trained.measured.probabilities,
        labels=trained.embedded["test"].labels,
        mistakes=trained.measured.mistakes,
        facts={name.capitalize(): metadata[name] for name in ("backbone", "parameters", "images")},
        made_from=metadata,
    )


def track_version(settings: Settings, version: ModelVersion, seconds: Mapping[str, float], promoted: bool) -> None:
    """Record the training of a version with MLflow, if enabled; failures are logged."""
    metadata = version.metadata
    tracking.record_run(
        settings,
        name=f"version {version.number}",
        parameters={**metadata["parameters"], "backbone": metadata["backbone"], "data": metadata["data"]["digest"]},
        metrics={
            **{name: value for name, value in metadata["metrics"].items() if isinstance(value, int | float)},
            **{f"seconds_{stage}": spent for stage, spent in seconds.items()},
        },
        epochs=metadata["history"],
        tags={"version": str(version.number), "promoted": str(promoted).lower()},
    )


def _describe(trained: Trained, parameters: Mapping[str, Any]) -> dict[str, Any]:
    manifest, fitted = trained.manifest, trained.fitted
    return {
        "classes": list(manifest.classes),
        "backbone": trained.backbone.id,
        "image_size": trained.backbone.image_size,
        "precision": trained.precision,
        "metrics": trained.measured.metrics,
        "temperature": fitted.temperature,
        "images": trained.images(),
        "data": {
            "name": manifest.root.name,
            "root": str(manifest.root),
            "digest": manifest.digest,
            "counts": manifest.counts(),
            **manifest.layout.as_dict(),
        },
        "parameters": dict(parameters),
        "best_epoch": fitted.history.best_epoch,
        "history": fitted.history.epochs,
    }
