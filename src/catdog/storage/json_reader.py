"""A strict, bounded JSON reader for request bodies, files and database columns.

Python's parser raises `RecursionError` on deep nesting, keeps the last of two equal keys, and guesses among five
encodings. Here each of these is a `JsonError`, a `ValueError` whose message completes a sentence.
"""

import json
import math
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

MAX_DEPTH: Final = 64
"""Maximum nesting of arrays and objects; catdog's own documents have at most 8 levels."""

MAX_FILE_BYTES: Final = 64 * 2**20
"""Maximum file size, five times the metadata of a version with 1,000 classes."""

_BOM: Final = b"\xef\xbb\xbf"
# Linear even for unterminated strings: the closing quote is optional, and quantifiers are possessive.
_STRING_OR_BRACKET: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_UNWANTED_ESCAPE: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_UNWANTED: Final = re.compile("[\0\ud800-\udfff]")


class JsonError(ValueError):
    """Invalid or unsupported JSON; the message completes a sentence, such as "it is nested too deeply"."""


def parse_json(text: bytes, *, finite: bool = False) -> Any:
    """Parse JSON in UTF-8, with or without a byte order mark.

    Args:
        text: the document; the caller bounds its size.
        finite: reject `NaN` and `Infinity`, which Python writes but aren't JSON, and numbers beyond a float's range.

    Raises:
        JsonError: not JSON, nested deeper than `MAX_DEPTH`, with a key twice, a NUL or half a surrogate pair in a
            string, or an integer of more digits than Python reads.
    """
    text = text.removeprefix(_BOM)
    if is_too_deep(text):
        raise JsonError(f"it is nested more than {MAX_DEPTH} levels deep")
    try:
        document = json.loads(
            text.decode(),
            object_pairs_hook=_to_object,
            parse_constant=_refuse_constant if finite else None,
            parse_float=_finite if finite else None,
        )
    except UnicodeDecodeError:
        raise JsonError("it is not in UTF-8") from None
    except JsonError:
        raise
    except (ValueError, RecursionError) as error:
        raise JsonError(f"it is not valid JSON: {str(error)[:200]}") from None
    if _UNWANTED_ESCAPE.search(text):
        _check_strings(document)
    return document


def read_json_file(path: Path, *, max_bytes: int = MAX_FILE_BYTES) -> Any:
    """Parse a JSON file; anything but a regular file is rejected without blocking.

    Raises:
        OSError: it can't be read.
        JsonError: it is too large, not a regular file, or rejected by `parse_json`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO would block until there is a writer
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise JsonError("it is not a regular file")
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise JsonError(f"it has more than {max_bytes:,} bytes")
    return parse_json(data)


def count_values(text: bytes) -> int:
    """Return an upper bound of the values in a document, without parsing it."""
    # Each element and each key follows one of these characters; base64 contains none of them.
    return sum(text.count(mark) for mark in (b",", b"[", b"{"))


def is_too_deep(text: bytes) -> bool:
    """Return whether arrays and objects are nested deeper than `MAX_DEPTH`, without parsing."""
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return False
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        mark = match[0]
        if mark in (b"[", b"{"):
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif mark in (b"]", b"}"):
            depth -= 1
    return False


def _to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise JsonError(f"it has the key {twice[:100]!r} twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise JsonError(f"{name} is not valid JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise JsonError(f"{text[:30]} is too large a number")
    return number


def _check_strings(document: Any) -> None:
    """Reject strings that neither databases nor UTF-8 can hold."""
    left: list[Any] = [document]
    add: Callable[[Any], None] = left.extend
    while left:
        value = left.pop()
        if isinstance(value, str) and _UNWANTED.search(value):
            raise JsonError("it has a string with NUL or half of a surrogate pair")
        if isinstance(value, dict):
            add(value.keys())
            add(value.values())
        elif isinstance(value, list):
            add(value)
