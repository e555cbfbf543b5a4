"""A staging folder in `data/`, which makes imports atomic.

data/.import-…/lock        held by the importing process
data/.import-…/new/        files of an unfinished import; discarded if the process is killed
data/.import-…/accepted/   the same folder, renamed; completed by the next import if the process is killed
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
"""Age at which a folder without a lock is considered a leftover, not one about to be locked."""

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
        """Add a file under its own name, extended by its hash if the name is taken.

        Args:
            source: the file.
            place: its folder, relative to `data/`.
            sha256: hash of its bytes.
            move: rename the file instead of copying it.
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
        """Move all files into `data/`."""
        new = self.folder / "new"
        if new.is_dir():
            _move_files(new.rename(self.folder / "accepted"), self.data_dir)


@contextlib.contextmanager
def prepare(data_dir: Path) -> Iterator[Staging]:
    """Recover from killed imports, then create a staging folder and remove it at the end."""
    data_dir.mkdir(parents=True, exist_ok=True)
    recover(data_dir)
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, dir=data_dir, ignore_cleanup_errors=True) as folder,
        FileLock(Path(folder, "lock")),
    ):
        yield Staging(Path(folder))


def recover(data_dir: Path) -> None:
    """Complete imports that were killed after acceptance, and discard others."""
    for folder in (*data_dir.glob(f"{_PREFIX}*"), *data_dir.glob(".download-*")):
        lock = folder / "lock"
        with contextlib.suppress(OSError, Timeout):
            if not lock.exists() and time.time() - folder.stat().st_mtime < UNLOCKED_SECONDS:
                continue
            with FileLock(lock, timeout=0):
                _move_files(folder / "accepted", data_dir)
                shutil.rmtree(folder, ignore_errors=True)


def _move_files(accepted: Path, data_dir: Path) -> None:
    for folder, _, names in os.walk(accepted):
        target = data_dir / Path(folder).relative_to(accepted)
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            Path(folder, name).replace(target / name)
    shutil.rmtree(accepted, ignore_errors=True)
