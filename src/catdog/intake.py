"""New pictures for retraining: decoded, written anew without metadata, checked, and kept for good before it is said.

What a kill, a full disk or a second sender leaves is always whole: the file is flushed to disk, then the row, then the
sender hears of it. Sending again what was kept adds nothing.
"""

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import func, insert, or_, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from catdog import database, tables
from catdog.choices import PictureState
from catdog.errors import CollectionError, CollectionFullError
from catdog.files import telling_a_full_disk, write_atomically
from catdog.patience import BUSY, why_no_database
from catdog.preprocessing import encode_kept, limits_of
from catdog.settings import Settings
from catdog.split import hash_share
from catdog.uploads import MISSING, Shelf, UploadedPicture, now
from catdog.wording import counted

QUALITY: Final = 95
"""Of the JPEG that is kept. Measured on 196 photographs: the features move by a cosine distance of 0.002 (median)."""


@dataclass(frozen=True)
class Incoming:
    """A picture on its way in: the JPEG to keep, the hash of the bytes that were received, and what is told of it."""

    jpeg: bytes
    source_sha256: str
    folder: str
    name: str
    batch: str
    uploader: str
    origin: Literal["upload", "feedback"]
    state: PictureState
    answer: dict[str, Any]

    @property
    def sha256(self) -> str:
        """Hash of the JPEG."""
        return hashlib.sha256(self.jpeg).hexdigest()


@dataclass(frozen=True)
class Refused:
    """A picture that was not kept, as the sender called it, and why."""

    name: str
    reason: str


@dataclass
class Added:
    """What became of pictures that were sent: `folder` is their class, `files` counts those in archives too."""

    folder: str
    batch: str
    accepted: int = 0
    duplicates: int = 0
    rejected: list[Refused] = field(default_factory=list)

    @property
    def files(self) -> int:
        """All of them."""
        return self.accepted + self.duplicates + len(self.rejected)

    def __str__(self) -> str:
        kept = counted(self.accepted, "picture was", "pictures were")
        return f"{kept} added to {self.folder}; {counted(self.duplicates, 'was', 'were')} there before"


def reencode(data: bytes, settings: Settings) -> bytes:
    """Decode a picture and write it as an upright JPEG of at most 16 million pixels, without any metadata.

    Raises:
        PictureError: it cannot be used; says why.
    """
    return encode_kept(data, QUALITY, limits_of(settings))


def shown_name(name: str) -> str:
    """Cut a client's name of a file to what may be stored and shown; it is never used as a path."""
    printable = "".join(c if c.isprintable() else "?" for c in name.encode("utf-8", "replace").decode())
    return printable[:200]


def keep(shelf: Shelf, incoming: Incoming) -> tuple[UploadedPicture, bool]:
    """Keep a picture; returns it, and whether that changed anything.

    A picture that was removed comes back, under the class it is sent with. Feedback that waits for a person is
    confirmed by an upload under the same class.

    Raises:
        CollectionError: it is kept under another class.
        CollectionFullError: there is no room for it.
    """
    table = tables.uploads
    hashes = (incoming.source_sha256, incoming.sha256)
    with shelf.locked():
        found = shelf.find(or_(table.c.sha256.in_(hashes), table.c.source_sha256.in_(hashes)))
        if found:
            return _meet(shelf, found[0], incoming)
        _require_room(shelf, len(incoming.jpeg))
        _write(shelf.path(incoming.state, incoming.folder, incoming.sha256), incoming.jpeg, shelf)
        try:
            insert_row(shelf, incoming)  # where the process is killed, `repair` takes the file in: it is whole
        except (OperationalError, PoolTimeoutError) as error:
            # Who sent it is told that it was not kept. After any other failure the row may be there all the same.
            if why_no_database(error) == BUSY:
                shelf.path(incoming.state, incoming.folder, incoming.sha256).unlink(missing_ok=True)
            raise
        return shelf.find(table.c.sha256 == incoming.sha256)[0], True


def require_free(settings: Settings, size: int) -> None:
    """Check that the disk has room for so many bytes, and for what is to stay free.

    Raises:
        CollectionFullError: it has not.
    """
    free = shutil.disk_usage(settings.home).free
    if free - size < settings.min_free_bytes:
        raise CollectionFullError(
            f"{settings.min_free_bytes:,} bytes of the disk are to stay free (CATDOG_MIN_FREE_BYTES). "
            f"Received: {free:,} free, and {size:,} to write."
        )


def insert_row(shelf: Shelf, incoming: Incoming) -> None:
    """Add the row of a picture whose file lies in its place."""
    sha256 = incoming.sha256
    with database.durable(shelf.engine) as connection:
        connection.execute(
            insert(tables.uploads).values(
                sha256=sha256,
                source_sha256=incoming.source_sha256,
                folder=incoming.folder,
                batch=incoming.batch,
                uploader=incoming.uploader[:200],
                name=shown_name(incoming.name),
                bytes=len(incoming.jpeg),
                created_at=now(),
                changed_at=now(),
                state=incoming.state,
                origin=incoming.origin,
                held_out=hash_share(sha256, 0) < shelf.settings.test_share,
                checked=False,
                **incoming.answer,
            )
        )


def _meet(shelf: Shelf, known: UploadedPicture, incoming: Incoming) -> tuple[UploadedPicture, bool]:
    """Decide about a picture that was sent before."""
    values: dict[str, Any] = {}
    if not known.path.is_file() and known.sha256 == incoming.sha256:
        _write(known.path, incoming.jpeg, shelf)
        values = {"problem": None if known.problem == MISSING else known.problem}
    if known.state == "removed":
        values |= {"state": incoming.state, "folder": incoming.folder, "batch": incoming.batch, "checked": False}
        values |= {"problem": None, "origin": incoming.origin, "uploader": incoming.uploader[:200]}
        values |= incoming.answer
    elif known.folder != incoming.folder:
        raise CollectionError(
            f"The picture is kept under {known.folder} already, as number {known.id}; to move it, relabel that one or "
            f"remove it first. Received: {incoming.folder}."
        )
    elif known.state == "pending" and incoming.state == "active":
        values |= {"state": "active", "checked": True}
    if values:
        shelf.change([(known, values)])
    return shelf.get([known.id])[0], bool(values)


def _require_room(shelf: Shelf, size: int) -> None:
    settings, table = shelf.settings, tables.uploads
    with shelf.engine.connect() as connection:
        count, kept = connection.execute(select(func.count(), func.coalesce(func.sum(table.c.bytes), 0))).one()
    if count >= settings.max_kept_pictures or kept + size > settings.max_kept_bytes:
        raise CollectionFullError(
            f"At most {settings.max_kept_pictures:,} pictures of {settings.max_kept_bytes:,} bytes together are kept "
            f"for retraining (CATDOG_MAX_KEPT_PICTURES, CATDOG_MAX_KEPT_BYTES); removed ones count until they are "
            f"purged. Received: {count:,} of {kept:,} bytes, and one more of {size:,}."
        )
    require_free(settings, size)


def _write(path: Path, data: bytes, shelf: Shelf) -> None:
    with telling_a_full_disk(len(data)):
        shelf.make_folder(path.parent)
        write_atomically(path, data)
