"""What the server takes of the machine's memory."""

import os
from pathlib import Path
from typing import Final

from catdog.web import STARTED_VARIABLE

PROC: Final = Path("/proc")


def server_memory() -> int | None:
    """Add up the memory of all processes of this server, in bytes; None where the system does not tell.

    A page that several processes share counts for each of them in part (PSS), so that nothing counts twice. Where
    gunicorn's first process started this one, those are it and all that it started; else this process alone.
    """
    try:
        return sum(_proportional(process) for process in _processes())
    except (OSError, ValueError):  # no Linux, or no permission
        return None


def _processes() -> list[int]:
    if STARTED_VARIABLE not in os.environ:
        return [os.getpid()]
    first = os.getppid()
    children = (PROC / str(first) / "task" / str(first) / "children").read_text().split()
    found = [first, *map(int, children)]
    return found if os.getpid() in found else [os.getpid()]


def _proportional(process: int) -> int:
    try:
        lines = (PROC / str(process) / "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
