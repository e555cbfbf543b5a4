"""The command line, run as a person does."""

import os
import subprocess
import sys
from pathlib import Path


def run(home: Path, *arguments: object, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person does, and check its exit code."""
    finished = subprocess.run(
        [sys.executable, "-m", "catdog", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "CATDOG_HOME": str(home), "CATDOG_TRACKING": "false", "COLUMNS": "200", **environment},
        cwd=home.parent,
        check=False,
    )
    assert finished.returncode == code, finished.stderr + finished.stdout
    return finished
