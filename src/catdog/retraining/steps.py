"""Retraining, step by step: collect, embed, fit, evaluate, save, promote.

Each step reads what the one before left in the job's folder, may be repeated, and knows nothing of who runs it:
`worker` runs them as a job, in a process of their own (`trainer`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from sqlalchemy import Engine

from catdog.data.images.pixels import limits_of
from catdog.data.layout.vocabulary import Split
from catdog.errors import ConflictError, JobError
from catdog.evaluation.gate import judge
from catdog.evaluation.metrics import compute_metrics
from catdog.features.backbone import Backbone, read_info
from catdog.features.embedding import Embedded, FeatureCache, embed, read_embedded
from catdog.features.replay import GROWN, Replay
from catdog.model.adapt import adapt
from catdog.model.head import Head
from catdog.model.keras_file import KerasTwin
from catdog.model.network import History, calibrate
from catdog.model.novelty import NoveltyReference, extend_novelty, fit_novelty
from catdog.registry.store import ModelStore, ModelVersion
from catdog.retraining.dataset import RetrainingData, Selection, select
from catdog.retraining.stages import result_path
from catdog.retraining.uploads.review import review
from catdog.retraining.uploads.uploads import Uploads
from catdog.settings import Settings
from catdog.storage.files import write_json
from catdog.storage.json_reader import read_json_file
from catdog.text import counted
from catdog.training.fit import MIN_CALIBRATION, Fitted, Measured, measure
from catdog.training.save import Trained, save_version, track_version

EPOCHS: Final = 30
SEED: Final = 42
MISTAKES_SHOWN: Final = 50

Progress = Callable[[int, int], None]
"""Called with (done, in all) of a step."""


@dataclass(frozen=True)
class Retraining:
    """One retraining of the champion, which is found again by its `job_id`.

    Attributes:
        wanted: False keeps the new version as a challenger whatever the gate says; None leaves it to gate and settings.
    """

    job_id: str
    settings: Settings
    engine: Engine
    wanted: bool | None = None

    def run(self, step: str, on_progress: Progress) -> dict[str, Any]:
        """Do one of `catdog.retraining.stages.STEPS`, and return its result, ready for JSON.

        Raises:
            CatdogError: it can't be done; says why.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        result: dict[str, Any] = getattr(self, f"_{step}")(on_progress)
        write_json(result_path(self.folder, step), result)
        return result

    @property
    def folder(self) -> Path:
        """Where the job keeps what its steps made."""
        return self.settings.jobs_dir / self.job_id

    @cached_property
    def _collected(self) -> Selection:
        return Selection.load(self.folder / "pictures.json")

    @cached_property
    def _material(self) -> RetrainingData:
        return RetrainingData(self._collected, self.settings, self.engine)

    def _collect(self, on_progress: Progress) -> dict[str, Any]:
        """Review the uploads, which computes the features of new ones, and select those to train on."""
        uploads = Uploads(self.settings, self.engine)
        review(uploads, on_progress=on_progress)
        found = select(uploads)
        if not any(picture.split == "train" for picture in found.uploads):
            raise ConflictError(
                f"There is nothing to train on: {counted(len(found.left_out), 'image')}, all left out. "
                "See the review for the reasons."
            )
        found.save(self.folder / "pictures.json")
        held_out = sum(picture.split == "test" for picture in found.uploads)
        return {
            "champion": found.champion,
            "uploads": len(found.uploads) - held_out,
            "held_out": held_out,
            "base": len(found.base),
            "left_out": found.left_out,
        }

    def _embed(self, on_progress: Progress) -> dict[str, Any]:
        """Run the backbone on the images that have no features yet; where all have, it isn't even loaded."""
        pictures = (*self._collected.base, *self._collected.uploads)
        folder = ModelStore(self.settings.models_dir).get(self._collected.champion).backbone_path
        cache = FeatureCache(self.engine, read_info(folder).id)
        if len(read_embedded(pictures, cache).pictures) == len(pictures):
            return {"computed": 0, "failed": {}}
        threads = self.settings.resolved_threads
        embedded = embed(
            pictures,
            Backbone(folder, precision=self.settings.precision, threads=threads),
            cache,
            threads=threads,
            limits=limits_of(self.settings),
            on_progress=on_progress,
        )
        failed = {picture.path.name: reason for picture, reason in embedded.failed}
        return {"computed": embedded.computed - len(failed), "failed": failed}

    def _fit(self, on_progress: Progress) -> dict[str, Any]:
        material = self._material
        train = material.examples(material.train)
        if not train.is_new.any():
            raise ConflictError("There is nothing to train on: none of the uploaded pictures could be used.")
        validation = material.examples(material.validation)
        head, history = adapt(
            material.head, train, validation, epochs=EPOCHS, seed=SEED, on_epoch=lambda n: on_progress(n, EPOCHS)
        )
        features, labels = material.calibration()
        temperature = float(material.champion.metadata.get("temperature", 1.0))
        if len(labels) >= MIN_CALIBRATION:
            head, temperature = calibrate(head, features, labels)
        head.save(self.folder / "head.npz")
        _fit_novelty(material).save(self.folder / "novelty.npz")
        write_json(self.folder / "history.json", {"epochs": history.epochs, "temperature": temperature})
        return {
            "old": int((~train.is_new).sum()),
            "new": int(train.is_new.sum()),
            "epochs": len(history.epochs),
            "best_epoch": history.best_epoch,
        }

    def _evaluate(self, _on_progress: Progress) -> dict[str, Any]:
        material, (fitted, measured) = self._material, self._made
        test, classes, number = material.test, material.champion.classes, self._collected.champion
        champion = material.head.probabilities(test.vectors[:, 0])
        verdict = judge(champion, measured.probabilities, test.labels, classes, f"version {number}")
        before, after = (answers.argmax(axis=1) == test.labels for answers in (champion, measured.probabilities))
        result = {
            "passed": verdict.passed,
            "reason": f"{verdict.reason}; as fast as before, since the backbone is the same",
            "p_value": verdict.comparison.p_value,
            "metrics": {"champion": compute_metrics(champion, test.labels, classes), "challenger": measured.metrics},
            "changed": {
                "now_right": _name(test, ~before & after),
                "now_wrong": _name(test, before & ~after),
            },
        }
        if len(material.held_out.labels):
            result["held_out"] = {
                name: compute_metrics(
                    head.probabilities(material.held_out.vectors[:, 0]), material.held_out.labels, classes
                )
                for name, head in (("champion", material.head), ("challenger", fitted.head))
            }
        return result

    @cached_property
    def _made(self) -> tuple[Fitted, Measured]:
        material = self._material
        if not len(material.test.labels):
            raise JobError(
                "The new version cannot be measured: there are no test pictures that the champion was not trained on. "
                "Train it anew with `catdog train`, which holds some out. Received: 0 test pictures."
            )
        head = Head.load(self.folder / "head.npz")
        document = read_json_file(self.folder / "history.json")
        fitted = Fitted(
            head,
            KerasTwin(material.champion.keras_head_path, head),
            NoveltyReference.load(self.folder / "novelty.npz"),
            History(document["epochs"]),
            document["temperature"],
        )
        return fitted, measure(fitted, material.test, material.champion.classes, self.settings.unsure_below)

    def _save(self, _on_progress: Progress) -> dict[str, Any]:
        version = self._saved() or self._save_version()
        return {"version": version.number}

    def _save_version(self) -> ModelVersion:
        material, (fitted, measured) = self._material, self._made
        embedded: dict[Split, Embedded] = {
            "train": material.train, "validation": material.validation, "test": material.test,
        }  # fmt: skip
        champion = material.champion
        trained = Trained(
            material.manifest,
            embedded,
            read_info(champion.backbone_path),
            str(champion.metadata.get("precision", self.settings.precision)),
            fitted,
            measured,
        )
        lineage = {
            "parent": champion.number,
            "job": self.job_id,
            "added": self._result("collect") | {"left_out": len(self._collected.left_out)},
            "gate": {name: self._result("evaluate")[name] for name in ("passed", "reason")},
        }
        replay = Replay.choose(_joined(material), material.test, most=GROWN, first=material.replayed)
        parameters = {"epochs": EPOCHS, "seed": SEED, "views": 1, "retrained": True}
        store = ModelStore(self.settings.models_dir)
        return save_version(trained, parameters, store, lineage=lineage, replay=replay, mark=self.job_id)

    def _promote(self, _on_progress: Progress) -> dict[str, Any]:
        """Promote the version or keep it; said to a champion once, so that a repetition undoes nobody's choice."""
        version, found = self._result("save")["version"], self._result("evaluate")
        store = ModelStore(self.settings.models_dir)
        passed, reason = found["passed"], found["reason"]
        if any(promotion.version == version for promotion in store.history()):
            return self._told(version, True, reason)
        if self.wanted is False:
            passed, reason = False, f"kept as a challenger, as asked for; {reason}"
        elif passed and self.settings.promote == "manual":
            passed, reason = False, f"kept for a person to promote (CATDOG_PROMOTE=manual); {reason}"
        elif passed and store.champion() != self._collected.champion:
            passed, reason = False, f"version {store.champion()} became champion meanwhile; {reason}"
        if passed:
            store.promote(version, reason)
        track_version(self.settings, store.get(version), {}, passed)
        return self._told(version, passed, reason)

    def _told(self, version: int, promoted: bool, reason: str) -> dict[str, Any]:
        collected, fitted, found = (self._result(step) for step in ("collect", "fit", "evaluate"))
        return {
            "version": version,
            "parent": collected["champion"],
            "decision": "promoted" if promoted else "kept as a challenger",
            "promoted": promoted,
            "reason": reason,
            "pictures": {**collected, "left_out": list(collected["left_out"].values())[:MISTAKES_SHOWN]},
            "fit": fitted,
            **{name: found[name] for name in ("metrics", "held_out", "changed") if name in found},
        }

    def _saved(self) -> ModelVersion | None:
        """Find the version that this job saved already, before it was interrupted."""
        return ModelStore(self.settings.models_dir).made_by(self.job_id)

    def _result(self, step: str) -> dict[str, Any]:
        result: dict[str, Any] = read_json_file(result_path(self.folder, step))
        return result


def _fit_novelty(material: RetrainingData) -> NoveltyReference:
    """Build the reference anew where at least as many features are available as it was built of; else add to it."""
    reference, train = material.champion.load_novelty(), material.train.vectors[:, 0]
    if len(train) >= len(reference.bank) and len(material.calibration()[1]):
        return fit_novelty(train, material.calibration()[0], seed=SEED)
    return extend_novelty(reference, train[material.examples(material.train).is_new], seed=SEED)


def _joined(material: RetrainingData) -> Embedded:
    """Put together what the next retraining may remember: what was fitted on, and the memory that judged."""
    parts = (material.train, material.validation)
    return Embedded(
        tuple(picture for part in parts for picture in part.pictures),
        np.concatenate([part.vectors for part in parts]),
        np.concatenate([part.labels for part in parts]),
        failed=(),
        computed=0,
    )


def _name(embedded: Embedded, chosen: Any) -> list[str]:
    """Name the chosen images by class folder and file."""
    found = (embedded.pictures[i].path for i in np.flatnonzero(chosen)[:MISTAKES_SHOWN])
    return [f"{path.parent.name}/{path.name}" for path in found]
