"""Readers of a version's files, which may come from anywhere and are checked before use."""

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
"""Maximum bytes of a manifest, enough for about 1.5 million images."""

METADATA: Final = "metadata.json"
MANIFEST: Final = "manifest.csv"
REPLAY: Final = "replay.npz"
ASSESSMENT: Final = "assessment.json"
BACKBONE: Final = "backbone.json"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SPLITS: Final = ("train", "validation", "test")
_REPLAY_ARRAYS: Final = {"features": 2, "labels": 1, "sha256": 1, "split": 1}


def read_version_document(folder: Path) -> dict[str, Any]:
    """Read `metadata.json` of a version's folder; the caller checks its format number.

    Raises:
        VersionCorruptError: it is missing, unreadable or incomplete.
    """
    return _read(folder, METADATA, "version", VersionDocument)


def read_backbone_document(folder: Path) -> dict[str, Any]:
    """Read `backbone.json` of a backbone's folder.

    Raises:
        VersionCorruptError: it is missing, unreadable or incomplete.
    """
    document = _read(folder, BACKBONE, "backbone", BackboneDocument)
    return {name: document[name] for name in BackboneDocument.model_fields}


def read_assessment_document(folder: Path, classes: int) -> dict[str, Any] | None:
    """Read a version's assessment; None if it is missing, damaged or for another number of classes."""
    try:
        document = read_document(folder, ASSESSMENT)
        return document if AssessmentDocument.model_validate(document).fits(classes) else None
    except (OSError, ValueError, RuntimeError):
        return None


def read_manifest(folder: Path, classes: Container[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of a version's manifest, if any: `sha256`, `class`, `split` and `path`.

    Raises:
        VersionCorruptError: it can't be read, or a row is invalid.
    """
    path = folder / MANIFEST
    if not path.exists() and not path.is_symlink():
        return
    if require_within(folder, MANIFEST).stat().st_size > LARGEST_MANIFEST:
        raise VersionCorruptError(f"The manifest {path} is too large; the maximum is {LARGEST_MANIFEST:,} bytes.")
    try:
        # File names may be any bytes.
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            reader = csv.reader(file)
            names = next(reader, [])
            for number, cells in enumerate(reader, start=2):
                row = dict(zip(names, cells, strict=False))
                if cells and not _is_row(row, classes):
                    raise VersionCorruptError(
                        f"Line {number} of {path} needs a SHA-256, a class of the version, a split and a path."
                    )
                if cells:
                    yield row
    except (OSError, csv.Error, ValueError) as error:
        raise VersionCorruptError(f"Can't read the manifest {path}.") from error


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
    """Read the arrays of a replay memory: features `(M, D)`; labels, hashes and splits `(M,)`.

    Raises:
        VersionCorruptError: the file is damaged, or its arrays don't fit together.
    """
    arrays = read_arrays(path, _REPLAY_ARRAYS, "replay memory")
    kinds = "".join(array.dtype.kind for array in arrays.values())
    lengths = {len(array) for array in arrays.values()}
    is_in_order = kinds in ("fiUU", "fuUU") and set(arrays["split"].tolist()) <= set(_SPLITS)
    if len(lengths) != 1 or not is_in_order or arrays["labels"].min(initial=0) < 0:
        raise VersionCorruptError(f"The arrays of the replay memory {path} don't fit together.")
    return arrays


def _read(folder: Path, name: str, what: str, shape: type[Document]) -> dict[str, Any]:
    try:
        document = read_document(folder, name)
        shape.model_validate(document)
    except ValidationError as error:
        raise VersionCorruptError(f"Can't read the {what}: {folder / name}: {_reason(error)}.") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise VersionCorruptError(f"Can't read the {what}: {folder / name}: {error}.") from error
    return document


def _reason(error: ValidationError) -> str:
    """Return the first problem, without the file's content."""
    first: Mapping[str, Any] = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(map(str, first["loc"]))[:100]
    said = f"{place}: {first['msg']}" if place else str(first["msg"])
    return "".join(c for c in said if c.isprintable())[:300].removesuffix(".")
