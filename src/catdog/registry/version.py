"""A version on disk and its contents. Only this module and `version_files` know the names of its files."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from catdog.data.manifest import Manifest
from catdog.errors import VersionCorruptError
from catdog.features.backbone import Backbone
from catdog.features.replay import Replay
from catdog.features.version_documents import HEAD, NOVELTY
from catdog.features.version_files import (
    ASSESSMENT,
    MANIFEST,
    METADATA,
    REPLAY,
    read_assessment_document,
    read_manifest,
    read_version_document,
)
from catdog.model.head import Head
from catdog.model.novelty import NoveltyReference
from catdog.registry import trial
from catdog.storage.files import require_within, write_json

FORMAT: Final = 1
"""Format of a version; other formats are rejected."""

KERAS_HEAD: Final = "head.keras"
REPORT: Final = "report.html"


class Savable(Protocol):
    """A Keras model, or an object that writes one."""

    def save(self, path: Path) -> object:
        """Write the model to a `.keras` file."""


@dataclass(frozen=True)
class ModelVersion:
    """A complete version: its number, folder and `metadata.json`."""

    number: int
    path: Path
    metadata: Mapping[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """Folder names of the classes, in the order of the probabilities."""
        return tuple(self.metadata["classes"])

    @property
    def metrics(self) -> dict[str, Any]:
        """Metrics on the test images; empty if the version has none."""
        return self.metadata.get("metrics") or {}

    @property
    def data_root(self) -> Path | None:
        """Folder of the data it was trained on, or None if that isn't known."""
        root = (self.metadata.get("data") or {}).get("root")
        return Path(root) if root else None

    @property
    def backbone_path(self) -> Path:
        """Folder of its backbone."""
        return self.path.parent / "backbones" / str(self.metadata["backbone"])

    @property
    def keras_head_path(self) -> Path:
        """The head as a Keras file; missing in versions made without Keras."""
        return self.path / KERAS_HEAD

    @property
    def report_path(self) -> Path:
        """The training report; missing in the bundled version."""
        return self.path / REPORT

    @property
    def has_replay(self) -> bool:
        """Whether it has a replay memory."""
        return REPLAY in self.metadata["checksums"]

    def load_head(self) -> Head:
        """Read the head.

        Raises:
            VersionCorruptError: it can't be read, or doesn't have one output per class.
        """
        head = Head.load(self.path / HEAD)
        if len(head.output_bias) != len(self.classes):
            raise VersionCorruptError(
                f"Version {self.number} has {len(self.classes)} classes, but its head has {len(head.output_bias)} "
                "outputs."
            )
        return head

    def load_novelty(self) -> NoveltyReference:
        """Read the novelty reference.

        Raises:
            VersionCorruptError: it can't be read.
        """
        return NoveltyReference.load(self.path / NOVELTY)

    def replay(self, features: int | None = None) -> Replay | None:
        """Read the replay memory, or return None if the version has none.

        Args:
            features: expected length of the feature vectors, if known.

        Raises:
            VersionCorruptError: it can't be read, or doesn't fit the version.
        """
        path = self.path / REPLAY
        if not path.exists():
            return None
        replay = Replay.load(require_within(self.path, REPLAY))
        has_width = features is None or replay.features.shape[1] == features
        if not has_width or replay.labels.max(initial=0) >= len(self.classes):
            raise VersionCorruptError(f"The replay memory doesn't fit the version ({path}).")
        return replay

    def assessment(self) -> dict[str, Any] | None:
        """Read the assessment of its test predictions, or return None if it has no usable one."""
        return read_assessment_document(self.path, len(self.classes))

    def manifest(self) -> Iterator[dict[str, str]]:
        """Yield the version's images: `sha256`, `class`, `split`, and `path` below `data_root`.

        Raises:
            VersionCorruptError: it can't be read.
        """
        return read_manifest(self.path, frozenset(self.classes))

    def training_hashes(self) -> set[str]:
        """Return the SHA-256 of all training and validation images."""
        return {row["sha256"] for row in self.manifest() if row["split"] != "test"}

    def test_hashes(self) -> set[str]:
        """Return the SHA-256 of all test images."""
        return {row["sha256"] for row in self.manifest() if row["split"] == "test"}

    def portable(self) -> dict[str, Any]:
        """Return the metadata for another installation, without the path of the data."""
        data = {key: value for key, value in (self.metadata.get("data") or {}).items() if key != "root"}
        return {**self.metadata, "data": data}

    def copy_for_bundle(self, folder: Path) -> None:
        """Copy the version to a new folder, without its number, its report and the path of its data."""
        # The report holds thumbnails of photographs.
        shutil.copytree(self.path, folder, ignore=shutil.ignore_patterns(METADATA, REPORT))
        metadata = {key: value for key, value in self.portable().items() if key != "version"}
        checksums = {name: sha256 for name, sha256 in metadata["checksums"].items() if name != REPORT}
        write_metadata(folder, {**metadata, "checksums": checksums})

    def try_out(self, backbone: Backbone, parts: tuple[Head, NoveltyReference] | None = None) -> None:
        """Check all files needed in use, and predict a synthetic image.

        Args:
            backbone: the version's own, loaded.
            parts: its head and novelty reference, if loaded.

        Raises:
            VersionCorruptError: something is missing or damaged, or the prediction fails.
        """
        head, novelty = parts or (self.load_head(), self.load_novelty())
        for _ in self.manifest():
            pass
        self.replay(len(head.hidden_weights))
        trial.try_out(f"Version {self.number}", head, novelty, backbone)


@dataclass(frozen=True)
class VersionContents:
    """The contents of a new version."""

    head: Head
    novelty: NoveltyReference
    network: Savable
    manifest: Manifest
    replay: Replay
    assessment: Mapping[str, Any]
    write_report: Callable[[Path], None]

    def write(self, folder: Path) -> None:
        """Write the files of a version, except its metadata, to a folder."""
        self.head.save(folder / HEAD)
        self.novelty.save(folder / NOVELTY)
        self.network.save(folder / KERAS_HEAD)
        self.manifest.write_csv(folder / MANIFEST)
        self.replay.save(folder / REPLAY)
        write_json(folder / ASSESSMENT, self.assessment)
        self.write_report(folder / REPORT)


def read_metadata(folder: Path) -> dict[str, Any]:
    """Read `metadata.json` of a version's folder.

    Raises:
        VersionCorruptError: it is missing, unreadable, incomplete or of another format.
    """
    metadata = read_version_document(folder)
    if metadata["format"] != FORMAT:
        raise VersionCorruptError(
            f"{folder / METADATA} has format {metadata['format']}, but this release of catdog reads format {FORMAT}."
        )
    return metadata


def write_metadata(folder: Path, metadata: Mapping[str, Any]) -> None:
    """Write `metadata.json` of a version's folder."""
    write_json(folder / METADATA, metadata)
