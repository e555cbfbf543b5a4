"""The file `.env` in the working directory: whether its lines can be read at all."""

import io
import logging
from functools import cache
from pathlib import Path
from typing import Final

from dotenv.parser import parse_stream

from catdog.errors import SettingsError

MAX_BYTES: Final = 1024 * 1024

_MARKS: Final = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def is_readable(path: Path) -> bool:
    """Tell whether there is a file of settings, which must be text in UTF-8; a folder or pipe of that name is none.

    Raises:
        SettingsError: it is not, or it cannot be read; says what to do.
    """
    try:
        if not path.is_file():
            if path.is_dir() and not (path / "pyvenv.cfg").exists():  # `python -m venv .env` makes one
                warn_once(f"{path} is a folder, so no settings are read from it.")
            return False
        if path.stat().st_size > MAX_BYTES:
            raise SettingsError(f"{path}: the file is too large; at most {MAX_BYTES:,} bytes of settings are read.")
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: the file cannot be read: {error.strerror or error}.") from error
    try:
        data.decode()
        encoding = "UTF-16" if b"\0" in data else None
    except UnicodeDecodeError:
        encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "another encoding")
    if encoding:
        raise SettingsError(f"{path}: the file must be text in UTF-8, and is in {encoding}. Save it as UTF-8.")
    _require_lines(path, data.decode("utf-8-sig"))
    return True


@cache
def warn_once(sentence: str) -> None:
    """Log a warning, once in a process: settings are read many times."""
    logging.getLogger(__name__).warning(sentence)


def _require_lines(path: Path, text: str) -> None:
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:  # its text may hold a key, so that it is not shown
            line = binding.original.line + binding.original.string[
                : -len(binding.original.string.lstrip()) or None
            ].count("\n")
            raise SettingsError(f"{path}: line {line} cannot be read. Write NAME=value; a quote that opens must close.")
