"""The folder that the processes of one server have their metrics in; and those of servers that were killed.

A server holds a lock on its folder. The lock ends with the last of its processes, however that ended, so a folder that
can be locked belongs to nobody: process ids, which are used again, have no say in it.
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
"""What a folder is called until it is locked."""

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_log = logging.getLogger(__name__)
_locks: dict[Path, int] = {}


def make_locked(parent: Path) -> Path:
    """Make a folder for its owner alone, and lock it for this process and all that it forks.

    Raises:
        OSError: it cannot be made.
    """
    made = Path(tempfile.mkdtemp(prefix=STARTING, dir=parent))
    folder = made.with_name(made.name.removeprefix("."))
    with suppress(OSError):  # on a file system without locks nobody removes it, either
        _locks[folder] = _lock(made)
    return made.rename(folder)


def remove(folder: Path) -> None:
    """Remove a folder and let go of its lock."""
    shutil.rmtree(folder, ignore_errors=True)
    if (descriptor := _locks.pop(folder, None)) is not None:
        os.close(descriptor)


def remove_orphans(parent: Path) -> None:
    """Remove the folders of servers of this user that were killed; whatever cannot be looked at stays."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            descriptor = _lock(folder)
            try:
                if _is_orphan(folder, os.fstat(descriptor)):
                    _log.info("The metrics of a server that was killed are removed: %s", folder)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _lock(folder: Path) -> int:
    """Open a folder and lock it; return its descriptor.

    Raises:
        OSError: another process has the lock, or this one may not open it.
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
    # Before there were locks, a server's processes could be found by the names of its files only.
    pids = {match[1] for file in folder.iterdir() if (match := re.fullmatch(r"[a-z_]+_(\d+)\.db", file.name))}
    return not any(_maps(pid, folder) for pid in pids)


def _maps(pid: str, folder: Path) -> bool:
    """Tell whether a process uses files of a folder."""
    try:
        return str(folder) in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False
