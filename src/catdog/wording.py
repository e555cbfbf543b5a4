"""How numbers, names and files' text are put into words. For numbers the page's script does the same: dom.js."""

import unicodedata
from collections.abc import Iterable
from typing import Final

_HIDDEN: Final = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS: Final = "\u200c\u200d"  # between letters of Persian, and in emoji of several people


def counted(count: int, one: str, several: str | None = None) -> str:
    """Write a number with the noun that follows it, and its verb where there is one: "1 picture was", "1,024 pictures".

    Args:
        count: how many there are.
        one: what follows 1.
        several: what follows any other number, 0 too; where not given, `one` with an s.
    """
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def listed(names: Iterable[str], *, most: int = 10) -> str:
    """Write names one after the other, the first few of many: "a, b and 8 more". Each is made `visible`."""
    shown = [visible(name) for name in names]
    if len(shown) <= most:
        return ", ".join(shown)
    return f"{', '.join(shown[:most])} and {len(shown) - most:,} more"


def visible(text: str) -> str:
    """Write what moves a cursor, turns the direction of text or isn't text as an escape, and all else as it is."""
    if text.isprintable():
        return text
    return "".join(c if _is_shown(c) else _escape(c) for c in text)


def for_spreadsheet(value: object) -> object:
    """Return a CSV cell that no spreadsheet takes for a formula; one that begins like one gets an apostrophe before it.

    See https://owasp.org/www-community/attacks/CSV_Injection.
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _is_shown(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in _HIDDEN


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()
