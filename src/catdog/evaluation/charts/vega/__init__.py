"""Vega's script, which draws charts in a browser. `hatch_build.py` writes it here on installation."""

from functools import cache
from pathlib import Path
from typing import Final

from catdog.errors import ChartError
from catdog.storage.files import file_sha256

SCRIPT: Final = Path(__file__).with_name("vega.js")
_DIGEST_LENGTH: Final = 12


def script_file(*, compressed: bool = False) -> Path:
    """Return the script's file: 0.9 MB, or 0.3 MB with gzip.

    Raises:
        ChartError: the script is missing, as in a source tree without installation.
    """
    path = SCRIPT.with_suffix(".js.gz") if compressed else SCRIPT
    if not path.is_file():
        raise ChartError("The script that draws charts is missing. Reinstall catdog: pip install -e .")
    return path


@cache
def script_digest() -> str:
    """Return a short digest of the script; raises the errors of `script_file`."""
    return file_sha256(script_file())[:_DIGEST_LENGTH]
