"""Stores uploads, the images for retraining: one file and one table row each.

    retrain_data/<class>/<sha256>.jpg             active: the next training uses it
    retrain_data/.pending/<class>/<sha256>.jpg    feedback, until a person confirms it
    retrain_data/.removed/<class>/<sha256>.jpg    removed, until it is restored or purged

A file is complete before its row exists. If they disagree, the row counts. All changes happen under one lock, shared by
all processes.
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

from catdog.errors import DatabaseBusyError, UploadNotFoundError
from catdog.settings import Settings
from catdog.storage import database, tables
from catdog.storage.contention import BRIEF_SECONDS, BUSY, MOVING_SECONDS, WaitLimit
from catdog.storage.files import sync_folder
from catdog.types import UploadState

Order = Literal["review", "newest"]
MAX_ID: Final = 2**31 - 1
"""Largest ID of an upload; PostgreSQL can't compare with a larger one."""

STATES: Final[tuple[UploadState, ...]] = ("active", "pending", "removed")
_FOLDERS: Final[dict[UploadState, str]] = {"active": "", "pending": ".pending", "removed": ".removed"}

# Rows store these sentences; if you reword one, add the earlier text to _EARLIER_PROBLEMS.
MISSING: Final = "The file is missing. Upload the image again."
NEAR_COPY: Final = "Nearly identical to an image in the test set."
DOUBTED: Final = "Too many labels of its batch look wrong."
LASTING: Final = (MISSING, NEAR_COPY)
"""Problems that remain when the class is confirmed."""

_EARLIER_PROBLEMS: Final = {
    "The file is missing; send the picture again.": MISSING,
    "It is nearly the same as a picture that the model is tested on.": NEAR_COPY,
}

_UNCERTAIN: Final = ("neither", "unsure")  # verdicts, as in `predictor.py`
_PRIVATE: Final = ("path", "folder", "source_sha256")
_POLL_SECONDS: Final = 0.005  # the lock is held about this long per image
_CHUNK: Final = 500  # ids in one SQL statement


@dataclass(frozen=True)
class Upload:
    """A row of the table `uploads` and the path of its file."""

    id: int
    sha256: str
    source_sha256: str
    path: Path
    folder: str
    batch: str
    held_out: bool
    created_at: datetime
    state: UploadState
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
        """Return the public fields, ready for JSON."""
        shown = {key: value for key, value in vars(self).items() if key not in _PRIVATE}
        return {**shown, "category": self.folder, "created_at": self.created_at.isoformat(timespec="seconds") + "Z"}


class UploadStorage:
    """The files and rows of the uploads. Hold the lock while calling a method that changes something."""

    def __init__(self, settings: Settings, engine: Engine, patience: WaitLimit | None = None) -> None:
        self.settings = settings
        self.engine = engine
        self.root = settings.retrain_dir
        self._patience = patience or WaitLimit()
        self._lock_path = self.root / ".lock"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock that lets one thread of one process at a time change uploads.

        Raises:
            DatabaseBusyError: the lock wasn't available in time.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with self._patience.turn(self._was_just_taken) as seconds, self._acquire(seconds):
            with contextlib.suppress(OSError):
                os.utime(self._lock_path)  # shows waiting processes that the lock changes hands
            yield

    def _acquire(self, seconds: float) -> contextlib.AbstractContextManager[BaseFileLock]:
        until = time.monotonic() + MOVING_SECONDS
        while True:
            try:
                return FileLock(self._lock_path).acquire(seconds, poll_interval=_POLL_SECONDS)
            except Timeout as error:
                if not self._was_just_taken() or time.monotonic() > until:
                    raise DatabaseBusyError(BUSY) from error

    def _was_just_taken(self) -> bool:
        """Return whether the lock was taken a moment ago; only `locked` sets its file's access time."""
        try:
            return time.time() - self._lock_path.stat().st_atime < BRIEF_SECONDS
        except OSError:
            return False

    def path(self, state: UploadState, folder: str, sha256: str) -> Path:
        """Return the path of an upload's file; `folder` must be a class of the model."""
        return self.root / _FOLDERS[state] / folder / f"{sha256}.jpg"

    def make_folder(self, folder: Path) -> None:
        """Create a class folder and flush it to disk."""
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            for above in (folder.parent, self.root, self.root.parent):
                sync_folder(above)

    def find(self, *conditions: Any) -> list[Upload]:
        """Return the uploads that match all conditions, oldest first."""
        return self.run(select(tables.uploads).where(*conditions).order_by(tables.uploads.c.id))

    def run(self, query: Select[Any]) -> list[Upload]:
        """Return the uploads that a query on the whole table selects."""
        with self.engine.connect() as connection:
            return [self._upload(row) for row in connection.execute(query)]

    def get(self, ids: Iterable[int]) -> list[Upload]:
        """Return uploads by ID.

        Raises:
            UploadNotFoundError: one of the IDs doesn't exist.
        """
        wanted = sorted(set(ids))
        found: list[Upload] = []
        possible = [number for number in wanted if number <= MAX_ID]
        for start in range(0, len(possible), _CHUNK):
            found += self.find(tables.uploads.c.id.in_(possible[start : start + _CHUNK]))
        if missing := sorted(set(wanted) - {upload.id for upload in found}):
            shown = ", ".join(map(str, missing[:10]))
            raise UploadNotFoundError(f"No upload with ID {shown}. List the uploads to see their IDs.")
        return found

    def batch(self, name: str) -> list[Upload]:
        """Return the uploads of a batch.

        Raises:
            UploadNotFoundError: there is no such batch.
        """
        found = self.find(tables.uploads.c.batch == name) if database.is_storable(name) else []
        if not found:
            raise UploadNotFoundError(f"No batch {name[:100]!r}.")
        return found

    def change(self, changes: Sequence[tuple[Upload, dict[str, Any]]]) -> None:
        """Change values of uploads and move their files accordingly; all changes or none."""
        moved: list[tuple[Path, Path]] = []
        try:
            with database.durable(self.engine) as connection:
                for upload, values in changes:
                    if values:
                        self._set(connection, upload, values)
                        moved += self._move(upload, values)
                for folder in {path.parent for move in moved for path in move}:
                    sync_folder(folder)
        except BaseException:
            for source, target in reversed(moved):
                target.replace(source)
            raise

    def _set(self, connection: Connection, upload: Upload, values: dict[str, Any]) -> None:
        moves = {"changed_at": now()} if {"state", "folder"} & values.keys() else {}
        connection.execute(update(tables.uploads).where(tables.uploads.c.id == upload.id).values(**values, **moves))

    def _move(self, upload: Upload, values: dict[str, Any]) -> list[tuple[Path, Path]]:
        """Move the file to its new place; return the old and the new path if it moved."""
        state, folder = values.get("state", upload.state), values.get("folder", upload.folder)
        target = self.path(state, folder, upload.sha256)
        if target == upload.path or not upload.path.exists():  # `repair` reports a missing file
            return []
        self.make_folder(target.parent)
        upload.path.replace(target)
        return [(upload.path, target)]

    def _upload(self, row: Row[Any]) -> Upload:
        values = dict(row._mapping)
        values = {name: values[name] for name in Upload.__dataclass_fields__ if name != "path"}
        values["problem"] = _EARLIER_PROBLEMS.get(row.problem, row.problem)
        return Upload(path=self.path(row.state, row.folder, row.sha256), **values)


def confirmation(upload: Upload) -> dict[str, Any]:
    """Return the values of an upload whose class a person has confirmed."""
    # A test image stays unusable for training.
    return {"checked": True} if upload.problem in LASTING else {"checked": True, "problem": None}


def removal(upload: Upload) -> dict[str, Any]:
    """Return the values of a removed upload; none if it is removed already, to keep its purge date."""
    return {} if upload.state == "removed" else {"state": "removed"}


def restoration(upload: Upload) -> dict[str, Any]:
    """Return the values of a restored upload."""
    if upload.state != "removed":
        return {}
    return {"state": "pending" if upload.origin == "feedback" and not upload.checked else "active"}


def count(storage: UploadStorage, classes: Sequence[str]) -> dict[str, Any]:
    """Count uploads by state and class, and their bytes; ready for JSON.

    `kept_out` and `held_out` count active uploads only: those with a problem, and those reserved for testing.
    """
    table = tables.uploads
    keys = (table.c.state, table.c.folder, table.c.held_out, table.c.problem.is_not(None))
    result: dict[str, Any] = {"total": 0, "bytes": 0, "held_out": 0, "kept_out": 0}
    result |= {state: dict.fromkeys(classes, 0) for state in STATES}
    with storage.engine.connect() as connection:
        rows = connection.execute(select(*keys, func.count(), func.sum(table.c.bytes)).group_by(*keys))
        for state, folder, held_out, kept_out, number, size in rows:
            result["total"] += number
            result["bytes"] += int(size)
            result[state][folder] = result[state].get(folder, 0) + number
            if state == "active":
                result["kept_out" if kept_out else "held_out"] += number if kept_out or held_out else 0
    return result


def find_page(
    storage: UploadStorage,
    offset: int,
    limit: int,
    order: Order,
    filters: Mapping[str, str],
    ids: Sequence[int] | None = None,
) -> tuple[list[Upload], int]:
    """Return one page of uploads and the number on all pages; see `Uploads.page`."""
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
    with storage.engine.connect() as connection:
        total = connection.scalar(select(func.count()).select_from(table).where(*conditions)) or 0
    return storage.run(select(table).where(*conditions).order_by(*by).offset(offset).limit(limit)), total


def now() -> datetime:
    """Return the time as the table stores it: UTC, without a time zone."""
    return datetime.now(UTC).replace(tzinfo=None)
