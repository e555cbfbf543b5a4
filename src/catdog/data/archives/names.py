"""Decoding of names in archives that don't declare their encoding."""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Final

_FALLBACK: Final = "cp437"
"""The zip format's default, in which every byte is a character."""

_DOS_LETTERS: Final = bytes(range(0x80, 0xA6)).decode("cp850")
"""Accented letters of MS-DOS, whose code page Windows still uses in zips."""


def name_encoding(names: Iterable[bytes]) -> str:
    """Return the encoding of an archive's names: UTF-8 if valid, otherwise a guess.

    The guess is the first East Asian or Western code page in which all letters are common ones. Names are decoded
    together, as one machine wrote them.
    """
    unsaid = [name for name in names if not name.isascii()]
    if _fits(unsaid, "utf-8", lambda _: True):
        return "utf-8"
    if not any(map(_is_amid_ascii, unsaid)):
        for encoding, usual in (("cp932", _is_japanese), ("gb2312", _is_hanzi), ("gbk", _is_hanzi)):
            if _fits(unsaid, encoding, usual):
                return encoding
    western = (("cp850", _is_dos_letter), ("cp1252", _is_latin))
    return next((encoding for encoding, usual in western if _fits(unsaid, encoding, usual)), _FALLBACK)


def mend_names(names: Sequence[str]) -> list[str]:
    """Decode the surrogate escapes that `tarfile` leaves in names, by a guess of their encoding."""
    raw = [name.encode("utf-8", "surrogateescape") for name in names]
    encoding = name_encoding(raw)
    return [name.decode(encoding, "replace") for name in raw]


def _fits(names: Iterable[bytes], encoding: str, usual: Callable[[str], bool]) -> bool:
    try:
        return all(usual(letter) for name in names for letter in name.decode(encoding) if not letter.isascii())
    except UnicodeDecodeError:
        return False


def _is_amid_ascii(name: bytes) -> bool:
    """Return whether a non-ASCII byte follows an ASCII letter, as in `caf\\xe9`, unlike in Japanese or Chinese."""
    return any(
        name[i] > 127 and name[i - 1] < 128 and chr(name[i - 1]).isalpha() and (i < 2 or name[i - 2] < 128)
        for i in range(1, len(name))
    )


def _is_japanese(letter: str) -> bool:
    return _is_hanzi(letter) or "\u3040" <= letter <= "\u30fc"


def _is_hanzi(letter: str) -> bool:
    return "\u4e00" <= letter <= "\u9fff" or letter == "\u3000"


def _is_dos_letter(letter: str) -> bool:
    """Return whether a letter's byte in MS-DOS is rarely a letter in Windows."""
    return letter in _DOS_LETTERS


def _is_latin(letter: str) -> bool:
    return letter.isalpha() and unicodedata.name(letter, "").startswith("LATIN")
