"""Pictures for retraining: how they come in, and how people look after them.

Nothing is deleted at once: what is removed can be restored until `purge` has its turn. Pictures that the champion is
tested on are refused, so that no upload can reach what measures it.
"""

import hashlib
import io
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import IO, Any, Final

from sqlalchemy import Engine, delete

from catdog import database, tables
from catdog.archive_kinds import why_none, why_part
from catdog.errors import (
    CollectionError,
    CollectionFullError,
    DatasetError,
    DiskFullError,
    NoModelError,
    PictureError,
    PictureTooLargeError,
    RequestError,
    VersionNotFoundError,
)
from catdog.intake import Added, Incoming, Refused, keep, reencode, shown_name
from catdog.labels import match_class
from catdog.patience import Patience
from catdog.prediction import Prediction
from catdog.repair import Repaired, repair
from catdog.settings import Settings
from catdog.store import ModelStore, ModelVersion
from catdog.unpacking import is_zip, read_zip, why_nested
from catdog.uploads import (
    DOUBTED,
    Order,
    Shelf,
    UploadedPicture,
    confirmation,
    count,
    find_page,
    now,
    removal,
    restoration,
)

Source = bytes | IO[bytes]

_BATCH: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")


_ARCHIVE: Final = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|(zip|tar|7z|rar)\.[a-z0-9]+)$", re.IGNORECASE)
"""Names of archives: a file of such a name that is none, and no picture either, is told as what it is."""

_PICTURE: Final = re.compile(rb"\xff\xd8|\x89PNG|RIFF|....ftyp", re.DOTALL)


class Collection:
    """The pictures kept for retraining. Any number of threads and processes may use it."""

    def __init__(self, settings: Settings, engine: Engine, patience: Patience | None = None) -> None:
        self.settings = settings
        self.shelf = Shelf(settings, engine, patience)
        self._store = ModelStore(settings.models_dir)
        self._champion: tuple[ModelVersion, frozenset[str]] | None = None

    def repair(self) -> Repaired:
        """Bring files and rows together after a kill; does nothing where they fit. For the start of a process."""
        return repair(self.shelf, self.classes) if self.shelf.root.is_dir() else Repaired()

    @property
    def classes(self) -> tuple[str, ...]:
        """Folder names of the classes that pictures can be kept under: those of the champion.

        Raises:
            NoModelError: there is no champion.
        """
        return self._current()[0].classes

    @property
    def champion(self) -> int:
        """Number of the version whose classes and test pictures count."""
        return self._current()[0].number

    def add(
        self, pictures: Iterable[tuple[str, Source]], category: str, batch: str | None = None, uploader: str = "cli"
    ) -> Added:
        """Keep pictures of one class; what is said to be accepted is on the disk.

        Args:
            pictures: name, and bytes or an open file, each; a zip stands for the pictures in it.
            category: the class, by folder, shown or key name.
            batch: what they are removed or restored by together; made up where not given.
            uploader: who sent them, such as an address.

        Raises:
            RequestError: no such class, or not a name for a batch.
            CollectionFullError: there is no room for more; says how many were kept.
        """
        added = self.begin(category, batch)
        self.add_to(added, pictures, uploader)
        return added

    def begin(self, category: str, batch: str | None = None) -> Added:
        """Begin what `add` does, for `add_to`: whatever ends that, `Added` says what was kept so far."""
        return Added(self._folder(category), _batch(batch))

    def add_to(self, added: Added, pictures: Iterable[tuple[str, Source]], uploader: str = "cli") -> None:
        """Keep pictures as `add` does, and count them in `added`."""
        room = self.settings.max_upload_files
        for name, source in pictures:
            file = io.BytesIO(source) if isinstance(source, bytes) else source
            try:
                room -= self._add_file(added, name, file, uploader, room)
            except DiskFullError as error:
                raise CollectionFullError(
                    f"{error} Of this upload {added.accepted} were kept, in batch {added.batch}; sending it again adds "
                    "the rest."
                ) from error

    def feedback(self, picture: bytes, right_class: str, prediction: Prediction, uploader: str) -> UploadedPicture:
        """Keep a picture with the class that somebody says is right, until a person confirms it.

        Raises:
            PictureError: it cannot be used; says why.
            RequestError: no such class.
            CollectionError: it is kept under another class, or the model is tested on it.
            DiskFullError: there is no room for it.
        """
        names = ("verdict", "confidence", "novelty", "model_version")
        answer = {name: getattr(prediction, name) for name in names}
        answer["predicted"] = self.classes[prediction.class_id]
        batch = f"feedback-{datetime.now(UTC):%Y%m%d}"
        to_keep = self._prepare(picture, self._folder(right_class), "", batch, uploader, answer)
        return keep(self.shelf, to_keep)[0]

    def active(self) -> list[UploadedPicture]:
        """List what a training may use, the oldest first: active pictures that the review has nothing against.

        A picture that a later champion is tested on is not among them.
        """
        table, tested = tables.uploads, self._current()[1]
        found = self.shelf.find(table.c.state == "active", table.c.problem.is_(None))
        # A held-out upload may be named among the test pictures itself, by the hash of the file that is kept.
        return [p for p in found if p.source_sha256 not in tested or p.source_sha256 == p.sha256]

    def counts(self) -> dict[str, Any]:
        """Count the pictures by state, class and split, and their bytes; ready for JSON."""
        return count(self.shelf, self.classes)

    def page(
        self,
        *,
        offset: int = 0,
        limit: int = 50,
        order: Order = "review",
        ids: Sequence[int] | None = None,
        **filters: str | None,
    ) -> tuple[list[UploadedPicture], int]:
        """List pictures, a page at a time; gives how many there are in all, too.

        Args:
            offset, limit: the page.
            order: `review`, where what most needs a look comes first: feedback that waits, what the review keeps out,
                what the model was unsure of or finds unlike all else; or `newest`.
            ids: numbers of the only pictures that are listed, as far as they are there.
            filters: values of `state`, `folder`, `batch`, `origin`, `uploader`; None stands for any.
        """
        given = {name: value for name, value in filters.items() if value is not None}
        return find_page(self.shelf, offset, limit, order, given, ids)

    def relabel(self, ids: Iterable[int], category: str) -> int:
        """Move pictures to another class; a person has then confirmed them. Otherwise as `remove`.

        Raises:
            RequestError: no such class.
        """
        folder = self._folder(category)
        return self._change(lambda: self.shelf.get(ids), lambda p: {"folder": folder, **confirmation(p)})

    def confirm(self, ids: Iterable[int]) -> int:
        """Take pictures into use, their class being right; feedback needs this. Returns how many there are.

        Raises:
            UploadNotFoundError: no such picture.
            CollectionError: one of them is removed.
        """

        def values(picture: UploadedPicture) -> dict[str, Any]:
            if picture.state == "removed":
                raise CollectionError(f"A removed picture is restored first. Received: number {picture.id}.")
            return {"state": "active", **confirmation(picture)}

        return self._change(lambda: self.shelf.get(ids), values)

    def remove(self, ids: Iterable[int]) -> int:
        """Take pictures out of use; `restore` brings them back. Returns how many there are.

        Raises:
            UploadNotFoundError: no such picture.
        """
        return self._change(lambda: self.shelf.get(ids), removal)

    def restore(self, ids: Iterable[int]) -> int:
        """Bring removed pictures back; feedback that nobody confirmed waits again. Otherwise as `remove`."""
        return self._change(lambda: self.shelf.get(ids), restoration)

    def remove_batch(self, batch: str) -> int:
        """Remove all pictures of a batch; as `remove`."""
        return self._change(lambda: self.shelf.batch(batch), removal)

    def restore_batch(self, batch: str) -> int:
        """Restore all pictures of a batch; as `restore`."""
        return self._change(lambda: self.shelf.batch(batch), restoration)

    def purge(self, older_than_days: float | None = None) -> int:
        """Delete for good what was removed longer ago than that, or than the setting says; returns how many."""
        days = self.settings.removed_days if older_than_days is None else older_than_days
        table = tables.uploads
        with self.shelf.locked():
            old = self.shelf.find(table.c.state == "removed", table.c.changed_at <= now() - timedelta(days=days))
            for picture in old:
                picture.path.unlink(missing_ok=True)
                with database.durable(self.shelf.engine) as connection:
                    connection.execute(delete(table).where(table.c.id == picture.id))
        return len(old)

    def note(self, values: Mapping[int, dict[str, Any]]) -> None:
        """Write what a review found to the rows of pictures, by number; pictures that are gone are passed over."""
        with self.shelf.locked():
            found = [picture for picture in self.shelf.find() if picture.id in values]
            # Who has confirmed a picture since the review began is right.
            confirmed = {p.id for p in found if p.checked and values[p.id].get("problem") == DOUBTED}
            changes = [(p, values[p.id] | ({"problem": None} if p.id in confirmed else {})) for p in found]
            self.shelf.change(changes)

    def _change(
        self, find: Callable[[], list[UploadedPicture]], values: Callable[[UploadedPicture], dict[str, Any]]
    ) -> int:
        with self.shelf.locked():
            found = find()
            self.shelf.change([(picture, values(picture)) for picture in found])
        return len(found)

    def _add_one(self, added: Added, name: str, data: bytes, uploader: str) -> None:
        try:
            prepared = self._prepare(data, added.folder, name, added.batch, uploader)
            _, is_new = keep(self.shelf, prepared)
        except (PictureError, CollectionError) as error:
            added.rejected.append(Refused(shown_name(name), str(error)))
            return
        added.accepted += is_new
        added.duplicates += not is_new

    def _add_file(self, added: Added, name: str, file: IO[bytes], uploader: str, room: int) -> int:
        """Keep a picture, or those in a zip; gives how many of the `room` that files in zips have were used."""
        settings, before = self.settings, added.files
        limits = {"max_file_bytes": settings.max_upload_bytes, "max_bytes": settings.max_upload_total_bytes}
        try:
            if not is_zip(file):
                start = file.read(512)
                file.seek(0)
                if _ARCHIVE.search(name) and not _PICTURE.match(start):
                    raise DatasetError(why_none(name, start))
                self._add_one(added, name, file.read(settings.max_upload_bytes + 1), uploader)
                return 0
            for member, data in read_zip(file, max_files=room, **limits):
                if why := why_nested(data):
                    added.rejected.append(Refused(shown_name(f"{name}/{member}"), why))
                else:
                    self._add_one(added, f"{name}/{member}", data, uploader)
            if added.files == before:
                added.rejected.append(Refused(shown_name(name), "The zip is empty: there are no pictures in it."))
        except DatasetError as error:
            said = why_part(name) or str(error)
            added.rejected.append(Refused(shown_name(name), f"The {_kind(name)} cannot be used. {said}"))
        return added.files - before

    def _prepare(
        self, data: bytes, folder: str, name: str, batch: str, uploader: str, answer: dict[str, Any] | None = None
    ) -> Incoming:
        """Make of received bytes what is kept; `answer` makes it feedback."""
        if len(data) > (most := self.settings.max_upload_bytes):
            raise PictureTooLargeError(
                f"The picture is too large; at most {most:,} bytes are allowed (CATDOG_MAX_UPLOAD_BYTES). "
                "Received: more."
            )
        digest = hashlib.sha256(data).hexdigest()
        if digest in self._current()[1]:
            raise CollectionError(
                "The model is measured on this picture; trained on it, the measurement would mean nothing. "
                f"Received: a test picture, SHA-256 {digest[:12]}…."
            )
        jpeg = reencode(data, self.settings)
        if answer is None:
            return Incoming(jpeg, digest, folder, name, batch, uploader, "upload", "active", {})
        return Incoming(jpeg, digest, folder, name, batch, uploader, "feedback", "pending", answer)

    def _folder(self, category: str) -> str:
        index = match_class(category, self.classes)
        if index is None:
            raise RequestError(f"The class must be one of {', '.join(self.classes)}. Received: {category[:100]!r}")
        return self.classes[index]

    def _current(self) -> tuple[ModelVersion, frozenset[str]]:
        """Give the champion and the hashes of its test pictures; read again only where it was replaced."""
        number = self._store.champion()
        if self._champion is None or self._champion[0].number != number:
            try:
                version = self._store.get(number)
            except VersionNotFoundError as error:
                raise NoModelError(f"Pictures are kept under the classes of a model. {error}") from error
            self._champion = version, frozenset(version.test_hashes() | _replayed(version))
        return self._champion


def _kind(name: str) -> str:
    """Say what a file that cannot be opened as an archive is meant to be, by its name."""
    return "zip" if name.casefold().endswith(".zip") else "archive"


def _replayed(version: ModelVersion) -> set[str]:
    replay = version.replay()
    return replay.test_hashes() if replay else set()


def _batch(name: str | None) -> str:
    if name is None:
        return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    if not _BATCH.fullmatch(name):
        raise RequestError(f"A batch is named by 1 to 32 of A-Z, a-z, 0-9, _ and -. Received: {name[:100]!r}")
    return name
