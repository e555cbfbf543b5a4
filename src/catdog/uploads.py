"""Pictures kept for retraining: a file and a row each, and how the two stay together.

    retrain_data/<class>/<sha256>.jpg             active: the next training uses it
    retrain_data/.pending/<class>/<sha256>.jpg    feedback that waits for a person to confirm it
    retrain_data/.removed/<class>/<sha256>.jpg    out of use, until it is restored or purged

A file is whole before its row says so, and the row is right where the two differ. Whoever changes something holds one
lock, over all processes.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from filelock import BaseFileLock, FileLock, Timeout
from sqlalchemy import Connection, Engine, Row, Select, case, func, select, update

from catdog import database, tables
from catdog.choices import PictureState
from catdog.errors import DatabaseBusyError, UploadNotFoundError
from catdog.files import sync_folder
from catdog.patience import BRIEF_SECONDS, BUSY, MOVING_SECONDS, Patience
from catdog.settings import Settings

Order = Literal["review", "newest"]
MAX_ID: Final = 2**31 - 1
"""Largest number that a picture can have; PostgreSQL cannot even compare with more."""

STATES: Final[tuple[PictureState, ...]] = ("active", "pending", "removed")
_HOLDERS: Final[dict[PictureState, str]] = {"active": "", "pending": ".pending", "removed": ".removed"}

MISSING: Final = "The file is missing; send the picture again."
NEAR_COPY: Final = "It is nearly the same as a picture that the model is tested on."
DOUBTED: Final = "Too many labels of its batch look wrong."
LASTING: Final = (MISSING, NEAR_COPY)
"""Problems that stay when a person confirms the class."""

_UNCERTAIN: Final = ("neither", "unsure")  # as prediction.py names them, which lies above
_NOT_SHOWN: Final = ("path", "folder", "source_sha256")
_POLL_SECONDS: Final = 0.005  # how long the lock is held for a picture, or less
_CHUNK: Final = 500  # names in one SQL statement


@dataclass(frozen=True)
class UploadedPicture:
    """A row of the table `uploads`, and where its file lies."""

    id: int
    sha256: str
    source_sha256: str
    path: Path
    folder: str
    batch: str
    held_out: bool
    created_at: datetime
    state: PictureState
    origin: Literal["upload", "feedback"]
    uploader: str
    name: str
    bytes: int
    checked: bool
    problem: str | None
    predicted: str | None
    verdict: str | None
    confidence: float | None
    novelty: float | None
    model_version: int | None

    def as_dict(self) -> dict[str, Any]:
        """Give the row in its public form, ready for JSON."""
        shown = {key: value for key, value in vars(self).items() if key not in _NOT_SHOWN}
        return {**shown, "category": self.folder, "created_at": self.created_at.isoformat(timespec="seconds") + "Z"}


class Shelf:
    """The files and rows. Methods that change something are called with the lock held."""

    def __init__(self, settings: Settings, engine: Engine, patience: Patience | None = None) -> None:
        self.settings = settings
        self.engine = engine
        self.root = settings.retrain_dir
        self._patience = patience or Patience()
        self._lock_path = self.root / ".lock"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock that lets one thread of one process at a time change something.

        Raises:
            DatabaseBusyError: others hold it for longer than is waited.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with self._patience.turn(self._is_moving) as seconds, self._acquire(seconds):
            with contextlib.suppress(OSError):
                os.utime(self._lock_path)  # those who wait see by it that the lock goes from hand to hand
            yield

    def _acquire(self, seconds: float) -> contextlib.AbstractContextManager[BaseFileLock]:
        until = time.monotonic() + MOVING_SECONDS
        while True:
            try:
                return FileLock(self._lock_path).acquire(seconds, poll_interval=_POLL_SECONDS)
            except Timeout as error:
                if not self._is_moving() or time.monotonic() > until:
                    raise DatabaseBusyError(BUSY) from error

    def _is_moving(self) -> bool:
        """Tell whether somebody got the lock a moment ago: its file's time of access is set by nobody else."""
        try:
            return time.time() - self._lock_path.stat().st_atime < BRIEF_SECONDS
        except OSError:
            return False

    def path(self, state: PictureState, folder: str, sha256: str) -> Path:
        """Say where the file of a picture lies; `folder` must be a class of the model."""
        return self.root / _HOLDERS[state] / folder / f"{sha256}.jpg"

    def make_folder(self, folder: Path) -> None:
        """Make a class folder, and see to it that it is on the disk."""
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            for above in (folder.parent, self.root, self.root.parent):
                sync_folder(above)

    def find(self, *conditions: Any) -> list[UploadedPicture]:
        """Find rows, the oldest first."""
        return self.run(select(tables.uploads).where(*conditions).order_by(tables.uploads.c.id))

    def run(self, query: Select[Any]) -> list[UploadedPicture]:
        """Read the rows of a query over the whole table."""
        with self.engine.connect() as connection:
            return [self._picture(row) for row in connection.execute(query)]

    def get(self, ids: Iterable[int]) -> list[UploadedPicture]:
        """Find pictures by their numbers.

        Raises:
            UploadNotFoundError: one of them is not there.
        """
        wanted = sorted(set(ids))
        found: list[UploadedPicture] = []
        possible = [number for number in wanted if number <= MAX_ID]
        for start in range(0, len(possible), _CHUNK):
            found += self.find(tables.uploads.c.id.in_(possible[start : start + _CHUNK]))
        if missing := set(wanted) - {picture.id for picture in found}:
            raise UploadNotFoundError(
                f"There is no such picture among those for retraining. Received: {sorted(missing)[:10]}"
            )
        return found

    def batch(self, name: str) -> list[UploadedPicture]:
        """Find the pictures of a batch.

        Raises:
            UploadNotFoundError: there is no such batch.
        """
        found = self.find(tables.uploads.c.batch == name) if database.is_storable(name) else []
        if not found:
            raise UploadNotFoundError(f"There is no such batch of pictures. Received: {name[:100]!r}")
        return found

    def change(self, changes: Sequence[tuple[UploadedPicture, dict[str, Any]]]) -> None:
        """Give pictures new values, and move their files to where the values say; all of it or nothing."""
        moved: list[tuple[Path, Path]] = []
        try:
            with database.durable(self.engine) as connection:
                for picture, values in changes:
                    if not values:
                        continue
                    self._set(connection, picture, values)
                    state, folder = values.get("state", picture.state), values.get("folder", picture.folder)
                    target = self.path(state, folder, picture.sha256)
                    if target != picture.path and picture.path.exists():  # where it is missing, `repair` says so
                        self.make_folder(target.parent)
                        picture.path.replace(target)
                        moved.append((picture.path, target))
                for folder_changed in {path.parent for move in moved for path in move}:
                    sync_folder(folder_changed)
        except BaseException:
            for source, target in reversed(moved):
                target.replace(source)
            raise

    def _set(self, connection: Connection, picture: UploadedPicture, values: dict[str, Any]) -> None:
        moves = {"changed_at": now()} if {"state", "folder"} & values.keys() else {}
        connection.execute(update(tables.uploads).where(tables.uploads.c.id == picture.id).values(**values, **moves))

    def _picture(self, row: Row[Any]) -> UploadedPicture:
        values = dict(row._mapping)
        values = {name: values[name] for name in UploadedPicture.__dataclass_fields__ if name != "path"}
        return UploadedPicture(path=self.path(row.state, row.folder, row.sha256), **values)


def confirmation(picture: UploadedPicture) -> dict[str, Any]:
    """Give the values of a picture whose class a person has confirmed."""
    # What a person says about the class does not make a test picture fit for training.
    return {"checked": True} if picture.problem in LASTING else {"checked": True, "problem": None}


def removal(picture: UploadedPicture) -> dict[str, Any]:
    """Give the values of a picture that is removed; the days of one that is removed already run on."""
    return {} if picture.state == "removed" else {"state": "removed"}


def restoration(picture: UploadedPicture) -> dict[str, Any]:
    """Give the values of a picture that comes back."""
    if picture.state != "removed":
        return {}
    return {"state": "pending" if picture.origin == "feedback" and not picture.checked else "active"}


def count(shelf: Shelf, classes: Sequence[str]) -> dict[str, Any]:
    """Count the pictures by state and class, and their bytes; ready for JSON.

    Of the active ones, `kept_out` are those that the review has something against, and `held_out` are for testing.
    """
    table = tables.uploads
    keys = (table.c.state, table.c.folder, table.c.held_out, table.c.problem.is_not(None))
    result: dict[str, Any] = {"total": 0, "bytes": 0, "held_out": 0, "kept_out": 0}
    result |= {state: dict.fromkeys(classes, 0) for state in STATES}
    with shelf.engine.connect() as connection:
        rows = connection.execute(select(*keys, func.count(), func.sum(table.c.bytes)).group_by(*keys))
        for state, folder, held_out, kept_out, number, size in rows:
            result["total"] += number
            result["bytes"] += int(size)
            result[state][folder] = result[state].get(folder, 0) + number
            if state == "active":
                result["kept_out" if kept_out else "held_out"] += number if kept_out or held_out else 0
    return result


def find_page(
    shelf: Shelf, offset: int, limit: int, order: Order, filters: Mapping[str, str], ids: Sequence[int] | None = None
) -> tuple[list[UploadedPicture], int]:
    """List pictures, and say how many there are in all; see `Collection.page`."""
    table = tables.uploads
    conditions = [table.c[name] == value for name, value in filters.items()]
    if ids is not None:
        conditions.append(table.c.id.in_(ids))
    urgency = case(
        (table.c.state == "pending", 0),
        (table.c.state == "removed", 4),
        (table.c.problem.is_not(None), 1),
        (table.c.verdict.in_(_UNCERTAIN) & ~table.c.checked, 2),
        else_=3,
    )
    contradicted = case((table.c.predicted != table.c.folder, 0), else_=1)
    by = (urgency, contradicted, table.c.id.desc()) if order == "review" else (table.c.id.desc(),)
    with shelf.engine.connect() as connection:
        total = connection.scalar(select(func.count()).select_from(table).where(*conditions)) or 0
    return shelf.run(select(table).where(*conditions).order_by(*by).offset(offset).limit(limit)), total


def now() -> datetime:
    """Give the time as the table keeps it: UTC, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)
