"""Model versions on disk: complete or absent, checksummed, one of them the champion.

    models/<n>/             a version (see `version.py`)
    models/backbones/<id>/  shared by all versions on that backbone (see `backbone.py`)
    models/champion.json    the version in use and the history of promotions, replaced by rename

A version is written to a temporary folder, flushed, and renamed to the next free number, which also works for
concurrent trainings. Versions are immutable.
"""

import contextlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from filelock import FileLock

from catdog.errors import StoreError, VersionCorruptError, VersionNotFoundError
from catdog.features.backbone import Backbone, load_backbone
from catdog.registry.version import FORMAT, ModelVersion, read_metadata, write_metadata
from catdog.storage.files import (
    DigestMemory,
    file_sha256,
    read_document,
    require_checksums,
    sync_folder,
    sync_tree,
    write_json,
)

__all__ = ["ModelStore", "ModelVersion", "Promotion", "read_metadata", "remove_leftovers"]

CHAMPION: Final = "champion.json"
HISTORY_LENGTH: Final = 1000


@dataclass(frozen=True)
class Promotion:
    """One change of champion: the version, the time (UTC, ISO 8601) and the reason."""

    version: int
    at: str
    reason: str


class ModelStore:
    """The versions under one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._digests = DigestMemory()

    def _available(self) -> str:
        return ", ".join(map(str, self.numbers())) or "none"

    def numbers(self) -> list[int]:
        """List the numbers of all versions, lowest first."""
        if not self.folder.is_dir():
            return []
        return sorted(int(p.name) for p in self.folder.iterdir() if _NUMBER.fullmatch(p.name) and p.is_dir())

    def get(self, number: int | None = None) -> ModelVersion:
        """Return a version, by default the champion, after checking its files.

        Raises:
            VersionNotFoundError: there is no such version, or no champion yet.
            VersionCorruptError: its files are missing or changed.
        """
        if number is None:
            number = self.champion()
            if number is None:
                raise VersionNotFoundError(
                    f"No model in use in {self.folder}. Train one with `catdog train DATA`, or promote an existing "
                    f"version (available: {self._available()})."
                )
        folder = self.folder / str(number)
        if not _NUMBER.fullmatch(str(number)) or not folder.is_dir():
            raise VersionNotFoundError(f"No version {number} in {self.folder}. Available: {self._available()}.")
        metadata = read_metadata(folder)
        require_checksums(folder, metadata["checksums"])
        return ModelVersion(number, folder, metadata)

    def save(self, metadata: Mapping[str, Any], write_files: Callable[[Path], None], *, mark: str = "") -> ModelVersion:
        """Add a version under the next free number.

        Args:
            metadata: content of `metadata.json`; `version`, `format`, `created_at` and `checksums` are added.
            write_files: writes the version's files to a folder.
            mark: part of the temporary folder's name, to find what a killed process left.

        Raises:
            StoreError: writing failed; nothing is left behind.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        prefix = f".new-{mark}-" if mark else ".new-"
        try:
            with tempfile.TemporaryDirectory(prefix=prefix, dir=self.folder, ignore_cleanup_errors=True) as temporary:
                new = Path(temporary) / "version"
                new.mkdir()
                write_files(new)
                checksums = {path.name: file_sha256(path) for path in sorted(new.iterdir())}
                document = {**metadata, "format": FORMAT, "created_at": _now(), "checksums": checksums}
                return self._add(new, document)
        except OSError as error:
            raise StoreError(
                f"Couldn't save the version in {self.folder}: {error.strerror or error}. Nothing was changed."
            ) from error

    def adopt(self, folder: Path) -> ModelVersion:
        """Add a copy of a version from another folder, under the next free number."""
        metadata = read_metadata(folder)
        require_checksums(folder, metadata["checksums"])
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self.folder, ignore_cleanup_errors=True) as temporary:
            return self._add(Path(shutil.copytree(folder, Path(temporary) / "version")), metadata)

    def champion(self) -> int | None:
        """Return the number of the version in use; None before the first promotion.

        Raises:
            VersionCorruptError: `champion.json` can't be read.
        """
        history = self.history()
        return history[-1].version if history else None

    def champion_stamp(self) -> tuple[int, int, int] | None:
        """Return a stamp of `champion.json` that each promotion changes, without reading the file."""
        try:
            found = (self.folder / CHAMPION).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def made_by(self, job: str) -> ModelVersion | None:
        """Return the version that a retraining job saved, or None if it saved none."""
        for number in reversed(self.numbers()):
            with contextlib.suppress(VersionCorruptError):
                if read_metadata(self.folder / str(number)).get("job") == job:
                    return self.get(number)
        return None

    def has_promoted(self) -> bool:
        """Return whether a version was ever promoted, even if `champion.json` was removed since."""
        # Promoting leaves the lock file.
        return (self.folder / CHAMPION).exists() or (self.folder / _LOCK).exists()

    def history(self) -> list[Promotion]:
        """List the promotions, oldest first."""
        path = self.folder / CHAMPION
        try:
            return [_promotion(entry) for entry in read_document(self.folder, path.name)["history"]]
        except FileNotFoundError:
            if path.is_symlink() or path.exists():
                raise VersionCorruptError(f"Can't read the champion: {path} is not a file.") from None
            return []
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise VersionCorruptError(f"Can't read the champion in {path}: {error}.") from error

    def summaries(self) -> list[dict[str, Any]]:
        """Describe all versions by number, ready for JSON; a damaged one has an `error`."""
        champion = self.champion()
        rows: list[dict[str, Any]] = []
        for number in self.numbers():
            row: dict[str, Any] = {"version": number, "champion": number == champion}
            try:
                metadata = read_metadata(self.folder / str(number))
                require_checksums(self.folder / str(number), metadata["checksums"], self._digests.sha256)
                row |= {key: metadata[key] for key in ("created_at", "classes", "backbone")}
                row |= {key: metadata["metrics"][key] for key in ("accuracy", "n")}
            except (VersionCorruptError, KeyError, TypeError) as error:
                row["error"] = str(error)
            rows.append(row)
        return rows

    def promote(self, number: int, reason: str, *, backbone: Backbone | None = None) -> None:
        """Make a version the champion after checking that it makes predictions.

        Args:
            number: of the version.
            reason: for the history.
            backbone: a loaded backbone, reused if it is the version's own.

        Raises:
            VersionNotFoundError: there is no such version.
            VersionCorruptError: its files, or those of its backbone, are missing, changed or don't work.
        """
        version = self.get(number)
        precision, threads = backbone.asked if backbone else ("auto", 1)
        version.try_out(load_backbone(version.backbone_path, precision=precision, threads=threads, loaded=backbone))
        with self._locked():
            history = [*self.history(), Promotion(number, _now(), reason)][-HISTORY_LENGTH:]
            write_json(
                self.folder / CHAMPION,
                {"version": number, "history": [vars(entry) for entry in history]},
            )

    def earlier_champion(self) -> int | None:
        """Return the version that `rollback` would promote; None if there was none before."""
        stack = self._champions()
        return stack[-2] if len(stack) > 1 else None

    def rollback(self, *, backbone: Backbone | None = None) -> int:
        """Promote the previous champion again; return its number. `backbone` as in `promote`.

        Rolling back twice goes back two versions.

        Raises:
            StoreError: there is no previous champion.
        """
        stack = self._champions()
        if len(stack) < 2:
            why = f"no version was in use before version {stack[0]}" if stack else "no version is in use"
            raise StoreError(f"Can't roll back: {why}.")
        self.promote(stack[-2], f"{_ROLLBACK} from version {stack[-1]}", backbone=backbone)
        return stack[-2]

    def _champions(self) -> list[int]:
        """List the champions up to the current one, without rolled-back ones."""
        stack: list[int] = []
        for entry in self.history():
            if len(stack) > 1 and entry.version == stack[-2] and entry.reason.startswith(_ROLLBACK):
                stack.pop()
            elif not stack or stack[-1] != entry.version:
                stack.append(entry.version)
        return stack

    def _add(self, new: Path, document: dict[str, Any]) -> ModelVersion:
        """Rename a folder to the next free number, even if another process takes one meanwhile."""
        number = max(self.numbers(), default=0) + 1
        while True:
            metadata = {**document, "version": number}
            write_metadata(new, metadata)
            sync_tree(new)
            target = self.folder / str(number)
            try:
                new.rename(target)  # fails if the target exists and isn't empty
            except OSError:
                if not target.exists():
                    raise
                number += 1
                continue
            sync_folder(self.folder)
            return ModelVersion(number, target, metadata)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with FileLock(self.folder / _LOCK):
            yield


_LOCK: Final = ".lock"
_ROLLBACK: Final = "rolled back"
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")


def remove_leftovers(folder: Path, older_than_seconds: float) -> list[Path]:
    """Remove temporary folders left by killed processes; return what was removed."""
    now = datetime.now(UTC).timestamp()
    stale = [p for p in folder.glob("**/.new-*") if p.is_dir() and now - p.stat().st_mtime > older_than_seconds]
    for path in stale:
        shutil.rmtree(path, ignore_errors=True)
    return stale


def _promotion(entry: Any) -> Promotion:
    """Parse an entry of `champion.json`.

    Raises:
        ValueError: it isn't a promotion.
    """
    fields = {"version": int, "at": str, "reason": str}
    if not isinstance(entry, dict) or {name: type(value) for name, value in entry.items()} != fields:
        raise ValueError("an entry must have a version, a time and a reason")
    if not _NUMBER.fullmatch(str(entry["version"])):
        raise ValueError("a version must be a number from 1")
    return Promotion(**entry)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
