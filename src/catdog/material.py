"""What a retraining has to work with: new uploads, the base data where it lies here, and the champion's memory.

`collect` freezes which pictures these are, so that a retraining that is interrupted goes on with the same ones.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from catdog import dataset
from catdog.adaptation import Examples
from catdog.collection import Collection
from catdog.errors import ConflictError, DatasetError
from catdog.features import Embedded, FeatureCache, Vector, read_embedded
from catdog.files import write_json
from catdog.json_reader import read_json_file
from catdog.layout import Layout
from catdog.manifest import Manifest
from catdog.settings import Settings
from catdog.split import Picture, hash_share
from catdog.store import ModelStore, ModelVersion
from catdog.uploads import UploadedPicture
from catdog.wording import counted

_VALIDATION_LOT: Final = 16  # which hex digits of a hash decide; 0 and 8 decide about a data set's own splits


@dataclass(frozen=True)
class Uploads:
    """What came in: the pictures in use, and the hashes of those that are not to be used, each with its reason."""

    pictures: Sequence[UploadedPicture]
    left_out: Mapping[str, str] = field(default_factory=dict)


def read_uploads(settings: Settings, engine: Engine) -> Uploads:
    """Read which uploads are in use, and why the others are not: removed, waiting, or doubted by the last review."""
    collection = Collection(settings, engine)
    active = collection.active()
    used = {picture.sha256 for picture in active}
    return Uploads(active, {p.sha256: _why_not(p) for p in collection.shelf.find() if p.sha256 not in used})


def _why_not(picture: UploadedPicture) -> str:
    reasons = {"removed": "It was removed.", "pending": "It waits to be confirmed."}
    return reasons.get(picture.state) or picture.problem or "It is a test picture."


@dataclass(frozen=True)
class Collected:
    """Which pictures a retraining is on, by version of the champion: uploads and base data, and what was left out."""

    champion: int
    uploads: tuple[Picture, ...]
    base: tuple[Picture, ...]
    left_out: dict[str, str]

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_json(path, json.loads(json.dumps(asdict(self), default=str)))

    @classmethod
    def load(cls, path: Path) -> "Collected":
        """Read what `save` wrote."""
        document = read_json_file(path)
        for name in ("uploads", "base"):
            document[name] = tuple(Picture(**{**row, "path": Path(row["path"])}) for row in document[name])
        return cls(**document)


def collect(settings: Settings, engine: Engine, uploads: Uploads) -> Collected:
    """Choose the pictures for a retraining of the champion.

    An upload is left out that is one of the champion's test pictures, is of a class that it does not know, or is in
    `uploads.left_out`. Held-out uploads get the split `test`, the others `train`.
    """
    champion = ModelStore(settings.models_dir).get()
    numbers = {name: number for number, name in enumerate(champion.classes)}
    base = _base(champion, settings, engine)
    tested = {p.sha256 for p in base if p.split == "test"} | _remembered_tests(champion)
    left_out, kept = dict(uploads.left_out), []
    for upload in uploads.pictures:
        if upload.sha256 in tested:
            left_out[upload.sha256] = "It is a test picture."
        elif upload.folder not in numbers:
            left_out[upload.sha256] = f"The model has no class {upload.folder}."
        if upload.sha256 not in left_out:
            split = "test" if upload.held_out else "train"
            kept.append(Picture(upload.path, upload.sha256, numbers[upload.folder], split))  # type: ignore[arg-type]
    return Collected(champion.number, tuple(kept), base, left_out)


def count_new(champion: ModelVersion, settings: Settings, uploads: Uploads) -> int:
    """Count the uploads that a retraining would train on and that the champion was not trained on as they are now."""
    trained = {
        (p.sha256, champion.classes[p.label]) for p in manifest_pictures(champion, settings) if p.split != "test"
    }
    return sum(
        not upload.held_out
        and upload.folder in champion.classes
        and upload.sha256 not in uploads.left_out
        and (upload.sha256, upload.folder) not in trained
        for upload in uploads.pictures
    )


def require_new(settings: Settings, engine: Engine) -> int:
    """Count the uploads that retraining would learn from.

    Raises:
        ConflictError: there is none.
    """
    uploads = read_uploads(settings, engine)
    new = count_new(ModelStore(settings.models_dir).get(), settings, uploads)
    if not new:
        raise ConflictError(
            "There is nothing to train on: pictures are needed that the champion was not trained on and that are not "
            f"held out for testing. Received: {counted(len(uploads.pictures), 'uploaded picture')}, none of them new."
        )
    return new


def data_root(version: ModelVersion, settings: Settings) -> Path:
    """Give the folder that a version was trained on; where it does not tell, `data/`."""
    return version.data_root or settings.data_dir


def manifest_pictures(version: ModelVersion, settings: Settings) -> tuple[Picture, ...]:
    """Read which pictures a version was trained and tested on; their files need not be there."""
    root = data_root(version, settings)
    numbers = {name: number for number, name in enumerate(version.classes)}
    return tuple(
        Picture(root / row["path"], row["sha256"], numbers[row["class"]], row["split"])  # type: ignore[arg-type]
        for row in version.manifest()
    )


def _base(champion: ModelVersion, settings: Settings, engine: Engine) -> tuple[Picture, ...]:
    """Scan the data that the champion was trained on, or `data/`; nothing where neither is there with its classes."""
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
    """Return what was said about the folders that a version was trained on."""
    return Layout.from_dict(version.metadata.get("data", {})) if root == data_root(version, settings) else Layout()


def _remembered_tests(version: ModelVersion) -> set[str]:
    replay = version.replay()
    return replay.test_hashes() if replay else set()


class Material:
    """The features of all pictures of a retraining, sorted into what to fit on, to validate on and to test on."""

    def __init__(self, collected: Collected, settings: Settings, engine: Engine) -> None:
        self.champion = ModelStore(settings.models_dir).get(collected.champion)
        self.head = self.champion.load_head()
        self.before = {p.sha256: p for p in manifest_pictures(self.champion, settings)}
        self.collected = collected
        self._settings = settings
        cached = read_embedded(
            (*collected.base, *collected.uploads), FeatureCache(engine, str(self.champion.metadata["backbone"]))
        )
        self._vectors = {p.sha256: v[0] for p, v in zip(cached.pictures, cached.vectors, strict=True)}
        self._pictures = self._sort()
        fitted_before = {sha256 for sha256, picture in self.before.items() if picture.split != "test"}
        training = {p.sha256 for p in self._pictures if p.split != "test"}
        uploaded = {p.sha256 for p in collected.uploads}
        self.train = self._embedded(p for p in self._pictures if p.split == "train")
        self.validation = self._embedded(p for p in self._pictures if p.split == "validation")
        tests = [p for p in self._pictures if p.split == "test" and p.sha256 not in fitted_before | training]
        self.test = self._embedded(p for p in tests if p.sha256 not in uploaded)
        self.held_out = self._embedded(p for p in tests if p.sha256 in uploaded)

    @property
    def manifest(self) -> Manifest:
        """All pictures that the new version and those before it were trained, chosen or tested on."""
        known = {**self.before, **{p.sha256: p for p in self._pictures}}
        for sha256, earlier in self.before.items():  # validating on what was once fitted on does not undo that
            if earlier.split == "train" and known[sha256].split == "validation":
                known[sha256] = replace(known[sha256], split="train")
        kept = tuple(p for p in known.values() if self._is_used(p))
        root = data_root(self.champion, self._settings)
        layout = _layout(self.champion, root, self._settings)
        return Manifest(root, self.champion.classes, kept, layout=layout)

    @property
    def remembered(self) -> set[str]:
        """Hashes of what the champion's memory holds."""
        return set(self._memory)

    def examples(self, embedded: Embedded) -> Examples:
        """Give features and labels for `adaptation.adapt`; new is what the champion was not fitted on, so labelled."""
        is_new = [
            (known := self.before.get(p.sha256)) is None or known.split == "test" or known.label != p.label
            for p in embedded.pictures
        ]
        return Examples(embedded.vectors[:, 0], embedded.labels, np.array(is_new, bool))

    def calibration(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Give the validation pictures that were never in a gradient, which the memory's were: features and labels."""
        rows = [i for i, p in enumerate(self.validation.pictures) if p.sha256 not in self._memory]
        return self.validation.vectors[rows, 0], self.validation.labels[rows]

    def _sort(self) -> list[Picture]:
        """Give each picture its split; uploads before base data before memory, where one is in several."""
        chosen = {p.sha256: p for p in self.collected.uploads}
        for picture in self.collected.base:
            chosen.setdefault(picture.sha256, picture)
        self._memory = self._recall()
        for sha256, picture in self._memory.items():
            chosen.setdefault(sha256, picture)
        return [p for p in chosen.values() if p.sha256 in self._vectors and self._is_used(p)]

    def _is_used(self, picture: Picture) -> bool:
        """Tell whether it is not left out; a test picture stays one, though a copy of it that came in is left out."""
        return picture.split == "test" or picture.sha256 not in self.collected.left_out

    def _recall(self) -> dict[str, Picture]:
        """Read the champion's memory, of which a share by hash judges what is kept; its features join the others."""
        replay, found = self.champion.replay(), {}
        if replay is None:
            return {}
        for vector, label, name, split in zip(*vars(replay).values(), strict=True):
            sha256 = str(name)
            judges = split == "train" and hash_share(sha256, _VALIDATION_LOT) < self._settings.validation_share
            path = self.before[sha256].path if sha256 in self.before else Path(sha256)
            found[sha256] = Picture(path, sha256, int(label), "validation" if judges else str(split))  # type: ignore[arg-type]
            self._vectors.setdefault(sha256, vector)
        return found

    def _embedded(self, chosen: Iterable[Picture]) -> Embedded:
        pictures = tuple(chosen)
        width = self.head.hidden_weights.shape[0]
        vectors: Vector = np.array([self._vectors[p.sha256] for p in pictures], np.float16).reshape(-1, 1, width)
        return Embedded(pictures, vectors, np.array([p.label for p in pictures], np.int64), (), 0)
