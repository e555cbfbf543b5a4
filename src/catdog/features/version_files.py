"""Readers of a version's files, which may come from anywhere: each is checked whole before it is used."""

import csv
import re
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from catdog.data.arrays import read_arrays
from catdog.errors import VersionCorruptError
from catdog.features.version_documents import AssessmentDocument, BackboneDocument, Document, VersionDocument, is_path
from catdog.storage.files import read_document, require_within

LARGEST_MANIFEST: Final = 256 * 2**20
"""Bytes of a manifest: about 1.5 million images."""

METADATA: Final = "metadata.json"
MANIFEST: Final = "manifest.csv"
REPLAY: Final = "replay.npz"
ASSESSMENT: Final = "assessment.json"
BACKBONE: Final = "backbone.json"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SPLITS: Final = ("train", "validation", "test")
_REPLAY_ARRAYS: Final = {"features": 2, "labels": 1, "sha256": 1, "split": 1}


def read_version_document(folder: Path) -> dict[str, Any]:
    """Read `metadata.json` of a version's folder; a wrong format is for the caller to tell.

    Raises:
        VersionCorruptError: missing, unreadable, or without what a version needs.
    """
    return _read(folder, METADATA, "version", VersionDocument)


def read_backbone_document(folder: Path) -> dict[str, Any]:
    """Read `backbone.json` of a backbone's folder.

    Raises:
        VersionCorruptError: missing, unreadable, or without what a backbone needs.
    """
    document = _read(folder, BACKBONE, "backbone", BackboneDocument)
    return {name: document[name] for name in BackboneDocument.model_fields}


def read_assessment_document(folder: Path, classes: int) -> dict[str, Any] | None:
    """Read the assessment of a version of so many classes; None if there is none, or none that can be used."""
    try:
        document = read_document(folder, ASSESSMENT)
        return document if AssessmentDocument.model_validate(document).fits(classes) else None
    except (OSError, ValueError, RuntimeError):
        return None


def read_manifest(folder: Path, classes: Container[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of a version's manifest: `sha256`, `class`, `split` and `path`. Without a manifest, none.

    Raises:
        VersionCorruptError: it cannot be read, or a row is not as one must be.
    """
    path = folder / MANIFEST
    if not path.exists() and not path.is_symlink():
        return
    if require_within(folder, MANIFEST).stat().st_size > LARGEST_MANIFEST:
        raise VersionCorruptError(f"The manifest is too large; {LARGEST_MANIFEST:,} bytes are allowed ({path}).")
    try:
        # A file's name may be any bytes.
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            reader = csv.reader(file)
            names = next(reader, [])
            for number, cells in enumerate(reader, start=2):
                row = dict(zip(names, cells, strict=False))
                if cells and not _is_row(row, classes):
                    raise VersionCorruptError(
                        f"Line {number} of the manifest must have a SHA-256, a class of the version, a split and a "
                        f"path ({path})."
                    )
                if cells:
                    yield row
    except (OSError, csv.Error, ValueError) as error:
        raise VersionCorruptError(f"The manifest cannot be read ({path}).") from error


def _is_row(row: Mapping[str, str], classes: Container[str]) -> bool:
    path = row.get("path")
    return (
        row.get("class") in classes
        and row.get("split") in _SPLITS
        and _SHA256.fullmatch(row.get("sha256", "")) is not None
        and path is not None
        and is_path(path)
    )


def read_replay(path: Path) -> dict[str, Any]:
    """Read the arrays of a replay memory: features `(M, D)`, labels, hashes and splits `(M,)`.

    Raises:
        VersionCorruptError: not such a file, or its arrays do not fit together.
    """
    arrays = read_arrays(path, _REPLAY_ARRAYS, "replay memory")
    kinds = "".join(array.dtype.kind for array in arrays.values())
    lengths = {len(array) for array in arrays.values()}
    is_in_order = kinds in ("fiUU", "fuUU") and set(arrays["split"].tolist()) <= set(_SPLITS)
    if len(lengths) != 1 or not is_in_order or arrays["labels"].min(initial=0) < 0:
        raise VersionCorruptError(f"The replay memory's arrays do not fit together. Received: {path}.")
    return arrays


def _read(folder: Path, name: str, what: str, shape: type[Document]) -> dict[str, Any]:
    try:
        document = read_document(folder, name)
        shape.model_validate(document)
    except ValidationError as error:
        raise VersionCorruptError(f"The {what} cannot be read: {folder / name}, {_reason(error)}.") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise VersionCorruptError(f"The {what} cannot be read. Received: {folder / name} ({error}).") from error
    return document


def _reason(error: ValidationError) -> str:
    """Name the first thing that is wrong, without what the file holds in its place."""
    first: Mapping[str, Any] = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(map(str, first["loc"]))[:100]
    said = f"{place}: {first['msg']}" if place else str(first["msg"])
    return "".join(c for c in said if c.isprintable())[:300].removesuffix(".")
