"""The folder with the metrics of a server's processes, and those that killed servers left behind.

A server holds a lock on its folder until its last process has ended, so a folder that can be locked is an orphan.
Process ids can't tell, as they are reused.
"""

import fcntl
import logging
import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

PREFIX: Final = "catdog-metrics-"
STARTING: Final = f".{PREFIX}"
"""Prefix of a folder until it is locked."""

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_log = logging.getLogger(__name__)
_locks: dict[Path, int] = {}


def make_locked(parent: Path) -> Path:
    """Make a private folder, and lock it for this process and its children.

    Raises:
        OSError: it can't be made.
    """
    made = Path(tempfile.mkdtemp(prefix=STARTING, dir=parent))
    folder = made.with_name(made.name.removeprefix("."))
    with suppress(OSError):  # on a file system without locks, no server removes it either
        _locks[folder] = _lock(made)
    return made.rename(folder)


def remove(folder: Path) -> None:
    """Remove a folder and release its lock."""
    shutil.rmtree(folder, ignore_errors=True)
    if (descriptor := _locks.pop(folder, None)) is not None:
        os.close(descriptor)


def remove_orphans(parent: Path) -> None:
    """Remove the folders of this user's killed servers, as far as they can be read."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            descriptor = _lock(folder)
            try:
                if _is_orphan(folder, os.fstat(descriptor)):
                    _log.info("Removing the metrics of a killed server: %s", folder)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _lock(folder: Path) -> int:
    """Open and lock a folder; return its descriptor.

    Raises:
        OSError: another process has the lock, or this one can't open it.
    """
    descriptor = os.open(folder, _OPEN)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _is_orphan(folder: Path, found: os.stat_result) -> bool:
    if found.st_uid != os.geteuid():
        return False
    # Servers of older versions hold no lock; the names of their files have the process ids.
    pids = {match[1] for file in folder.iterdir() if (match := re.fullmatch(r"[a-z_]+_(\d+)\.db", file.name))}
    return not any(_maps(pid, folder) for pid in pids)


def _maps(pid: str, folder: Path) -> bool:
    """Return whether a process has mapped files of a folder."""
    try:
        return str(folder) in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False
