"""Workers of retraining as processes of their own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from catdog.settings import Settings


@contextmanager
def working(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker in a process of its own until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "catdog", "worker"],
        env=os.environ | {"CATDOG_HOME": str(settings.home), "CATDOG_DATABASE_URL": settings.resolved_database_url},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def require_clean(settings: Settings) -> None:
    """Check that there is nothing but whole versions, and nothing of a job."""
    hidden = [path.name for path in settings.models_dir.rglob(".new-*")]
    assert hidden == []
    assert list(settings.jobs_dir.glob("*")) == []


def workers_of(pid: int) -> list[int]:
    """List the workers among the processes that one has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = (path / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == pid and b"--parent" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return found
