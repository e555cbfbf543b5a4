"""A hidden folder in `data/` where an import is prepared: its files appear in `data/` together, or not at all.

data/.import-…/lock        held by the process that prepares it
data/.import-…/new/        files of an import that is not accepted yet; a kill here leaves nothing else
data/.import-…/accepted/   the same folder, renamed: from here on the import counts, and the next one finishes it
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

UNLOCKED_SECONDS: Final = 3600.0
"""Age from which on a folder without a lock is a leftover: another process may be about to lock it."""

_PREFIX: Final = ".import-"


@dataclass(frozen=True)
class Staging:
    """The folder of one import."""

    folder: Path

    @property
    def data_dir(self) -> Path:
        """Where the files go."""
        return self.folder.parent

    def add(self, source: Path, place: Path, sha256: str, *, move: bool = False) -> None:
        """Take a file in under its own name, or with the start of its hash where another file has that name.

        Args:
            source: the file, which is copied.
            place: the folder in `data/` that it is meant for, relative to that.
            sha256: hash of its bytes.
            move: rename it in place of copying it.
        """
        folder = self.folder / "new" / place
        folder.mkdir(parents=True, exist_ok=True)
        name = source.name
        if (folder / name).exists() or (self.data_dir / place / name).exists():
            name = f"{source.stem}-{sha256[:12]}{source.suffix}"
        if move:
            source.replace(folder / name)
        else:
            shutil.copyfile(source, folder / name)

    def commit(self) -> None:
        """Put all files in their places in `data/`."""
        new = self.folder / "new"
        if new.is_dir():
            _settle(new.rename(self.folder / "accepted"), self.data_dir)


@contextlib.contextmanager
def prepare(data_dir: Path) -> Iterator[Staging]:
    """Make the folder for an import, and remove it at the end; what a killed import left is put in order first."""
    data_dir.mkdir(parents=True, exist_ok=True)
    recover(data_dir)
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, dir=data_dir, ignore_cleanup_errors=True) as folder,
        FileLock(Path(folder, "lock")),
    ):
        yield Staging(Path(folder))


def recover(data_dir: Path) -> None:
    """Finish the imports that were accepted before they were killed, and remove what is left of the others."""
    for folder in (*data_dir.glob(f"{_PREFIX}*"), *data_dir.glob(".download-*")):
        lock = folder / "lock"
        with contextlib.suppress(OSError, Timeout):
            if not lock.exists() and time.time() - folder.stat().st_mtime < UNLOCKED_SECONDS:
                continue
            with FileLock(lock, timeout=0):
                _settle(folder / "accepted", data_dir)
                shutil.rmtree(folder, ignore_errors=True)


def _settle(accepted: Path, data_dir: Path) -> None:
    for folder, _, names in os.walk(accepted):
        target = data_dir / Path(folder).relative_to(accepted)
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            Path(folder, name).replace(target / name)
    shutil.rmtree(accepted, ignore_errors=True)
