"""Repairs uploads: makes files and rows consistent after a kill or a lost database."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from catdog.data.images.pixels import limits_of, read_picture, verify
from catdog.errors import PictureError
from catdog.retraining.uploads.intake import NewUpload, insert_row
from catdog.retraining.uploads.storage import MISSING, STATES, Upload, UploadStorage
from catdog.types import UploadState

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Repaired:
    """Counts of a repair: files that got a row, moved files, rows without a file, and deleted temporary files."""

    adopted: int = 0
    moved: int = 0
    missing: int = 0
    removed: int = 0


def repair(storage: UploadStorage, classes: Sequence[str]) -> Repaired:
    """Make files and rows consistent; idempotent.

    - Temporary files of interrupted writes are deleted.
    - A misplaced file is moved to the place in its row.
    - A row without a file is marked as missing until the image is uploaded again.
    - A complete file without a row gets one, so a lost database loses no image. Files not written by catdog are left
      alone.
    """
    with storage.locked():
        removed = _remove_temporary(storage, classes)
        rows = {upload.sha256: upload for upload in storage.find()}
        moved = adopted = 0
        for state, folder, path in list(_files(storage, classes)):
            upload = rows.get(path.stem)
            if upload is None:
                adopted += _adopt(storage, state, folder, path)
            elif path != upload.path:
                moved += _move_to_row(storage, upload, path)
        missing = _mark_missing(storage, list(rows.values()))
    done = Repaired(adopted, moved, missing, removed)
    if done != Repaired():
        _log.warning("Repaired the uploads: %s", done)
    return done


def _files(storage: UploadStorage, classes: Sequence[str]) -> Iterator[tuple[UploadState, str, Path]]:
    for state in STATES:
        for folder in classes:
            for path in sorted(storage.path(state, folder, "").parent.glob("*.jpg")):
                if not path.name.startswith("."):
                    yield state, folder, path


def _remove_temporary(storage: UploadStorage, classes: Sequence[str]) -> int:
    """Delete temporary files; the caller holds the lock, so nobody is writing one."""
    folders = (storage.path(state, folder, "").parent for state in STATES for folder in classes)
    temporary = [path for folder in folders for path in folder.glob(".*.jpg-*") if path.is_file()]
    for path in temporary:
        path.unlink(missing_ok=True)
    return len(temporary)


def _move_to_row(storage: UploadStorage, upload: Upload, path: Path) -> int:
    if upload.path.exists():
        path.unlink()  # its name is the hash of its bytes, so it is a copy
    else:
        storage.make_folder(upload.path.parent)
        path.replace(upload.path)
    return 1


def _adopt(storage: UploadStorage, state: UploadState, folder: str, path: Path) -> int:
    try:
        data = read_picture(path, None)
        if hashlib.sha256(data).hexdigest() != path.stem:
            return 0
        verify(data, limits_of(storage.settings))
    except PictureError:
        return 0
    origin = "feedback" if state == "pending" else "upload"
    found = NewUpload(data, path.stem, folder, "", "recovered", "recovered", origin, state, {})  # type: ignore[arg-type]
    insert_row(storage, found)
    return 1


def _mark_missing(storage: UploadStorage, uploads: Sequence[Upload]) -> int:
    gone = [p for p in uploads if p.problem != MISSING and not p.path.is_file()]
    back = [p for p in uploads if p.problem == MISSING and p.path.is_file()]
    storage.change([*((p, {"problem": MISSING}) for p in gone), *((p, {"problem": None}) for p in back)])
    return len(gone)
