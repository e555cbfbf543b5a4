"""The steps of a retraining: collect, embed, fit, evaluate, save, promote.

Each step reads the results of earlier ones from the job's folder and can be repeated. The worker runs them as a job, in
the training process.
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
"""Called with (done, total) of a step."""


@dataclass(frozen=True)
class Retraining:
    """A retraining of the champion, identified by its `job_id`.

    Attributes:
        wanted: False never promotes the new version; None leaves it to the gate and the settings.
    """

    job_id: str
    settings: Settings
    engine: Engine
    wanted: bool | None = None

    def run(self, step: str, on_progress: Progress) -> dict[str, Any]:
        """Run one of `catdog.retraining.stages.STEPS` and return its result, ready for JSON.

        Raises:
            CatdogError: the step failed; says why.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        result: dict[str, Any] = getattr(self, f"_{step}")(on_progress)
        write_json(result_path(self.folder, step), result)
        return result

    @property
    def folder(self) -> Path:
        """Folder of the steps' results."""
        return self.settings.jobs_dir / self.job_id

    @cached_property
    def _selection(self) -> Selection:
        return Selection.load(self.folder / "pictures.json")

    @cached_property
    def _data(self) -> RetrainingData:
        return RetrainingData(self._selection, self.settings, self.engine)

    def _collect(self, on_progress: Progress) -> dict[str, Any]:
        """Review the uploads, which computes missing features, and select images for training."""
        uploads = Uploads(self.settings, self.engine)
        review(uploads, on_progress=on_progress)
        found = select(uploads)
        if not any(image.split == "train" for image in found.uploads):
            raise ConflictError(
                f"Nothing to train on: all of {counted(len(found.left_out), 'image')} left out. See the review for the "
                "reasons."
            )
        found.save(self.folder / "pictures.json")
        held_out = sum(image.split == "test" for image in found.uploads)
        return {
            "champion": found.champion,
            "uploads": len(found.uploads) - held_out,
            "held_out": held_out,
            "base": len(found.base),
            "left_out": found.left_out,
        }

    def _embed(self, on_progress: Progress) -> dict[str, Any]:
        """Compute missing features; if there are none, the backbone isn't loaded."""
        images = (*self._selection.base, *self._selection.uploads)
        folder = ModelStore(self.settings.models_dir).get(self._selection.champion).backbone_path
        cache = FeatureCache(self.engine, read_info(folder).id)
        if len(read_embedded(images, cache).pictures) == len(images):
            return {"computed": 0, "failed": {}}
        threads = self.settings.resolved_threads
        embedded = embed(
            images,
            Backbone(folder, precision=self.settings.precision, threads=threads),
            cache,
            threads=threads,
            limits=limits_of(self.settings),
            on_progress=on_progress,
        )
        failed = {image.path.name: reason for image, reason in embedded.failed}
        return {"computed": embedded.computed - len(failed), "failed": failed}

    def _fit(self, on_progress: Progress) -> dict[str, Any]:
        data = self._data
        train = data.examples(data.train)
        if not train.is_new.any():
            raise ConflictError("Nothing to train on: none of the uploaded images can be used.")
        validation = data.examples(data.validation)
        head, history = adapt(
            data.head, train, validation, epochs=EPOCHS, seed=SEED, on_epoch=lambda n: on_progress(n, EPOCHS)
        )
        features, labels = data.calibration()
        temperature = float(data.champion.metadata.get("temperature", 1.0))
        if len(labels) >= MIN_CALIBRATION:
            head, temperature = calibrate(head, features, labels)
        head.save(self.folder / "head.npz")
        _fit_novelty(data).save(self.folder / "novelty.npz")
        write_json(self.folder / "history.json", {"epochs": history.epochs, "temperature": temperature})
        return {
            "old": int((~train.is_new).sum()),
            "new": int(train.is_new.sum()),
            "epochs": len(history.epochs),
            "best_epoch": history.best_epoch,
        }

    def _evaluate(self, _on_progress: Progress) -> dict[str, Any]:
        data, (fitted, measured) = self._data, self._measured
        test, classes, number = data.test, data.champion.classes, self._selection.champion
        champion = data.head.probabilities(test.vectors[:, 0])
        verdict = judge(champion, measured.probabilities, test.labels, classes, f"version {number}")
        before, after = (found.argmax(axis=1) == test.labels for found in (champion, measured.probabilities))
        result = {
            "passed": verdict.passed,
            "reason": f"{verdict.reason}; speed is unchanged, as the backbone is the same",
            "p_value": verdict.comparison.p_value,
            "metrics": {"champion": compute_metrics(champion, test.labels, classes), "challenger": measured.metrics},
            "changed": {
                "now_right": _file_names(test, ~before & after),
                "now_wrong": _file_names(test, before & ~after),
            },
        }
        if len(data.held_out.labels):
            result["held_out"] = {
                name: compute_metrics(head.probabilities(data.held_out.vectors[:, 0]), data.held_out.labels, classes)
                for name, head in (("champion", data.head), ("challenger", fitted.head))
            }
        return result

    @cached_property
    def _measured(self) -> tuple[Fitted, Measured]:
        data = self._data
        if not len(data.test.labels):
            raise JobError(
                "Can't evaluate the new version: there are no test images that the model in use wasn't trained on. "
                "Train a new model with `catdog train`, which holds some out."
            )
        head = Head.load(self.folder / "head.npz")
        document = read_json_file(self.folder / "history.json")
        fitted = Fitted(
            head,
            KerasTwin(data.champion.keras_head_path, head),
            NoveltyReference.load(self.folder / "novelty.npz"),
            History(document["epochs"]),
            document["temperature"],
        )
        return fitted, measure(fitted, data.test, data.champion.classes, self.settings.unsure_below)

    def _save(self, _on_progress: Progress) -> dict[str, Any]:
        version = self._saved() or self._save_version()
        return {"version": version.number}

    def _save_version(self) -> ModelVersion:
        data, (fitted, measured) = self._data, self._measured
        embedded: dict[Split, Embedded] = {
            "train": data.train, "validation": data.validation, "test": data.test,
        }  # fmt: skip
        champion = data.champion
        trained = Trained(
            data.manifest,
            embedded,
            read_info(champion.backbone_path),
            str(champion.metadata.get("precision", self.settings.precision)),
            fitted,
            measured,
        )
        lineage = {
            "parent": champion.number,
            "job": self.job_id,
            "added": self._result("collect") | {"left_out": len(self._selection.left_out)},
            "gate": {name: self._result("evaluate")[name] for name in ("passed", "reason")},
        }
        replay = Replay.choose(_replay_candidates(data), data.test, most=GROWN, first=data.replayed)
        parameters = {"epochs": EPOCHS, "seed": SEED, "views": 1, "retrained": True}
        store = ModelStore(self.settings.models_dir)
        return save_version(trained, parameters, store, lineage=lineage, replay=replay, mark=self.job_id)

    def _promote(self, _on_progress: Progress) -> dict[str, Any]:
        """Promote the version or keep it as a challenger."""
        version, found = self._result("save")["version"], self._result("evaluate")
        store = ModelStore(self.settings.models_dir)
        passed, reason = found["passed"], found["reason"]
        # Promote only once, so repeating the step doesn't undo a later choice.
        if any(promotion.version == version for promotion in store.history()):
            return self._outcome(version, True, reason)
        if self.wanted is False:
            passed, reason = False, f"not promoted, as requested; {reason}"
        elif passed and self.settings.promote == "manual":
            passed, reason = False, f"awaiting manual promotion (CATDOG_PROMOTE=manual); {reason}"
        elif passed and store.champion() != self._selection.champion:
            passed, reason = False, f"version {store.champion()} was promoted meanwhile; {reason}"
        if passed:
            store.promote(version, reason)
        track_version(self.settings, store.get(version), {}, passed)
        return self._outcome(version, passed, reason)

    def _outcome(self, version: int, promoted: bool, reason: str) -> dict[str, Any]:
        selected, fitted, found = (self._result(step) for step in ("collect", "fit", "evaluate"))
        return {
            "version": version,
            "parent": selected["champion"],
            "decision": "promoted" if promoted else "kept as a challenger",
            "promoted": promoted,
            "reason": reason,
            "pictures": {**selected, "left_out": list(selected["left_out"].values())[:MISTAKES_SHOWN]},
            "fit": fitted,
            **{name: found[name] for name in ("metrics", "held_out", "changed") if name in found},
        }

    def _saved(self) -> ModelVersion | None:
        """Return the version that this job saved before an interruption, if any."""
        return ModelStore(self.settings.models_dir).made_by(self.job_id)

    def _result(self, step: str) -> dict[str, Any]:
        result: dict[str, Any] = read_json_file(result_path(self.folder, step))
        return result


def _fit_novelty(data: RetrainingData) -> NoveltyReference:
    """Rebuild the reference if enough features are available; otherwise extend the champion's."""
    reference, train = data.champion.load_novelty(), data.train.vectors[:, 0]
    if len(train) >= len(reference.bank) and len(data.calibration()[1]):
        return fit_novelty(train, data.calibration()[0], seed=SEED)
    return extend_novelty(reference, train[data.examples(data.train).is_new], seed=SEED)


def _replay_candidates(data: RetrainingData) -> Embedded:
    """Return all training and validation images, from which the next replay memory is chosen."""
    parts = (data.train, data.validation)
    return Embedded(
        tuple(image for part in parts for image in part.pictures),
        np.concatenate([part.vectors for part in parts]),
        np.concatenate([part.labels for part in parts]),
        failed=(),
        computed=0,
    )


def _file_names(embedded: Embedded, chosen: Any) -> list[str]:
    """Return class folder and file name of the chosen images."""
    found = (embedded.pictures[i].path for i in np.flatnonzero(chosen)[:MISTAKES_SHOWN])
    return [f"{path.parent.name}/{path.name}" for path in found]
