"""Formatting of counts, lists and names in text. The page's dom.js formats counts the same way."""

import unicodedata
from collections.abc import Iterable
from typing import Final

_HIDDEN: Final = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS: Final = "\u200c\u200d"  # between letters of Persian, and in emoji of several people


def counted(count: int, one: str, several: str | None = None) -> str:
    """Return a count with its noun, and verb if any: "1 image was", "1,024 images".

    Args:
        count: the number.
        one: what follows 1.
        several: what follows any other number, including 0; by default `one` with an s.
    """
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def listed(names: Iterable[str], *, most: int = 10) -> str:
    """Return names as a list, shortened to the first few: "a, b and 8 more". Each is made `visible`."""
    shown = [visible(name) for name in names]
    if len(shown) <= most:
        return ", ".join(shown)
    return f"{', '.join(shown[:most])} and {len(shown) - most:,} more"


def visible(text: str) -> str:
    """Return text with control characters, direction marks and invalid characters escaped."""
    if text.isprintable():
        return text
    return "".join(c if _is_shown(c) else _escape(c) for c in text)


def for_spreadsheet(value: object) -> object:
    """Return a CSV cell that spreadsheets don't evaluate: text that looks like a formula gets a leading apostrophe.

    See https://owasp.org/www-community/attacks/CSV_Injection.
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _is_shown(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in _HIDDEN


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()
