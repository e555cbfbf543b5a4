"""Checks whether `.env` in the working directory can be read."""

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
    """Return whether there is a settings file; a folder or pipe of that name doesn't count.

    Raises:
        SettingsError: it can't be read or isn't UTF-8; says what to do.
    """
    try:
        if not path.is_file():
            if path.is_dir() and not (path / "pyvenv.cfg").exists():  # `python -m venv .env` makes one
                warn_once(f"{path} is a folder, so it is ignored.")
            return False
        if path.stat().st_size > MAX_BYTES:
            raise SettingsError(f"{path}: the file is too large; the limit is {MAX_BYTES:,} bytes.")
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: can't read the file: {error.strerror or error}.") from error
    try:
        data.decode()
        encoding = "UTF-16" if b"\0" in data else None
    except UnicodeDecodeError:
        encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "another encoding")
    if encoding:
        raise SettingsError(f"{path}: the file is in {encoding}. Save it as UTF-8.")
    _require_lines(path, data.decode("utf-8-sig"))
    return True


@cache
def warn_once(sentence: str) -> None:
    """Log a warning once per process, as settings are read many times."""
    logging.getLogger(__name__).warning(sentence)


def _require_lines(path: Path, text: str) -> None:
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:  # the line may contain a key, so it isn't shown
            line = binding.original.line + binding.original.string[
                : -len(binding.original.string.lstrip()) or None
            ].count("\n")
            raise SettingsError(f"{path}: can't read line {line}. Use NAME=value, and close all quotes.")
