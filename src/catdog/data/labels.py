"""Names of classes: how they are stored, displayed, used as keys, and matched to user input."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from catdog.errors import ClassNameError
from catdog.text import listed

RESERVED: Final = ("neither", "unsure")
"""Verdicts that aren't classes."""

_SHOWN_AS: Final = {"cats": "Cat", "dogs": "Dog"}


def class_name(folder: str) -> str:
    """Return the stored name of a folder's class.

    It is in NFC, without outer spaces, and without trailing dots, which Windows drops. Bytes that aren't UTF-8 are
    decoded as Windows-1252, the usual cause.
    """
    text = folder
    if not is_text(folder):
        raw = folder.encode("utf-8", "surrogateescape")
        text = "".join(bytes([byte]).decode("cp1252", "replace") if byte > 127 else chr(byte) for byte in raw)
    name = unicodedata.normalize("NFC", text)
    return name.strip().rstrip(" .") or name


def is_text(name: str) -> bool:
    """Return whether a name from the file system is UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def display_name(folder: str) -> str:
    """Return a class's display name: Cat for `cats`, Dog for `dogs`, otherwise the folder's name."""
    return _SHOWN_AS.get(folder, folder)


def probability_key(folder: str) -> str:
    """Return a class's key in JSON: `cat` for `cats`, `dog` for `dogs`, otherwise the folder's name."""
    return _SHOWN_AS[folder].lower() if folder in _SHOWN_AS else folder


def match_class(name: str, classes: Sequence[str]) -> int | None:
    """Return the index of the class that `name` means; None if there is none.

    A folder's exact name takes precedence, then an exact display name or key, then any of them ignoring case.

    Raises:
        ClassNameError: the name is ambiguous.
    """
    wanted = class_name(name)
    tiers = (
        [i for i, folder in enumerate(classes) if wanted == class_name(folder)],
        [i for i, folder in enumerate(classes) if wanted in (display_name(folder), probability_key(folder))],
        [i for i, folder in enumerate(classes) if wanted.casefold() in _lenient(folder)],
    )
    found = next((tier for tier in tiers if tier), [])
    if len(found) > 1:
        raise ClassNameError(f"{name!r} is ambiguous: {listed([classes[i] for i in found])}. Use the exact name.")
    return found[0] if found else None


def match_all(names: Sequence[str], classes: Sequence[str]) -> list[int | None]:
    """Return the index of each name's class like `match_class`, none of them twice.

    Raises:
        ClassNameError: two names mean the same class, or a name is ambiguous.
    """
    known = {class_name(folder): i for i, folder in enumerate(classes)}
    exact = {name: known[class_name(name)] for name in names if class_name(name) in known}
    # The exact name of a folder means no other folder's class.
    matched = [exact[name] if name in exact else match_class(name, classes) for name in names]
    for index in {index for index in matched if index is not None and matched.count(index) > 1}:
        same = [name for name, found in zip(names, matched, strict=True) if found == index]
        raise ClassNameError(
            f"The folders {listed(same)} would all count as the model's class {classes[index]}. Rename or merge them."
        )
    return matched


def require_distinct(classes: Iterable[str]) -> None:
    """Check that the display names and keys of classes are unique.

    Raises:
        ClassNameError: a name is reserved, or two classes have the same display name or key.
    """
    taken: dict[str, str] = {}
    for name in classes:
        if name.casefold() in RESERVED:
            raise ClassNameError(
                f"A class can't be called {name}: {listed(RESERVED)} are verdicts. Rename the folder. Images of other "
                "things aren't a class; use them with catdog evaluate --other."
            )
        for alias in {display_name(name), probability_key(name)}:
            if alias in taken:
                raise ClassNameError(
                    f"The classes {taken[alias]} and {name} are both shown as {alias}. Rename or merge the folders."
                )
        taken |= dict.fromkeys((display_name(name), probability_key(name)), name)


def _lenient(folder: str) -> set[str]:
    return {name.casefold() for name in (class_name(folder), display_name(folder), probability_key(folder))}
