"""Turns an image into an upload: checks it, re-encodes it without metadata, and stores it durably.

The file is flushed first, then the row, and only then does the client get a response. A kill, a full disk or a
concurrent request leaves nothing half-written, and sending the same image again changes nothing.
"""

import hashlib
import re
import secrets
import shutil
from collections.abc import Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import func, insert, or_, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from catdog.data.images.pixels import encode_kept, limits_of
from catdog.data.split import hash_share
from catdog.errors import PictureTooLargeError, RequestError, UploadConflictError, UploadsFullError
from catdog.retraining.uploads.storage import MISSING, Upload, UploadStorage, now
from catdog.settings import Settings
from catdog.storage import database, tables
from catdog.storage.contention import BUSY, why_no_database
from catdog.storage.files import disk_full_errors, write_atomically
from catdog.text import counted
from catdog.types import UploadState

QUALITY: Final = 95
"""JPEG quality of stored images. It changes the features of 196 photographs by a median cosine distance of 0.002."""

_BATCH: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")


@dataclass(frozen=True)
class NewUpload:
    """An image to store: the JPEG, the hash of the received bytes, and the values of its row."""

    jpeg: bytes
    source_sha256: str
    folder: str
    name: str
    batch: str
    uploader: str
    origin: Literal["upload", "feedback"]
    state: UploadState
    answer: dict[str, Any]

    @property
    def sha256(self) -> str:
        """Hash of the JPEG."""
        return hashlib.sha256(self.jpeg).hexdigest()


@dataclass(frozen=True)
class RejectedFile:
    """A file that wasn't stored, with its client-side name and the reason."""

    name: str
    reason: str


@dataclass
class Added:
    """Result of adding images to the class `folder`; `files` includes those in archives."""

    folder: str
    batch: str
    accepted: int = 0
    duplicates: int = 0
    rejected: list[RejectedFile] = field(default_factory=list)

    @property
    def files(self) -> int:
        """Number of all files."""
        return self.accepted + self.duplicates + len(self.rejected)

    def reject(self, name: str, reason: object) -> None:
        """Count a file that wasn't stored."""
        self.rejected.append(RejectedFile(printable_name(name), str(reason)))

    def __str__(self) -> str:
        added = counted(self.accepted, "image", "images")
        return f"{added} added to {self.folder}, {counted(self.duplicates, 'duplicate')} skipped"


def reencode(data: bytes, settings: Settings) -> bytes:
    """Return the image as an upright JPEG of at most 16 million pixels, without any metadata.

    Raises:
        PictureError: the image can't be used; the message says why.
    """
    return encode_kept(data, QUALITY, limits_of(settings))


def printable_name(name: str) -> str:
    """Return a client's file name, shortened and safe to store and show; never use it as a path."""
    printable = "".join(c if c.isprintable() else "?" for c in name.encode("utf-8", "replace").decode())
    return printable[:200]


def batch_name(name: str | None) -> str:
    """Return a batch's name, checked if it is given and generated if not.

    Raises:
        RequestError: the name isn't valid.
    """
    if name is None:
        return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    if not _BATCH.fullmatch(name):
        raise RequestError(f"Invalid batch name {name[:100]!r}. Use 1 to 32 of A-Z, a-z, 0-9, _ and -.")
    return name


def prepare(
    data: bytes,
    settings: Settings,
    tested: Set[str],
    sent: tuple[str, str, str, str],
    *,
    feedback: dict[str, Any] | None = None,
) -> NewUpload:
    """Check received bytes and convert them to a new upload.

    Args:
        data: bytes of the image file.
        settings: the limits.
        tested: hashes of the champion's test images.
        sent: class folder, name, batch and uploader.
        feedback: the champion's prediction, for feedback, which is pending.

    Raises:
        PictureError: the image can't be used; says why.
        UploadConflictError: it is a test image.
    """
    if len(data) > (most := settings.max_upload_bytes):
        raise PictureTooLargeError(
            f"The image is larger than {most:,} bytes. Send a smaller one, or raise CATDOG_MAX_UPLOAD_BYTES."
        )
    digest = hashlib.sha256(data).hexdigest()
    if digest in tested:
        raise UploadConflictError(
            "This image is in the test set, so training on it would make the model's test results meaningless. Its "
            f"SHA-256 begins with {digest[:12]}."
        )
    jpeg = reencode(data, settings)
    if feedback is None:
        return NewUpload(jpeg, digest, *sent, "upload", "active", {})
    return NewUpload(jpeg, digest, *sent, "feedback", "pending", feedback)


def store(storage: UploadStorage, new: NewUpload) -> tuple[Upload, bool]:
    """Store an image; return its upload and whether that changed anything.

    A removed image is restored with its new class. Pending feedback is confirmed by an upload with the same class.

    Raises:
        UploadConflictError: the image is stored under another class.
        UploadsFullError: there is no room for it.
    """
    table = tables.uploads
    hashes = (new.source_sha256, new.sha256)
    with storage.locked():
        found = storage.find(or_(table.c.sha256.in_(hashes), table.c.source_sha256.in_(hashes)))
        if found:
            return _store_again(storage, found[0], new)
        _require_room(storage, len(new.jpeg))
        path = storage.path(new.state, new.folder, new.sha256)
        _write(path, new.jpeg, storage)
        try:
            insert_row(storage, new)  # after a kill here, `repair` adds the row
        except (OperationalError, PoolTimeoutError) as error:
            # Nothing was stored, as the client is told. After other failures the row may exist.
            if why_no_database(error) == BUSY:
                path.unlink(missing_ok=True)
            raise
        return storage.find(table.c.sha256 == new.sha256)[0], True


def require_free(settings: Settings, size: int) -> None:
    """Check that the disk has room for `size` bytes plus the reserve.

    Raises:
        UploadsFullError: it doesn't.
    """
    free = shutil.disk_usage(settings.home).free
    if free - size < settings.min_free_bytes:
        raise UploadsFullError(
            f"Not enough disk space for {size:,} bytes: {free:,} are free, and {settings.min_free_bytes:,} must stay "
            "free. Free some space, or lower CATDOG_MIN_FREE_BYTES."
        )


def insert_row(storage: UploadStorage, new: NewUpload) -> None:
    """Insert the row of an upload whose file is in place."""
    sha256 = new.sha256
    with database.durable(storage.engine) as connection:
        connection.execute(
            insert(tables.uploads).values(
                sha256=sha256,
                source_sha256=new.source_sha256,
                folder=new.folder,
                batch=new.batch,
                uploader=new.uploader[:200],
                name=printable_name(new.name),
                bytes=len(new.jpeg),
                created_at=now(),
                changed_at=now(),
                state=new.state,
                origin=new.origin,
                held_out=hash_share(sha256, 0) < storage.settings.test_share,
                checked=False,
                **new.answer,
            )
        )


def _store_again(storage: UploadStorage, known: Upload, new: NewUpload) -> tuple[Upload, bool]:
    """Store an image that was sent before; like `store`."""
    values: dict[str, Any] = {}
    if not known.path.is_file() and known.sha256 == new.sha256:
        _write(known.path, new.jpeg, storage)
        values = {"problem": None if known.problem == MISSING else known.problem}
    if known.state == "removed":
        values |= {"state": new.state, "folder": new.folder, "batch": new.batch, "checked": False}
        values |= {"problem": None, "origin": new.origin, "uploader": new.uploader[:200]}
        values |= new.answer
    elif known.folder != new.folder:
        raise UploadConflictError(
            f"This image is already stored under {known.folder} (ID {known.id}), so it wasn't added to {new.folder}. "
            "To move it, relabel it."
        )
    elif known.state == "pending" and new.state == "active":
        values |= {"state": "active", "checked": True}
    if values:
        storage.change([(known, values)])
    return storage.get([known.id])[0], bool(values)


def _require_room(storage: UploadStorage, size: int) -> None:
    settings, table = storage.settings, tables.uploads
    with storage.engine.connect() as connection:
        number, kept = connection.execute(select(func.count(), func.coalesce(func.sum(table.c.bytes), 0))).one()
    if number >= settings.max_kept_pictures or kept + size > settings.max_kept_bytes:
        raise UploadsFullError(
            f"No room for another image of {size:,} bytes: {number:,} of {settings.max_kept_pictures:,} images and "
            f"{kept:,} of {settings.max_kept_bytes:,} bytes are in use, including removed images. Purge removed "
            "images, or raise CATDOG_MAX_KEPT_PICTURES or CATDOG_MAX_KEPT_BYTES."
        )
    require_free(settings, size)


def _write(path: Path, data: bytes, storage: UploadStorage) -> None:
    with disk_full_errors(len(data)):
        storage.make_folder(path.parent)
        write_atomically(path, data)
