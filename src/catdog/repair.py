"""Files and rows of pictures for retraining, brought together after a kill or a lost database."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from catdog.choices import PictureState
from catdog.errors import PictureError
from catdog.intake import Incoming, insert_row
from catdog.preprocessing import limits_of, read_picture, verify
from catdog.uploads import MISSING, STATES, Shelf, UploadedPicture

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Repaired:
    """What a repair did: rows made for files, files moved to where their rows say, rows without a file, rests."""

    adopted: int = 0
    moved: int = 0
    missing: int = 0
    removed: int = 0


def repair(shelf: Shelf, classes: Sequence[str]) -> Repaired:
    """Bring files and rows together; where they fit, nothing is changed, so that it can be run again.

    - What is left of a file that was being written is deleted.
    - A file in another place than its row says is moved there: the row is right.
    - A row whose file is nowhere is told as a problem; it is whole again when the picture is sent again.
    - A file without a row gets one, if it is whole: nobody was told that it was kept, but nothing is lost where the
      database was. Files that catdog did not write are left alone.
    """
    with shelf.locked():
        removed = _remove_rests(shelf, classes)
        rows = {picture.sha256: picture for picture in shelf.find()}
        moved = adopted = 0
        for state, folder, path in list(_files(shelf, classes)):
            picture = rows.get(path.stem)
            if picture is None:
                adopted += _adopt(shelf, state, folder, path)
            elif path != picture.path:
                moved += _put_right(shelf, picture, path)
        missing = _note_missing(shelf, list(rows.values()))
    done = Repaired(adopted, moved, missing, removed)
    if done != Repaired():
        _log.warning("Pictures for retraining were put in order: %s", done)
    return done


def _files(shelf: Shelf, classes: Sequence[str]) -> Iterator[tuple[PictureState, str, Path]]:
    for state in STATES:
        for folder in classes:
            for path in sorted(shelf.path(state, folder, "").parent.glob("*.jpg")):
                if not path.name.startswith("."):
                    yield state, folder, path


def _remove_rests(shelf: Shelf, classes: Sequence[str]) -> int:
    """Delete temporary files; nobody writes one while the lock is held here."""
    rests = [p for s in STATES for c in classes for p in shelf.path(s, c, "").parent.glob(".*.jpg-*") if p.is_file()]
    for path in rests:
        path.unlink(missing_ok=True)
    return len(rests)


def _put_right(shelf: Shelf, picture: UploadedPicture, path: Path) -> int:
    if picture.path.exists():
        path.unlink()  # its name is the hash of its bytes: it is the same
    else:
        shelf.make_folder(picture.path.parent)
        path.replace(picture.path)
    return 1


def _adopt(shelf: Shelf, state: PictureState, folder: str, path: Path) -> int:
    settings = shelf.settings
    try:
        data = read_picture(path, None)
        if hashlib.sha256(data).hexdigest() != path.stem:
            return 0
        verify(data, limits_of(settings))
    except PictureError:
        return 0
    origin = "feedback" if state == "pending" else "upload"
    found = Incoming(data, path.stem, folder, "", "recovered", "recovered", origin, state, {})  # type: ignore[arg-type]
    insert_row(shelf, found)
    return 1


def _note_missing(shelf: Shelf, pictures: Sequence[UploadedPicture]) -> int:
    gone = [p for p in pictures if p.problem != MISSING and not p.path.is_file()]
    back = [p for p in pictures if p.problem == MISSING and p.path.is_file()]
    shelf.change([*((p, {"problem": MISSING}) for p in gone), *((p, {"problem": None}) for p in back)])
    return len(gone)
