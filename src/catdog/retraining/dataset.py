"""The data of a retraining: uploads, the champion's own data if still available, and its replay features.

`select` fixes the images, so an interrupted retraining continues with the same ones.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from catdog.data import dataset
from catdog.data.layout.reading import Layout
from catdog.data.manifest import Manifest
from catdog.data.split import Picture, hash_share
from catdog.errors import ConflictError, DatasetError
from catdog.features.embedding import Embedded, FeatureCache, Vector, read_embedded
from catdog.model.adapt import Examples
from catdog.registry.store import ModelStore, ModelVersion
from catdog.retraining.uploads.uploads import Uploads
from catdog.settings import Settings
from catdog.storage.files import write_json
from catdog.storage.json_reader import read_json_file
from catdog.text import counted

_VALIDATION_DIGITS: Final = 16  # position in a hash; 0 and 8 decide a data set's own splits


@dataclass(frozen=True)
class Selection:
    """The images of a retraining of version `champion`: uploads and base data. `left_out` gives reasons by hash."""

    champion: int
    uploads: tuple[Picture, ...]
    base: tuple[Picture, ...]
    left_out: dict[str, str]

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_json(path, json.loads(json.dumps(asdict(self), default=str)))

    @classmethod
    def load(cls, path: Path) -> "Selection":
        """Read what `save` wrote."""
        document = read_json_file(path)
        for name in ("uploads", "base"):
            document[name] = tuple(Picture(**{**row, "path": Path(row["path"])}) for row in document[name])
        return cls(**document)


def select(uploads: Uploads) -> Selection:
    """Select the images for retraining the champion.

    Uploads that may not be trained on, are among the champion's test images, or have a class that it doesn't know are
    left out. Held-out uploads get the split `test`, the others `train`.
    """
    settings = uploads.settings
    champion = ModelStore(settings.models_dir).get()
    numbers = {name: number for number, name in enumerate(champion.classes)}
    base = _base(champion, settings, uploads.storage.engine)
    tested = {p.sha256 for p in base if p.split == "test"} | _replayed_tests(champion)
    active = uploads.active()
    left_out, chosen = uploads.unused(active), []
    for upload in active:
        if upload.sha256 in tested:
            left_out[upload.sha256] = "It is a test image."
        elif upload.folder not in numbers:
            left_out[upload.sha256] = f"The model has no class {upload.folder}."
        else:
            split = "test" if upload.held_out else "train"
            chosen.append(Picture(upload.path, upload.sha256, numbers[upload.folder], split))  # type: ignore[arg-type]
    return Selection(champion.number, tuple(chosen), base, left_out)


def require_new(uploads: Uploads) -> int:
    """Return the number of uploads that the champion wasn't trained on under their current class.

    Raises:
        ConflictError: there are none.
    """
    settings, active = uploads.settings, uploads.active()
    champion = ModelStore(settings.models_dir).get()
    trained = {(p.sha256, champion.classes[p.label]) for p in manifest_images(champion, settings) if p.split != "test"}
    usable = (upload for upload in active if not upload.held_out and upload.folder in champion.classes)
    new = sum((upload.sha256, upload.folder) not in trained for upload in usable)
    if not new:
        raise ConflictError(
            f"Nothing to train on: of {counted(len(active), 'uploaded image')}, none is new to the model in use. "
            "Upload more images; some of them are held out for testing."
        )
    return new


def data_root(version: ModelVersion, settings: Settings) -> Path:
    """Return the folder that a version was trained on, or `data/` if unknown."""
    return version.data_root or settings.data_dir


def manifest_images(version: ModelVersion, settings: Settings) -> tuple[Picture, ...]:
    """Return the images that a version was trained and tested on; their files may be gone."""
    root = data_root(version, settings)
    numbers = {name: number for number, name in enumerate(version.classes)}
    return tuple(
        Picture(root / row["path"], row["sha256"], numbers[row["class"]], row["split"])  # type: ignore[arg-type]
        for row in version.manifest()
    )


def _base(champion: ModelVersion, settings: Settings, engine: Engine) -> tuple[Picture, ...]:
    """Scan the data that the champion was trained on, or `data/`; empty if neither exists with its classes."""
    for root in dict.fromkeys((data_root(champion, settings), settings.data_dir)):
        if root.is_dir():
            try:
                scanned = dataset.scan(root, settings, layout=_layout(champion, root, settings))
            except DatasetError:
                continue
            dataset.remember(engine, scanned.read)
            if scanned.manifest.classes == champion.classes:
                return scanned.manifest.pictures
    return ()


def _layout(version: ModelVersion, root: Path, settings: Settings) -> Layout:
    """Return how a version's folders were read."""
    return Layout.from_dict(version.metadata.get("data", {})) if root == data_root(version, settings) else Layout()


def _replayed_tests(version: ModelVersion) -> set[str]:
    replay = version.replay()
    return replay.test_hashes() if replay else set()


class RetrainingData:
    """The features of all images of a retraining, by split; test images from uploads are separate, in `held_out`."""

    def __init__(self, selection: Selection, settings: Settings, engine: Engine) -> None:
        self.champion = ModelStore(settings.models_dir).get(selection.champion)
        self.head = self.champion.load_head()
        self.before = {p.sha256: p for p in manifest_images(self.champion, settings)}
        self.selection = selection
        self._settings = settings
        cached = read_embedded(
            (*selection.base, *selection.uploads), FeatureCache(engine, str(self.champion.metadata["backbone"]))
        )
        self._vectors = {p.sha256: v[0] for p, v in zip(cached.pictures, cached.vectors, strict=True)}
        self._images = self._sort()
        fitted_before = {sha256 for sha256, image in self.before.items() if image.split != "test"}
        training = {p.sha256 for p in self._images if p.split != "test"}
        uploaded = {p.sha256 for p in selection.uploads}
        self.train = self._embedded(p for p in self._images if p.split == "train")
        self.validation = self._embedded(p for p in self._images if p.split == "validation")
        tests = [p for p in self._images if p.split == "test" and p.sha256 not in fitted_before | training]
        self.test = self._embedded(p for p in tests if p.sha256 not in uploaded)
        self.held_out = self._embedded(p for p in tests if p.sha256 in uploaded)

    @property
    def manifest(self) -> Manifest:
        """All images that the new version and its ancestors were trained, validated or tested on."""
        known = {**self.before, **{p.sha256: p for p in self._images}}
        for sha256, earlier in self.before.items():  # once trained on, always marked as such
            if earlier.split == "train" and known[sha256].split == "validation":
                known[sha256] = replace(known[sha256], split="train")
        kept = tuple(p for p in known.values() if self._is_used(p))
        root = data_root(self.champion, self._settings)
        layout = _layout(self.champion, root, self._settings)
        return Manifest(root, self.champion.classes, kept, layout=layout)

    @property
    def replayed(self) -> set[str]:
        """Hashes of the images in the champion's replay features."""
        return set(self._replayed)

    def examples(self, embedded: Embedded) -> Examples:
        """Return features and labels for `adapt`; images not trained on before under this label count as new."""
        is_new = [
            (known := self.before.get(p.sha256)) is None or known.split == "test" or known.label != p.label
            for p in embedded.pictures
        ]
        return Examples(embedded.vectors[:, 0], embedded.labels, np.array(is_new, bool))

    def calibration(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return features and labels of the validation images that were never trained on; replayed ones were."""
        rows = [i for i, p in enumerate(self.validation.pictures) if p.sha256 not in self._replayed]
        return self.validation.vectors[rows, 0], self.validation.labels[rows]

    def _sort(self) -> list[Picture]:
        """Return all images with their split; uploads take precedence over base data, and that over replayed images."""
        chosen = {p.sha256: p for p in self.selection.uploads}
        for image in self.selection.base:
            chosen.setdefault(image.sha256, image)
        self._replayed = self._read_replay()
        for sha256, image in self._replayed.items():
            chosen.setdefault(sha256, image)
        return [p for p in chosen.values() if p.sha256 in self._vectors and self._is_used(p)]

    def _is_used(self, image: Picture) -> bool:
        """Return whether an image isn't left out; a test image stays one, even if an uploaded copy is left out."""
        return image.split == "test" or image.sha256 not in self.selection.left_out

    def _read_replay(self) -> dict[str, Picture]:
        """Read the champion's replay features; a share of them, chosen by hash, is for validation."""
        replay, found = self.champion.replay(), {}
        if replay is None:
            return {}
        for vector, label, name, split in zip(*vars(replay).values(), strict=True):
            sha256 = str(name)
            validates = split == "train" and hash_share(sha256, _VALIDATION_DIGITS) < self._settings.validation_share
            path = self.before[sha256].path if sha256 in self.before else Path(sha256)
            found[sha256] = Picture(path, sha256, int(label), "validation" if validates else str(split))  # type: ignore[arg-type]
            self._vectors.setdefault(sha256, vector)
        return found

    def _embedded(self, chosen: Iterable[Picture]) -> Embedded:
        images = tuple(chosen)
        width = self.head.hidden_weights.shape[0]
        vectors: Vector = np.array([self._vectors[p.sha256] for p in images], np.float16).reshape(-1, 1, width)
        return Embedded(images, vectors, np.array([p.label for p in images], np.int64), (), 0)
